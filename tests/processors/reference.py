"""Short, slow and plainly right: what the engine must agree with."""

from __future__ import annotations

import datetime as dt
import ipaddress
import itertools
import math
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import orjson

from processors.alerts import alert_id
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rulebook import Correlation, Expression, Rulebook, Term
from schemas.alerts import EVIDENCE_COLUMNS, Signal

SECOND = 1_000_000


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
    values = _listed(row.get(leaf.field))
    if not leaf.field:
        values = [each for value in row.values() for each in _listed(value) if isinstance(each, str)]
    if leaf.op is Op.NULL:
        return not values
    if leaf.op is Op.EXISTS:
        return bool(values)
    if leaf.op.value.startswith("fieldref"):
        others = _listed(row.get(str(leaf.value)))
        return any(_refers(leaf, each, other) for each in values for other in others)
    return any(_compare(leaf, each) for each in values)


def _listed(value: Any) -> list[Any]:
    return [each for each in (value if isinstance(value, list) else [value]) if each is not None]


def _refers(leaf: Leaf, value: Any, other: Any) -> bool:
    if leaf.op is Op.FIELDREF and not {type(value), type(other)} & {str, bool}:
        return bool(value == other)
    text, part = _fold(value, leaf.cased), _fold(other, leaf.cased)
    return {
        "fieldref": text == part,
        "fieldref|startswith": text[: len(part)] == part,
        "fieldref|endswith": part in (text[len(text) - len(part) :], ""),
        "fieldref|contains": part in text,
    }[leaf.op.value]


def _compare(leaf: Leaf, value: Any) -> bool:
    wanted = leaf.value
    if leaf.part:
        moment = _moment(value)
        if moment is None:
            return False
        value = moment.isocalendar()[1] if leaf.part == "week" else int(moment.strftime(_PART[leaf.part]))
    if leaf.op in (Op.LT, Op.LTE, Op.GT, Op.GTE):
        try:
            number = Decimal(value) if isinstance(value, str) else value
        except InvalidOperation:
            return False
        if isinstance(number, bool) or (isinstance(number, Decimal) and (not number.is_finite() or "_" in value)):
            return False
        assert isinstance(wanted, int | float)
        return {Op.LT: number < wanted, Op.LTE: number <= wanted, Op.GT: number > wanted, Op.GTE: number >= wanted}[
            leaf.op
        ]
    if leaf.op is Op.EQ and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return not isinstance(wanted, bool) and Decimal(str(value)) == Decimal(str(wanted))
        except InvalidOperation:
            return False
    text, part = _fold(value, leaf.cased), _fold(wanted, leaf.cased)
    match leaf.op:
        case Op.RE:
            return re.search(part, text) is not None
        case Op.LIKE:
            return _like(part, text)
        case Op.CIDR:
            try:
                return ipaddress.ip_address(text) in ipaddress.ip_network(part)
            except ValueError:
                return False
    return {
        Op.EQ: text == part,
        Op.CONTAINS: part in text,
        Op.STARTSWITH: text.startswith(part),
        Op.ENDSWITH: text.endswith(part),
    }[leaf.op]


def _like(pattern: str, text: str) -> bool:
    """Sigma's wildcards, character by character."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_like(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    if pattern[0] == "\\" and pattern[1:2] in ("*", "?", "\\"):
        pattern = pattern[1:]
    elif pattern[0] == "?":
        return bool(text) and _like(pattern[1:], text[1:])
    return text[:1] == pattern[0] and _like(pattern[1:], text[1:])


_PART = {"minute": "%M", "hour": "%H", "day": "%d", "month": "%m", "year": "%Y"}


def _moment(value: Any) -> dt.datetime | None:
    if isinstance(value, bool | float):
        return None
    if isinstance(value, int):
        return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=value)
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment


def _fold(value: Any, cased: bool) -> str:
    """The text of a value; each character by its one lower-case letter where case does not count."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = repr(value).removesuffix(".0")
    else:
        text = str(value)
    return text if cased else "".join("i" if each == "İ" else each.lower() for each in text)


Situation = list[Signal]
Found = dict[str, frozenset[tuple[str, str, str]]]


