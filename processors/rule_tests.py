"""Inline tests of rules: the events under ``tocsin.tests`` run through the engine, the alerts held against what the
rule's author expects.

After a test's last event time runs on until nothing is undecided, so that absence can be tested too.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from processors.fields import field_exists
from processors.offline import Offline, OfflineAlert
from processors.rulebook import Correlation, Rule, Rulebook
from schemas.registry import FAMILIES

START_US = 1_767_225_600_000_000
"""Time of offset 0s: 2026-01-01T00:00:00Z."""
MAX_OFFSET_S = 3660 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OFFSET = re.compile(r"(\d{1,9})([smhdw])")
_KEYS = {"name", "events", "alerts", "evidence"}


@dataclass(frozen=True)
class TestResult:
    """What became of one test; ``message`` says what was expected and what came, and is empty where all is well."""

    __test__ = False

    rule_id: str
    rule_title: str
    name: str
    ok: bool
    message: str


class _MalformedError(ValueError):
    """The test itself is wrong."""


def run(book: Rulebook, only: Iterable[str] | None = None) -> list[TestResult]:
    """Run the tests of every rule, or of those whose ids are in ``only``, each with no more than the rule needs."""
    wanted = None if only is None else set(only)
    results = []
    for rule in book.rules:
        tests = rule.meta.tocsin.get("tests")
        if tests is None or (wanted is not None and rule.meta.id not in wanted):
            continue
        if not isinstance(tests, list):
            results.append(_result(rule, "tests", f"must be a list of tests, found {_shown(tests)}"))
        elif not rule.alerts:
            results.append(
                _result(rule, "tests", "this rule gives no alerts by itself: put the tests on one that does")
            )
        else:
            part = part_of(book, rule)
            results += [_run(part, rule, number, test) for number, test in enumerate(tests, 1)]
    return results


def part_of(book: Rulebook, rule: Rule) -> Rulebook:
    """The rule and what it stands on."""
    needed: set[str] = set()
    waiting = [rule.meta.id]
    while waiting:
        each = waiting.pop()
        if each not in needed:
            needed.add(each)
            found = book.by_id[each]
            waiting += found.watched if isinstance(found, Correlation) else ()
    return Rulebook(
        tuple(each for each in book.detections if each.meta.id in needed),
        tuple(each for each in book.correlations if each.meta.id in needed),
    )


def _result(rule: Rule, name: str, message: str) -> TestResult:
    return TestResult(rule.meta.id, rule.meta.title, name, not message, message)


def _run(book: Rulebook, rule: Rule, number: int, test: Any) -> TestResult:
    name = str(test.get("name") or f"test {number}") if isinstance(test, dict) else f"test {number}"
    try:
        expected, evidence = _expected(test)
        events = [_event(book, place, each) for place, each in enumerate(test["events"])]
    except _MalformedError as error:
        return _result(rule, name, f"the test is wrong: {error}")
    ordered = sorted(range(len(events)), key=lambda place: events[place][0])
    engine = Offline(book)
    engine.add([events[place][1] for place in ordered], [events[place][0] for place in ordered], ordered)
    last = max((at for at, _ in events), default=START_US)
    alerts = [each for each in engine.close(last + engine.undecided_us) if each.rule.meta.id == rule.meta.id]
    return _result(rule, name, _judge(alerts, expected, evidence))


def _expected(test: Any) -> tuple[int, list[list[int]] | None]:
    if not isinstance(test, dict):
        raise _MalformedError(f"must be a mapping with name, events and alerts, found {_shown(test)}")
    if unknown := [str(key) for key in test if key not in _KEYS]:
        raise _MalformedError(f"unknown key {', '.join(unknown)}; there is {', '.join(sorted(_KEYS))}")
    events, alerts, evidence = test.get("events"), test.get("alerts"), test.get("evidence")
    if not isinstance(events, list) or not events:
        raise _MalformedError("events must be a list of at least one event")
    if not isinstance(alerts, int) or isinstance(alerts, bool) or alerts < 0:
        raise _MalformedError(f"alerts must say how many are expected, 0 or more, found {_shown(alerts)}")
    if evidence is None:
        return alerts, None
    if not isinstance(evidence, list) or not all(isinstance(each, list) for each in evidence):
        raise _MalformedError("evidence must be a list with one list of event indexes an alert")
    if len(evidence) != alerts:
        raise _MalformedError(f"evidence lists {len(evidence)} alerts, alerts says {alerts}")
    for index in (index for each in evidence for index in each):
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(events):
            raise _MalformedError(f"evidence index {_shown(index)} is none of the events 0 to {len(events) - 1}")
    return alerts, sorted(sorted(set(each)) for each in evidence)


def _event(book: Rulebook, place: int, event: Any) -> tuple[int, dict[str, Any]]:
    """(event time in microseconds, the event) of one entry of ``events``."""
    where = f"event {place}"
    if not isinstance(event, dict):
        raise _MalformedError(f"{where}: must be a mapping with at, family and fields, found {_shown(event)}")
    fields = {str(name): _json(value) for name, value in event.items() if name not in ("at", "family")}
    offset, family = event.get("at"), event.get("family")
    found = _OFFSET.fullmatch(str(offset))
    seconds = int(found[1]) * _UNITS[found[2]] if found else -1
    if not 0 <= seconds <= MAX_OFFSET_S:
        raise _MalformedError(f"{where}: at must be an offset such as 0s, 5m, 2h or 1d, found {_shown(offset)}")
    read = {each.family for each in book.detections}
    if family not in FAMILIES and (family is not None or read != {""}):
        expected = f"one of {', '.join(sorted(read))}" if "" not in read else "a family"
        raise _MalformedError(f"{where}: family {_shown(family)} is not known; this rule reads {expected}")
    for name in fields:
        if family is not None and "" not in read and not field_exists(str(family), name):
            raise _MalformedError(f"{where}: {family} has no field {name!r}: see its .avsc, entity.* and geo.*")
    return START_US + seconds * 1_000_000, fields | ({"family": family} if family is not None else {})


def _judge(alerts: list[OfflineAlert], expected: int, evidence: list[list[int]] | None) -> str:
    """Empty where the alerts are as expected."""
    came = sorted(list(each.numbers) for each in alerts)
    if len(alerts) == expected and (evidence is None or came == evidence):
        return ""
    wanted = f"{expected} alert{'' if expected == 1 else 's'}"
    if evidence is not None:
        wanted += "".join(f", events {each}" for each in evidence)
    return f"expected {wanted}; came {len(alerts)}" + "".join(
        f"; events {list(each.numbers)}"
        + (f" of {', '.join(f'{name} {value}' for name, value in each.group.items())}" if each.group else "")
        + f", {_offset(each.first_us)} to {_offset(each.last_us)}"
        for each in alerts
    )


def _offset(micros: int) -> str:
    return f"{(micros - START_US) / 1_000_000:g}s"


def _json(value: Any) -> Any:
    """A YAML value as an event would have it: dates are text."""
    if isinstance(value, list):
        return [_json(each) for each in value]
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, dt.date) else value


def _shown(value: Any) -> str:
    return repr(value)[:60]
