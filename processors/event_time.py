"""When an event happened, from whatever a log writes: ISO 8601 text, or a count since 1970 in any usual unit."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from processors.json_events import MISSING, find, value_of
from processors.times import micros, moment

TIME_FIELDS = (
    *("occurred_at", "header.occurred_at", "@timestamp", "timestamp", "time", "TimeCreated", "UtcTime", "EventTime"),
    *("eventTime", "event_time", "TimeGenerated", "CreationTime", "created_at", "datetime", "ts", "_time", "date"),
    *("TimeCreated.SystemTime", "System.TimeCreated.SystemTime", "Event.System.TimeCreated.#attributes.SystemTime"),
)
"""Where the time is looked for when nobody says where it is; the first that can be read counts."""
_NUMERIC = re.compile(r"[+-]?\d+(\.\d*)?")
_RANGE = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # years 1 to 9999, microseconds since 1970


class TimeError(ValueError):
    """The event has no time that can be read."""


class EventTime:
    """Reads event times; ``taken`` counts which fields they came from."""

    def __init__(self, field: str | None = None) -> None:
        self._fields: tuple[str, ...] = TIME_FIELDS if field is None else (field,)
        self._read: Callable[[dict[str, Any], str], Any] = find if field is None else value_of
        self.taken: Counter[str] = Counter()

    def read(self, event: dict[str, Any]) -> int:
        """Microseconds since 1970 UTC.

        Raises:
            TimeError: see there; the text says what was found.
        """
        found = []
        for field in self._fields:
            value = self._read(event, field)
            if value is not MISSING and value is not None:
                since = micros_of(value)
                if since is not None:
                    self.taken[field] += 1
                    return since
                found.append(f"{field} is {str(value)[:40]!r}")
        if found:
            raise TimeError(f"no readable time: {'; '.join(found)}; expected ISO 8601 or a number since 1970")
        wanted = self._fields[0] if len(self._fields) == 1 else "a field such as occurred_at, @timestamp or timestamp"
        raise TimeError(f"no time: {wanted} is missing; name the field with --time-field")


def micros_of(value: Any) -> int | None:
    """Microseconds since 1970 UTC of a time, or None where it is none; what is finer is cut.

    A number is seconds, milliseconds, microseconds or nanoseconds by its size: seconds reach the year 5138, and the
    other units begin in 1973. Text without a zone is UTC.
    """
    match value:
        case bool():
            return None
        case int():
            return _from_number(Decimal(value))
        case float():
            # By its shortest text: 0.1 is a tenth, not the nearest double below it.
            return _from_number(Decimal(repr(value)))
        case str():
            text = value.strip()
            return _from_number(Decimal(text)) if _NUMERIC.fullmatch(text) else _from_text(text)
    return None


def iso(microseconds: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC, with a fraction only where there is one."""
    return moment(microseconds).isoformat().replace("+00:00", "Z")


def _from_number(number: Decimal) -> int | None:
    if not number.is_finite():
        return None
    size = abs(number)
    scale = 6 if size < 10**11 else 3 if size < 10**14 else 0 if size < 10**17 else -3
    since = int(number.scaleb(scale).to_integral_value("ROUND_FLOOR"))
    return since if _RANGE[0] <= since <= _RANGE[1] else None


def _from_text(text: str) -> int | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        try:
            found = dt.datetime.fromisoformat(text.upper().replace(" UTC", "Z"))
        except ValueError:
            return None
    since = micros(found)
    return since if _RANGE[0] <= since <= _RANGE[1] else None
