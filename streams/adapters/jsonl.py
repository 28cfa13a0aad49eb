"""One JSON object a line, in the contract's shape or with flat header fields (``partner``, ``tlp``, ``lat``, ...)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from streams.adapters.base import Candidate, Context, LineReader, Outcome, RefusedLine, shown
from streams.ids import source_uuid
from streams.shape import ShapeError, nest


def read_jsonl(lines: LineReader, context: Context) -> Iterator[Outcome]:
    """Events of a JSON lines file; blank lines are passed over.

    Filled in when missing: partner, a TLP label if the command gives one, and ``event_id``, which is then a hash of
    partner, family and content, so that a file published twice, or the same line twice, is stored once. Never filled
    in: ``occurred_at``.
    """
    for line in lines:
        if line.refused is not None:
            yield line.refused
        elif line.text is not None and line.text.strip():
            yield parse_event(line.number, line.text, context)


def parse_event(number: int, text: str, context: Context) -> Outcome:
    """One line's event or why there is none."""
    parsed = parse_object(number, text)
    if isinstance(parsed, RefusedLine):
        return parsed
    try:
        event = nest(parsed)
    except ShapeError as error:
        return RefusedLine(number, "given_twice", str(error), shown(text), error.field)
    fill_header(event, context)
    return Candidate(number, event, shown(text))


def parse_object(number: int, text: str) -> dict[str, Any] | RefusedLine:
    """The JSON object of a line. NaN, Infinity and unpaired surrogates are no JSON."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"column {error.colno}" if error.colno else "its end"
        return RefusedLine(number, "invalid_json", f"not JSON at {place}: {error.msg}", shown(text))
    if not isinstance(parsed, dict):
        kind = type(parsed).__name__
        return RefusedLine(number, "not_an_object", f"found a JSON {kind}; must be one object a line", shown(text))
    return parsed


def fill_header(event: dict[str, Any], context: Context) -> None:
    """Add partner, label and a repeatable event id where they are missing; leaves wrong types to validation."""
    header = event.setdefault("header", {})
    if not isinstance(header, dict):
        return
    if header.get("event_id") is None:
        canonical = json.dumps(event, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        header["event_id"] = source_uuid(context.partner, context.family, canonical, at=_time(header))
    header.setdefault("partner", context.partner)
    if context.tlp is not None:
        handling = header.setdefault("handling", {})
        if isinstance(handling, dict):
            handling.setdefault("tlp", context.tlp)


def _time(header: dict[str, Any]) -> datetime | None:
    """occurred_at if it can be read: it only orders ids, validation judges it."""
    value = header.get("occurred_at")
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
