"""The peer: a Faust agent as Faust's own guide writes one, an event at a time, with the rules as closures.

It decodes the full record with fastavro, matches the rules of the event's family and counts; it stores nothing and
correlates nothing. Run as ``python -m deploy.bench.plain_faust``; prints one JSON line of progress a second.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import faust

from deploy.bench.workload import FAMILIES
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rulebook import load
from schemas.registry import load_schema, topic_of

Event = dict[str, Any]
Test = Callable[[Event], bool]


class Counts:
    """What the agent has done so far."""

    def __init__(self) -> None:
        self.processed = 0
        self.matched = 0
        self.late_s: deque[float] = deque(maxlen=5000)

    def latency_ms(self) -> dict[str, int]:
        """From publication to the end of the handling, over the last 5,000 events."""
        ordered = sorted(self.late_s)
        return {f"p{share}": round(ordered[len(ordered) * share // 100] * 1000) for share in (50, 95, 99) if ordered}


def app(bootstrap: str, rules: Path, group: str, offset: str) -> tuple[faust.App, Counts]:
    """The application and its counts."""
    counts = Counts()
    application = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        value_serializer="raw",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset=offset,
        datadir=tempfile.mkdtemp(prefix=group),
    )
    book = load([rules])
    for family in FAMILIES:
        parsed = fastavro.parse_schema(load_schema(family))
        tests = [compiled(rule.condition) for rule in book.detections if rule.family == family]
        _agent(application, family, parsed, tests, counts)
    return application, counts


def _agent(application: faust.App, family: str, parsed: Any, tests: list[Test], counts: Counts) -> None:
    async def consume(stream: Any) -> None:
        async for value in stream:
            event: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed)
            for test in tests:
                if test(event):
                    counts.matched += 1
            counts.processed += 1
            counts.late_s.append(time.time() - event["header"]["published_at"].timestamp())

    application.agent(application.topic(topic_of(family), value_type=bytes), name=family)(consume)


def compiled(condition: Condition) -> Test:
    """A closure that evaluates the condition on an event given as a dict."""
    match condition:
        case And(children):
            tests = [compiled(child) for child in children]
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
    path = leaf.field.split(".")
    value: Any = leaf.value
    if len(path) == 1:
        name = path[0]

        def get(event: Event) -> Any:
            return event.get(name)
    else:

        def get(event: Event) -> Any:
            found: Any = event
            for part in path:
                found = found.get(part) if found is not None else None
            return found

    if leaf.op is Op.GT:
        return lambda event: (found := get(event)) is not None and found > value
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--rules", type=Path, required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--offset", choices=("earliest", "latest"), default="earliest")
    arguments = parser.parse_args()
    application, counts = app(arguments.bootstrap, arguments.rules, arguments.group, arguments.offset)

    def report() -> None:
        while True:
            time.sleep(0.2)
            line = {
                "processed": counts.processed,
                "matched": counts.matched,
                "assigned": bool(application.consumer.assignment()),
                "latency_ms": counts.latency_ms(),
            }
            print(json.dumps(line), flush=True)

    threading.Thread(target=report, daemon=True).start()
    faust.Worker(application, loglevel="WARNING", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
