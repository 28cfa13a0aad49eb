"""Conditions on one event, as data: what a Sigma detection says, freed from the library that parsed it.

A condition is a tree of ``And``, ``Or`` and ``Not`` over ``Leaf``; a leaf compares one field with one value. Leaves are
hashable, so that rules which ask the same question share its answer. What a leaf means (Sigma specification 2.1):

- A field that is missing or null meets only ``null`` (and what is under ``Not``). Of a list any element may meet it.
- Strings compare without regard to case unless ``cased``; regular expressions have their own flags. They are compared
  with the text of a value: ``true`` and ``false`` for booleans, the shortest digits for numbers.
- Equality with a number holds for the number and for its digits as text; ordered comparisons look at numbers and at
  text that reads as a number.
- A leaf without a field is a keyword: any text value of the event may meet it.
- ``part`` compares one part of a timestamp (UTC; weeks are those of ISO 8601). Timestamps are Arrow timestamps, integer
  microseconds since 1970 UTC, or ISO 8601 text, UTC where it names no offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sigma import conditions as sc
from sigma import types as st

from processors.patterns import PatternError, compiled, with_flags


class Op(StrEnum):
    """How a leaf compares; the text forms work on strings, the ordered ones on numbers."""

    EQ = "eq"
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    LIKE = "like"
    RE = "re"
    CIDR = "cidr"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    NULL = "null"
    EXISTS = "exists"
    FIELDREF = "fieldref"
    FIELDREF_STARTSWITH = "fieldref|startswith"
    FIELDREF_ENDSWITH = "fieldref|endswith"
    FIELDREF_CONTAINS = "fieldref|contains"


ORDERED = (Op.LT, Op.LTE, Op.GT, Op.GTE)
REFERENCES = (Op.FIELDREF, Op.FIELDREF_STARTSWITH, Op.FIELDREF_ENDSWITH, Op.FIELDREF_CONTAINS)


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """``field op value``; ``value`` is str, int, float, bool or None as the operator needs. ``cased`` keeps case.
    ``LIKE`` holds Sigma's own wildcards, ``\\`` before those that are meant literally."""

    field: str
    op: Op
    value: str | int | float | bool | None
    cased: bool = False
    part: str = ""

    def _key(self) -> tuple[object, ...]:
        # To Python ``True`` equals ``1``, which asks something else.
        return self.field, self.op, type(self.value), self.value, self.cased, self.part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        words = [self.field or "keyword", self.part, "" if self.op in (Op.EQ, Op.LIKE) else self.op.value]
        value = str(self.value).lower() if self.value is None or isinstance(self.value, bool) else self.value
        return f"{'|'.join(filter(None, words))}: {'null' if value == 'none' else value}"


@dataclass(frozen=True, slots=True)
class And:
    children: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    child: Condition


Condition = Leaf | And | Or | Not


class UnsupportedError(ValueError):
    """A construct that Sigma has and this engine does not evaluate; the text says which and what to write instead."""


