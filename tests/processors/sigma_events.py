"""Events as other products write them, nested dicts, seen by column; and the rows that a rule finds among them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.clauses import holds as holds_in_python
from processors.fields import Column
from processors.matcher import Matcher
from processors.rule_files import load_texts
from processors.rulebook import Rulebook
from tests.processors.reference import holds

HEAD = "title: A rule\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: windows}\n"


def flat(event: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by dotted names."""
    found: dict[str, Any] = {}
    for key, value in event.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


class Events:
    """Rows with the fields that they happen to have. A field that is a list anywhere may repeat within a row."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = [flat(event) for event in events]
        self.num_rows = len(events)

    def names(self) -> Iterable[str]:
        return sorted({name for event in self.events for name in event})

    def column(self, name: str) -> Column | None:
        values = [event.get(name) for event in self.events]
        if all(value is None for value in values):
            return None
        if not any(isinstance(value, list) for value in values):
            return Column(_array(values))
        pairs = [
            (row, each)
            for row, value in enumerate(values)
            for each in (value if isinstance(value, list) else [value])
            if each is not None
        ]
        return Column(_array([each for _, each in pairs]), np.array([row for row, _ in pairs], dtype=np.int64))


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values} - {type(None)}
    return pa.array(values if len(kinds) < 2 else [None if value is None else str(value) for value in values])


def rulebook(text: str, ignore_logsource: bool = True) -> Rulebook:
    return load_texts([(Path("rules.yml"), text)], ignore_logsource)


def found_by(detection: str, events: list[dict[str, Any]], head: str = HEAD) -> list[int]:
    """Numbers of the events that a rule with this ``detection`` finds; row by row and by column, which must agree."""
    indented = "\n".join(f"  {line}" for line in detection.strip().splitlines())
    (rule,) = rulebook(f"{head}detection:\n{indented}\n").detections
    batch = Events(events)
    found = [row for _, rows in Matcher([rule]).match(batch) for row in rows.tolist()]
    assert found == [row for row, event in enumerate(batch.events) if holds(rule.condition, event)]
    assert found == [row for row, event in enumerate(batch.events) if holds_in_python(rule.condition, event)]
    return found
