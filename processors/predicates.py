"""Conditions on one event, as data: what a Sigma detection says, freed from the library that parsed it.

A condition is a tree of ``And``, ``Or`` and ``Not`` over ``Leaf``; a leaf compares one field with one value. Leaves are
hashable, so that rules which ask the same question share its answer. Strings compare without regard to case unless
``cased`` (Sigma specification 2.1, "General" under detection item values).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import re2
from sigma import conditions as sc
from sigma import types as st


class Op(StrEnum):
    """How a leaf compares; the text forms work on strings, the ordered ones on numbers."""

    EQ = "eq"
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    RE = "re"
    CIDR = "cidr"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    NEQ = "neq"
    NULL = "null"
    EXISTS = "exists"
    FIELDREF = "fieldref"


@dataclass(frozen=True, slots=True)
class Leaf:
    """``field op value``; ``value`` is str, int, float, bool or None as the operator needs. ``cased`` keeps case."""

    field: str
    op: Op
    value: str | int | float | bool | None
    cased: bool = False

    def __str__(self) -> str:
        return f"{self.field}|{self.op.value}: {self.value}" if self.op is not Op.EQ else f"{self.field}: {self.value}"


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


def from_sigma(node: Any) -> Condition:
    """Turn a postprocessed pySigma condition tree into ours.

    Raises:
        UnsupportedError: the tree holds a keyword, a placeholder or a value type that is not evaluated.
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
            raise UnsupportedError(
                f"keyword {str(node.value)!r} has no field: name one, for example 'header.summary|contains'"
            )
    raise UnsupportedError(f"condition element {type(node).__name__} is not supported")


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
        case st.SigmaTimestampPart():
            raise UnsupportedError(f"{field}: timestamp parts (|hour, |day, ...) are not supported")
        case st.SigmaNumber():
            return Leaf(field, Op.EQ, value.number)
        case st.SigmaCompareExpression():
            return Leaf(field, Op(value.op.name.lower()), value.number.number)
        case st.SigmaRegularExpression():
            return _regular_expression(field, value)
        case st.SigmaCIDRExpression():
            return Leaf(field, Op.CIDR, str(value.network))
        case st.SigmaFieldReference():
            if value.starts_with or value.ends_with:
                raise UnsupportedError(f"{field}|fieldref cannot be combined with startswith or endswith")
            return Leaf(field, Op.FIELDREF, value.field)
        case st.SigmaString():
            return _text(field, value)
    raise UnsupportedError(f"{field}: values of type {type(value).__name__} are not supported")


def _regular_expression(field: str, value: st.SigmaRegularExpression) -> Leaf:
    flags = "".join(sorted(st.SigmaRegularExpression.sigma_to_re_flag[flag] for flag in value.flags))
    pattern = str(value.regexp.to_plain()) if isinstance(value.regexp, st.SigmaString) else str(value.regexp)
    pattern = f"(?{flags}){pattern}" if flags else pattern
    try:
        re2.compile(pattern)
    except re2.error as error:
        raise UnsupportedError(
            f"{field}|re: {pattern!r} cannot run in linear time ({error}); look-around and back-references are refused"
        ) from error
    return Leaf(field, Op.RE, pattern, cased=True)


def _text(field: str, value: st.SigmaString) -> Leaf:
    """A Sigma string: plain text is equality, a wildcard at an end becomes a prefix, suffix or substring test."""
    cased = isinstance(value, st.SigmaCasedString)
    parts = list(value.s)
    if any(isinstance(part, st.Placeholder) for part in parts):
        raise UnsupportedError(f"{field}: placeholder in {str(value)!r} is not expanded")
    star = st.SpecialChars.WILDCARD_MULTI
    texts = [part for part in parts if isinstance(part, str)]
    if all(isinstance(part, str) for part in parts):
        return Leaf(field, Op.EQ, "".join(texts), cased)
    if len(texts) == 1 and st.SpecialChars.WILDCARD_SINGLE not in parts:
        first, last = parts[0] is star, parts[-1] is star
        op = Op.CONTAINS if first and last else Op.ENDSWITH if first else Op.STARTSWITH
        return Leaf(field, op, texts[0], cased)
    if not texts and st.SpecialChars.WILDCARD_SINGLE not in parts:
        return Leaf(field, Op.EXISTS, True)
    body = "".join(
        part_text
        for part in parts
        for part_text in [re.escape(part) if isinstance(part, str) else ".*" if part is star else "."]
    )
    return Leaf(field, Op.RE, f"(?s)^(?:{body})$" if cased else f"(?si)^(?:{body})$", cased=True)