class CasedReference(st.SigmaFieldReference):
    """A field reference that keeps case; pySigma drops ``cased`` before ``fieldref``."""


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every leaf of the tree, left to right, repeats included."""
    match condition:
        case Leaf():
            yield condition
        case Not(child):
            yield from leaves(child)
        case And(children) | Or(children):
            for each in children:
                yield from leaves(each)


def fields_of(condition: Condition) -> tuple[str, ...]:
    """Fields that the condition names, those referred to as well, in order, once each."""
    names: dict[str, None] = {}
    for leaf in leaves(condition):
        names[leaf.field] = None
        if leaf.op in REFERENCES:
            names[str(leaf.value)] = None
    names.pop("", None)
    return tuple(names)


def in_words(condition: Condition) -> str:
    """The condition as a person reads it: ``topic: x and not (language: en or language: fr)``."""
    match condition:
        case Leaf():
            return str(condition)
        case Not(child):
            return f"not {_within(child)}"
    return (" and " if isinstance(condition, And) else " or ").join(map(_within, condition.children))


def _within(condition: Condition) -> str:
    text = in_words(condition)
    return f"({text})" if isinstance(condition, And | Or) and len(condition.children) > 1 else text


def from_sigma(node: Any) -> Condition:
    """Turn a postprocessed pySigma condition tree into ours.

    Raises:
        UnsupportedError: the tree holds a placeholder or a value that is not evaluated.
    """
    match node:
        case sc.ConditionAND():
            return And(tuple(from_sigma(each) for each in node.args))
        case sc.ConditionOR():
            return Or(tuple(from_sigma(each) for each in node.args))
        case sc.ConditionNOT():
            return Not(from_sigma(node.args[0]))
        case sc.ConditionFieldEqualsValueExpression():
            return _field_value(node.field, node.value)
        case sc.ConditionValueExpression():
            return _keyword(node.value)
    raise UnsupportedError(f"condition element {type(node).__name__} is not supported")


def _keyword(value: st.SigmaType) -> Condition:
    """A value without a field is looked for anywhere in the text values of the event."""
    match value:
        case st.SigmaExpansion():
            return Or(tuple(_keyword(each) for each in value.values))
        case st.SigmaString():
            anywhere = type(value)()
            anywhere.s = [st.SpecialChars.WILDCARD_MULTI, *value.s, st.SpecialChars.WILDCARD_MULTI]
            return _text("", anywhere)
        case st.SigmaTimestampPart():
            pass
        case st.SigmaNumber() | st.SigmaBool():
            return Leaf("", Op.CONTAINS, str(value))
        case st.SigmaRegularExpression() | st.SigmaCIDRExpression():
            return _field_value("", value)
    raise UnsupportedError(f"{type(value).__name__.removeprefix('Sigma')} needs a field: name one before the modifiers")


def _field_value(field: str, value: st.SigmaType) -> Condition:
    match value:
        case st.SigmaExpansion():
            return Or(tuple(_field_value(field, each) for each in value.values))
        case st.SigmaNull():
            return Leaf(field, Op.NULL, None)
        case st.SigmaExists():
            found = Leaf(field, Op.EXISTS, True)
            return found if bool(value) else Not(found)
        case st.SigmaBool():
            return Leaf(field, Op.EQ, bool(value))
        case st.SigmaNumber():
            return _number(field, Op.EQ, value)
        case st.SigmaCompareExpression():
            if value.op is st.CompareOperators.NEQ:
                return Not(_number(field, Op.EQ, value.number))
            return _number(field, Op(value.op.name.lower()), value.number)
        case st.SigmaRegularExpression():
            return _regular_expression(field, value)
        case st.SigmaCIDRExpression():
            return Leaf(field, Op.CIDR, str(value.network))
        case st.SigmaFieldReference():
            return Leaf(field, _reference(value), value.field, isinstance(value, CasedReference))
        case st.SigmaString():
            return _text(field, value)
    raise UnsupportedError(f"{field}: values of type {type(value).__name__} are not supported")


def _number(field: str, op: Op, value: st.SigmaNumber) -> Leaf:
    part = value.timestamp_part.name.lower() if isinstance(value, st.SigmaTimestampPart) else ""
    return Leaf(field, op, value.number, part=part)


def _reference(value: st.SigmaFieldReference) -> Op:
    if value.starts_with:
        return Op.FIELDREF_CONTAINS if value.ends_with else Op.FIELDREF_STARTSWITH
    return Op.FIELDREF_ENDSWITH if value.ends_with else Op.FIELDREF


def _regular_expression(field: str, value: st.SigmaRegularExpression) -> Leaf:
    if value.contains_placeholder():
        raise _not_expanded(field, value.regexp)
    pattern = with_flags(str(value.regexp), "".join(value.sigma_to_re_flag[flag] for flag in value.flags))
    try:
        compiled(pattern)
    except PatternError as error:
        raise UnsupportedError(f"{field}|re: {pattern!r}: {error}") from error
    return Leaf(field, Op.RE, pattern, cased=True)


def _not_expanded(field: str, value: st.SigmaString) -> UnsupportedError:
    names = ", ".join(f"%{part.name}%" for part in value.s if isinstance(part, st.Placeholder))
    return UnsupportedError(
        f"{field or 'keyword'}|expand: nothing expands {names} here: write the values out in place of the placeholder"
    )


def _text(field: str, value: st.SigmaString) -> Leaf:
    """A Sigma string: plain text is equality, a wildcard at an end becomes a prefix, suffix or substring test."""
    cased = isinstance(value, st.SigmaCasedString)
    star = st.SpecialChars.WILDCARD_MULTI
    parts: list[Any] = []
    for part in value.s:
        if parts and isinstance(part, str) and isinstance(parts[-1], str):
            parts[-1] += part
        elif part is not star or not parts or parts[-1] is not star:
            parts.append(part)
    if any(isinstance(part, st.Placeholder) for part in parts):
        raise _not_expanded(field, value)
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return Leaf(field, Op.EQ, "".join(texts), cased)
    if len(texts) == 1 and st.SpecialChars.WILDCARD_SINGLE not in parts:
        first, last = parts[0] is star, parts[-1] is star
        op = Op.CONTAINS if first and last else Op.ENDSWITH if first else Op.STARTSWITH
        return Leaf(field, op, texts[0], cased)
    if parts == [star]:
        return Leaf(field, Op.EXISTS, True)
    return Leaf(field, Op.LIKE, "".join(map(_as_written, parts)), cased)


def _as_written(part: Any) -> str:
    if isinstance(part, str):
        return part.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    return str(st.special_char_mapping[part])
