"""Short, slow and plainly right: what the engine must agree with."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from processors.alerts import alert_id
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rulebook import Correlation
from schemas.alerts import Evidence, Signal


def holds(condition: Condition, row: dict[str, Any]) -> bool:
    """Whether a row (field -> scalar, list or None) meets the condition, looked at leaf by leaf."""
    match condition:
        case And(children):
            return all(holds(child, row) for child in children)
        case Or(children):
            return any(holds(child, row) for child in children)
        case Not(child):
            return not holds(child, row)
        case Leaf():
            return _leaf(condition, row)


def _leaf(leaf: Leaf, row: dict[str, Any]) -> bool:
    value = row.get(leaf.field)
    values = [each for each in (value if isinstance(value, list) else [value]) if each is not None]
    if leaf.op is Op.NULL:
        return not values
    if leaf.op is Op.EXISTS:
        return bool(values)
    if leaf.op is Op.FIELDREF:
        other = row.get(str(leaf.value))
        return other is not None and any(_fold(each, False) == _fold(other, False) for each in values)
    return any(_compare(leaf, each) for each in values)


def _compare(leaf: Leaf, value: Any) -> bool:
    wanted = leaf.value
    if leaf.op in (Op.LT, Op.LTE, Op.GT, Op.GTE):
        if isinstance(value, bool | str):
            return False
        assert isinstance(wanted, int | float)
        return {Op.LT: value < wanted, Op.LTE: value <= wanted, Op.GT: value > wanted, Op.GTE: value >= wanted}[leaf.op]
    if leaf.op is Op.RE:
        return re.search(str(wanted), str(value)) is not None
    if leaf.op is Op.CIDR:
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(str(wanted))
        except ValueError:
            return False
    if leaf.op is Op.EQ and not isinstance(value, str):
        if isinstance(value, bool):
            return str(value).lower() == str(wanted).lower()
        try:
            return not isinstance(wanted, bool) and float(value) == float(str(wanted))
        except ValueError:
            return False
    text, part = _fold(value, leaf.cased), _fold(wanted, leaf.cased)
    return {
        Op.EQ: text == part,
        Op.CONTAINS: part in text,
        Op.STARTSWITH: text.startswith(part),
        Op.ENDSWITH: text.endswith(part),
    }[leaf.op]


def _fold(value: Any, cased: bool) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if cased else text.lower()


def final_alerts(correlation: Correlation, signals: list[Signal]) -> dict[str, frozenset[tuple[str, str, str]]]:
    """alert id -> evidence (partner, event id, base rule) of every situation, from all signals of one group at once."""
    unique = {(s.partner, s.event_id, s.rule_id, s.value): s for s in signals}
    ordered = sorted(
        unique.values(),
        key=lambda s: (s.occurred_us, s.partner, s.event_id, s.rule_id, s.value or ""),
    )
    span = correlation.timespan_s * 1_000_000
    situations: list[list[Signal]] = []
    for signal in ordered:
        at = signal.occurred_us
        if situations and at - situations[-1][-1].occurred_us <= span:
            situations[-1].append(signal)
        else:
            situations.append([signal])
    found = {}
    for situation in situations:
        evidence: dict[int, Evidence] = {}
        for end in (s.occurred_us for s in situation):
            window = [(i, s) for i, s in enumerate(situation) if end - span <= s.occurred_us <= end]
            if _met(correlation, [s for _, s in window]):
                evidence.update({i: s.record() for i, s in window})
        if evidence:
            first = evidence[min(evidence)]
            signal = situation[0]
            found[alert_id(correlation.meta.id, signal.group, first.exercise, first)] = frozenset(
                (e.partner, e.event_id, e.rule_id) for e in evidence.values()
            )
    return found


def _met(correlation: Correlation, window: list[Signal]) -> bool:
    things: set[Any]
    match correlation.type:
        case "event_count":
            things = {(s.partner, s.event_id) for s in window}
        case "value_count":
            things = {s.value for s in window if s.value is not None}
        case _:
            things = {s.rule_id for s in window}
    return len(things) > correlation.threshold if correlation.op == "gt" else len(things) >= correlation.threshold
