"""The job of a peer, whatever library moves its records: decode an event, evaluate the rules, say what to count.

A peer decodes the full record with fastavro, evaluates the rules of the event's log source, and sends what matched,
keyed by correlation and group, to a second topic, where windows count it: the repartitioning that both libraries'
guides teach. Windows tumble instead of sliding and nothing is stored, so a peer does less than Tocsin does.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro

from deploy.bench.workload import FAMILIES
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rule_files import load
from processors.rulebook import Correlation, Detection
from schemas.registry import load_schema
from schemas.wire import PREFIX_BYTES

Event = dict[str, Any]
Test = Callable[[Event], bool]
Evaluate = Callable[[Event], list[str]]
"""Ids of the rules that the event meets."""

GRACE_S = 3600
"""How late an event may come: Tocsin's default as well."""
REPORT_EVERY_S = 0.2


class Counts:
    """What the peer has done so far, and how long the last 5,000 events and alerts took."""

    def __init__(self) -> None:
        self.processed = self.matched = self.sent = self.counted = self.alerts = 0
        self.event_s: deque[float] = deque(maxlen=5000)
        self.alert_s: deque[float] = deque(maxlen=5000)

    def report(self, ready: Callable[[], bool]) -> None:
        """Print the fields of ``peers.State`` as JSON five times a second; a line on standard input makes it forget the
        latencies."""

        def forget() -> None:
            for _ in sys.stdin:
                self.event_s.clear()
                self.alert_s.clear()

        def show() -> None:
            while True:
                time.sleep(REPORT_EVERY_S)
                line = {
                    "done": self.processed,
                    "matched": self.matched,
                    "sent": self.sent,
                    "counted": self.counted,
                    "alerts": self.alerts,
                    "ready": ready(),
                    "event_ms": _percentiles(self.event_s),
                    "alert_ms": _percentiles(self.alert_s),
                }
                print(json.dumps(line), flush=True)

        for work in (forget, show):
            threading.Thread(target=work, daemon=True).start()