def evaluate(book: Rulebook, signals: list[Signal], low: int) -> Found:
    """alert id -> evidence (partner, event id, base rule) of every alert that all signals together lead to.

    ``low`` is the event time, in microseconds, that has been passed. Everything is sorted, every window looked at.
    """
    waiting = [each for each in signals if each.correlation_id]
    found: Found = {}
    for rule in sorted(book.correlations, key=lambda each: each.depth):
        mine = [each for each in waiting if each.correlation_id == rule.meta.id]
        for group, exercise in {(each.group, each.exercise) for each in mine}:
            members = [each for each in mine if (each.group, each.exercise) == (group, exercise)]
            for situation in _situations(rule, members):
                firings = _firings(rule, situation, low)
                if not firings:
                    continue
                evidence = [each for each in situation if any(each in chosen for _, chosen in firings)]
                named = tuple(zip(rule.group_by, group, strict=True))
                first = evidence[0]
                anchor = first.event_id if first.partner else f"{first.event_id}@{first.occurred_us}"
                identifier = alert_id(rule.meta.id, named, exercise, first.partner, anchor)
                if rule.alerts:
                    found[identifier] = frozenset(_names(evidence))
                waiting += _upward(book, rule, identifier, group, exercise, situation, firings)
    return found


def _names(evidence: list[Signal]) -> list[tuple[str, str, str]]:
    return [(p[1], p[0], p[EVIDENCE_COLUMNS.index("rule_id")]) for s in evidence for p in orjson.loads(s.evidence)]


def _key(signal: Signal) -> tuple[int, str, str, str, str]:
    return (signal.occurred_us, signal.partner, signal.event_id, signal.rule_id, signal.value or "")


def _situations(rule: Correlation, signals: list[Signal]) -> list[Situation]:
    ordered = sorted({_key(each): each for each in signals}.items())
    situations: list[Situation] = []
    for _, signal in ordered:
        if situations and signal.occurred_us - situations[-1][-1].occurred_us <= rule.timespan_s * SECOND:
            situations[-1].append(signal)
        else:
            situations.append([signal])
    return situations


def _firings(rule: Correlation, situation: Situation, low: int) -> list[tuple[Signal, list[Signal]]]:
    """(last signal, evidence) of each window that fires."""
    span = rule.timespan_s * SECOND
    found = []
    if rule.type == "absence":
        for at in sorted({each.occurred_us for each in situation}):
            hush = [s for s in situation if s.rule_id in rule.absent and 0 <= s.occurred_us - at <= span]
            if at + span < low and not hush:
                chosen = [s for s in situation if s.occurred_us == at]
                found.append((chosen[-1], chosen))
        return found
    if rule.type == "travel":
        starts: dict[int, int] = {}
        for before, here in itertools.pairwise(situation):
            hours = (here.occurred_us - before.occurred_us) / SECOND / 3600
            km = _distance(before.value, here.value)
            if km >= rule.min_distance_km and km > rule.max_speed_kmh * hours:
                starts[here.occurred_us] = min(before.occurred_us, starts.get(here.occurred_us, before.occurred_us))
        for end, start in sorted(starts.items()):
            chosen = [s for s in situation if start <= s.occurred_us <= end]
            found.append((chosen[-1], chosen))
        return found
    for end in sorted({each.occurred_us for each in situation}):
        window = [each for each in situation if end - span <= each.occurred_us <= end]
        chosen = _met(rule, window)
        if chosen:
            found.append((window[-1], chosen))
    return found


