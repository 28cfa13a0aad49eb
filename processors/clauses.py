"""A condition on one event in plain Python: what holds, and which clauses made it hold. The matcher answers the same
questions by column and batch."""

from __future__ import annotations

import datetime as dt
import ipaddress
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import isnan
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from processors.patterns import compiled, fold, wildcard_regex
from processors.predicates import ORDERED, REFERENCES, And, Condition, Leaf, Not, Op, Or
from processors.times import moment

Test = Callable[[str], Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXACT_DIGITS = 20
_COMPARE: dict[Op, Callable[[float, float], bool]] = {
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
}


def met(condition: Condition, values: Mapping[str, Any]) -> list[str]:
    """Clauses that make the condition hold for an event, in order, once each; none where it does not hold.

    ``values`` are the event's fields: a scalar, None, or a list where a field may repeat. Of an ``or`` the branches
    that hold are told, of a ``not`` nothing. Keywords are looked for in every text among the values.
    """
    return list(dict.fromkeys(map(str, _reasons(condition, values) or ())))


def holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    """Whether the event, given as for :func:`met`, meets the condition."""
    return _reasons(condition, values) is not None


def _reasons(condition: Condition, values: Mapping[str, Any]) -> list[Leaf] | None:
    """The leaves that make the condition hold; None where it does not."""
    match condition:
        case Leaf():
            return [condition] if _leaf_holds(condition, values) else None
        case Not(child):
            return [] if _reasons(child, values) is None else None
        case And(children):
            found: list[Leaf] = []
            for each in children:
                reasons = _reasons(each, values)
                if reasons is None:
                    return None
                found += reasons
            return found
        case Or(children):
            branches = [reasons for each in children if (reasons := _reasons(each, values)) is not None]
            return [leaf for reasons in branches for leaf in reasons] if branches else None


def _leaf_holds(leaf: Leaf, values: Mapping[str, Any]) -> bool:
    elements = list(_elements(values.get(leaf.field)) if leaf.field else _texts(values))
    if leaf.op is Op.NULL:
        return not elements
    if leaf.op in REFERENCES:
        others = list(_elements(values.get(str(leaf.value))))
        return any(refers(leaf, each, other) for each in elements for other in others)
    return any(_element_holds(leaf, each) for each in elements)


def _elements(value: Any) -> Iterator[Any]:
    for each in value if isinstance(value, list) else (value,):
        if each is not None:
            yield each


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    return (each for value in values.values() for each in _elements(value) if isinstance(each, str))


def _element_holds(leaf: Leaf, value: Any) -> bool:
    if leaf.op is Op.EXISTS:
        return True
    if leaf.part:
        value = part_of(value, leaf.part)
    if leaf.op in ORDERED:
        number, bound = number_of(value), number_of(leaf.value)
        return number is not None and bound is not None and _COMPARE[leaf.op](float(number), float(bound))
    if leaf.op is Op.EQ and _is_number(value):
        return bool(value == number_of(leaf.value))
    if value is None:
        return False
    text = text_of(value)
    return bool(tester(leaf)(text if leaf.cased else fold(text)))


def text_of(value: Any) -> str:
    """A value as text, as a column of such values reads."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value).lower()
    return pc.cast(pa.scalar(value), pa.string()).as_py()  # type: ignore[no-any-return]


def number_of(value: Any) -> int | float | None:
    """A number, or text that reads as one; None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value) if value.lstrip("+-").isdecimal() and len(value) <= _EXACT_DIGITS else float(value)
    return value if _is_number(value) and not isnan(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def part_of(value: Any, part: str) -> int | None:
    """One part of a timestamp in UTC; None where the value is no timestamp of the years 1 to 9999."""
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            value = moment(value)
        if isinstance(value, dt.datetime):
            value = value.astimezone(dt.UTC) if value.tzinfo else value
        elif isinstance(value, dt.date):
            value = dt.datetime(value.year, value.month, value.day)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return value.isocalendar().week if part == "week" else getattr(value, part)  # type: ignore[no-any-return]


def refers(leaf: Leaf, value: Any, other: Any) -> bool:
    """Whether a value stands to that of the field referred to as the leaf asks; numbers are equal by value."""
    if leaf.op is Op.FIELDREF and _is_number(value) and _is_number(other):
        return bool(value == other)
    text, part = (each if leaf.cased else fold(each) for each in (text_of(value), text_of(other)))
    match leaf.op:
        case Op.FIELDREF:
            return text == part
        case Op.FIELDREF_STARTSWITH:
            return text.startswith(part)
        case Op.FIELDREF_ENDSWITH:
            return text.endswith(part)
        case _:
            return part in text


@lru_cache(maxsize=100_000)
def tester(leaf: Leaf) -> Test:
    """The test of a text, folded unless the leaf is cased, that a leaf stands for; truthy where it is met."""
    wanted = wanted_text(leaf)
    match leaf.op:
        case Op.EQ:
            return wanted.__eq__
        case Op.CONTAINS:
            return lambda text: wanted in text
        case Op.STARTSWITH:
            return lambda text: text.startswith(wanted)
        case Op.ENDSWITH:
            return lambda text: text.endswith(wanted)
        case Op.LIKE:
            return compiled(wildcard_regex(str(leaf.value), leaf.cased)).search  # type: ignore[no-any-return]
        case Op.RE:
            return compiled(str(leaf.value)).search  # type: ignore[no-any-return]
        case Op.CIDR:
            network = ipaddress.ip_network(wanted, strict=False)
            return lambda text: _inside(text, network)
    raise ValueError(f"{leaf.op} is no test of a text")


def wanted_text(leaf: Leaf) -> str:
    """The text that a leaf's value stands for, folded unless the leaf is cased."""
    text = str(leaf.value).lower() if isinstance(leaf.value, bool) else str(leaf.value)
    return text if leaf.cased else fold(text)


def _inside(text: str, network: Network) -> bool:
    address = address_of(text)
    return address is not None and address in network


@lru_cache(maxsize=65_536)
def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