def _percentiles(seconds: deque[float]) -> dict[str, int]:
    ordered = sorted(seconds.copy())
    return {f"p{share}": round(ordered[len(ordered) * share // 100] * 1000) for share in (50, 95, 99) if ordered}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments with which every peer is started."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--bootstrap", required=True)
    found.add_argument("--rules", type=Path, required=True)
    found.add_argument("--group", required=True)
    found.add_argument("--offset", choices=("earliest", "latest"), default="earliest")
    found.add_argument("--partitions", type=int, default=4)
    return found


class Job:
    """Rules and correlations of the bench, and what became of the events so far.

    Args:
        rules: folder of the rule files.
        indexed: look rules up by the value of one equality instead of evaluating each.
    """

    def __init__(self, rules: Path, indexed: bool = False) -> None:
        book = load([rules])
        self.counts = Counts()
        self._parsed = {family: fastavro.parse_schema(load_schema(family)) for family in FAMILIES}
        evaluate = by_value if indexed else one_by_one
        self._evaluate = {
            family: evaluate([each for each in book.detections if each.family == family]) for family in FAMILIES
        }
        self.correlations = book.correlations
        self._numbers = {each.meta.id: number for number, each in enumerate(self.correlations)}
        self._watchers = book.watchers

    def decode(self, family: str, value: bytes) -> Event:
        """The record behind the wire format's prefix."""
        event: Any = fastavro.schemaless_reader(io.BytesIO(value[PREFIX_BYTES:]), self._parsed[family])
        return event  # type: ignore[no-any-return]

    def handle(self, family: str, event: Event) -> list[dict[str, Any]]:
        """Evaluate the rules; what the windows are to count, each once."""
        met = self._evaluate[family](event)
        found: list[dict[str, Any]] = []
        if met:
            self.counts.matched += 1
            found = [dict(each) for each in dict.fromkeys(self._to_count(event, met))]
            self.counts.sent += len(found)
        self.counts.processed += 1
        self.counts.event_s.append(time.time() - event["header"]["published_at"].timestamp())
        return found

    def _to_count(self, event: Event, met: list[str]) -> Iterator[tuple[tuple[str, Any], ...]]:
        header = event["header"]
        for rule in met:
            for correlation in self._watchers[rule]:
                group = "|".join(str(_at(event, correlation.group_field(key, rule))) for key in correlation.group_by)
                number = self._numbers[correlation.meta.id]
                yield (
                    ("key", f"{number}|{group}"),
                    ("correlation", number),
                    ("thing", _thing(correlation, rule, event)),
                    ("published", header["published_at"].timestamp()),
                )

    def threshold(self, number: int) -> int:
        """At how many things the correlation alerts."""
        return int(self.correlations[number].bounds[0].number)

    def counts_events(self, number: int) -> bool:
        """Whether the window counts events; else it counts different values or rules."""
        return self.correlations[number].type == "event_count"

    def alert(self, published: float) -> None:
        """A window has just reached its threshold by an event published at ``published`` (seconds since 1970 UTC)."""
        self.counts.alerts += 1
        self.counts.alert_s.append(time.time() - published)


def occurred_s(event: Event) -> float:
    """Event time in seconds since 1970 UTC."""
    return event["header"]["occurred_at"].timestamp()  # type: ignore[no-any-return]


def _thing(correlation: Correlation, rule: str, event: Event) -> str:
    match correlation.type:
        case "event_count":
            return str(event["header"]["event_id"])
        case "value_count":
            return str(_at(event, correlation.value_fields[0]))
    return rule


def one_by_one(detections: list[Detection]) -> Evaluate:
    """Every rule on every event."""
    tests = [(each.meta.id, compiled(each.condition)) for each in detections]
    return lambda event: [rule for rule, test in tests if test(event)]


def by_value(detections: list[Detection]) -> Evaluate:
    """A dictionary per field finds the rules whose equality on that field holds; the rest one by one."""
    fields: dict[str, dict[str, list[tuple[str, Test]]]] = {}
    rest: list[tuple[str, Test]] = []
    for each in detections:
        children = each.condition.children if isinstance(each.condition, And) else (each.condition,)
        test = each.meta.id, compiled(each.condition)
        equal = next((leaf for leaf in children if isinstance(leaf, Leaf) and _is_equality(leaf)), None)
        if equal is None:
            rest.append(test)
        else:
            fields.setdefault(equal.field, {}).setdefault(str(equal.value).lower(), []).append(test)
    getters = [(_getter(name), rules) for name, rules in fields.items()]

    def evaluate(event: Event) -> list[str]:
        met = [rule for rule, test in rest if test(event)]
        for get, rules in getters:
            met += [rule for rule, test in rules.get(str(get(event)).lower(), ()) if test(event)]
        return met

    return evaluate


def _is_equality(leaf: Leaf) -> bool:
    return leaf.op is Op.EQ and isinstance(leaf.value, str)


def compiled(condition: Condition) -> Test:
    """A closure that evaluates the condition on an event given as a dict."""
    match condition:
        case And(children):
            tests = [compiled(child) for child in children]
            if len(tests) == 2:
                first, second = tests
                return lambda event: first(event) and second(event)
            return lambda event: all(test(event) for test in tests)
        case Or(children):
            tests = [compiled(child) for child in children]
            return lambda event: any(test(event) for test in tests)
        case Not(child):
            inner = compiled(child)
            return lambda event: not inner(event)
        case Leaf():
            return _leaf(condition)


def _leaf(leaf: Leaf) -> Test:
    get, value = _getter(leaf.field), leaf.value
    if leaf.op is Op.GT:
        number: Any = value
        return lambda event: (found := get(event)) is not None and found > number
    if not isinstance(value, str):
        return lambda event: get(event) == value
    text = value.lower()
    match leaf.op:
        case Op.EQ:
            return lambda event: (found := get(event)) is not None and str(found).lower() == text
        case Op.CONTAINS:
            return lambda event: (found := get(event)) is not None and text in str(found).lower()
        case Op.STARTSWITH:
            return lambda event: (found := get(event)) is not None and str(found).lower().startswith(text)
        case Op.ENDSWITH:
            return lambda event: (found := get(event)) is not None and str(found).lower().endswith(text)
    raise ValueError(f"the bench has no {leaf.op} rules")


def _getter(name: str) -> Callable[[Event], Any]:
    if "." not in name:
        return lambda event: event.get(name)
    outer, *inner = name.split(".")
    if len(inner) == 1:
        (last,) = inner
        return lambda event: event[outer].get(last)
    return lambda event: _at(event, name)


def _at(event: Event, name: str) -> Any:
    found: Any = event
    for part in name.split("."):
        found = found.get(part) if found is not None else None
    return found