def _met(rule: Correlation, window: list[Signal]) -> list[Signal]:
    """The evidence of the window where the condition holds, else nothing."""
    events = {(s.partner, s.event_id) for s in window}
    values = {s.value for s in window}
    rules = {s.rule_id for s in window}
    if rule.type == "value_percentile" and rule.percentile is None:
        pairs = {(s.partner, s.event_id, s.value) for s in window}
        shares = {v: Fraction(100 * sum(p[2] == v for p in pairs), len(pairs)) for v in values}
        good = {v for v, share in shares.items() if all(b.holds(share) for b in rule.bounds)}
        return [s for s in window if s.value in good]
    observed: Fraction | int
    match rule.type:
        case "event_count":
            observed = len(events)
        case "value_count":
            observed = len(values)
        case "temporal":
            if rule.expression is not None:
                return window if _present(rule.expression, rules) else []
            observed = len(rules)
        case "temporal_ordered":
            sightings = [(s.occurred_us, s.rule_id) for s in window]
            if rule.expression is not None:
                return window if _finished(rule.expression, sightings, {0}) else []
            observed = max(
                (
                    len(chain)
                    for size in range(1, len(rule.bases) + 1)
                    for chain in itertools.combinations(rule.bases, size)
                    if _finished(Term("and", chain) if size > 1 else chain[0], sightings, {0})
                ),
                default=0,
            )
        case _:
            triples = {(s.partner, s.event_id, Fraction(s.value)) for s in window if s.value is not None}
            numbers = sorted(number for _, _, number in triples)
            match rule.type:
                case "value_sum":
                    observed = sum(numbers, Fraction(0))
                case "value_avg":
                    observed = sum(numbers, Fraction(0)) / len(numbers)
                case _:
                    rank = Fraction((50 if rule.percentile is None else rule.percentile) * (len(numbers) - 1), 100)
                    low, high = numbers[math.floor(rank)], numbers[math.ceil(rank)]
                    observed = low + (high - low) * (rank - math.floor(rank))
    return window if all(bound.holds(observed) for bound in rule.bounds) else []


def _present(expression: Expression, rules: set[str]) -> bool:
    if isinstance(expression, str):
        return expression in rules
    answers = [_present(each, rules) for each in expression.arguments]
    return {"and": all(answers), "or": any(answers), "not": not answers[0]}[expression.op]


def _finished(expression: Expression, sightings: list[tuple[int, str]], starts: set[int]) -> set[int]:
    """All times at which something after the expression may begin when that begins at any of ``starts``."""
    if isinstance(expression, str):
        return {at + 1 for at, rule in sightings if rule == expression and any(at >= start for start in starts)}
    if expression.op == "not":
        return set() if _finished(expression.arguments[0], sightings, {0}) else starts
    if expression.op == "or":
        return set().union(*(_finished(each, sightings, starts) for each in expression.arguments))
    for each in expression.arguments:
        starts = _finished(each, sightings, starts)
    return starts


def _distance(one: str | None, other: str | None) -> float:
    """Great-circle distance in km by the spherical law of cosines on the mean radius of the Earth."""
    (a, b), (c, d) = (tuple(math.radians(float(each)) for each in str(text).split(",")) for text in (one, other))
    cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
    return 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


def _upward(
    book: Rulebook,
    rule: Correlation,
    identifier: str,
    group: tuple[str, ...],
    exercise: bool,
    situation: Situation,
    firings: list[tuple[Signal, list[Signal]]],
) -> list[Signal]:
    """What the correlations above see: each firing, with the evidence that no earlier one had."""
    found = []
    reached = -1
    for last, chosen in firings:
        place = situation.index(last)
        new = [each for each in chosen if situation.index(each) > reached] or [last]
        reached = place
        pieces = sorted(
            (piece for each in new for piece in orjson.loads(each.evidence)),
            key=lambda piece: (piece[EVIDENCE_COLUMNS.index("occurred_us")], piece[1], piece[0]),
        )
        for watcher in book.watchers.get(rule.meta.id, ()):
            choices = [
                [group[rule.group_by.index(key)]]
                if key in rule.group_by
                else sorted({str(p[EVIDENCE_COLUMNS.index("matched")][key]) for p in pieces})
                for key in watcher.group_by
            ]
            at = last.occurred_us + (rule.timespan_s * SECOND if rule.type == "absence" else 0)
            unique = {(p[1], p[0], p[EVIDENCE_COLUMNS.index("rule_id")]): p for p in pieces}
            found += [
                Signal(
                    watcher.meta.id, watcher.fingerprint, rule.meta.id, keys, None, "", identifier, at, exercise,
                    False, False, orjson.dumps(list(unique.values())),
                )
                for keys in itertools.product(*choices)
            ]  # fmt: skip
    return found
