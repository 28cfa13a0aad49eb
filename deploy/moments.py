"""Times as people write them on a command line."""

from __future__ import annotations

import datetime as dt
import re

import typer

from processors.event_time import micros_of

_AGO = re.compile(r"(\d{1,6})([smhdw])(?: ago)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def micros_at(text: str, now: dt.datetime, option: str) -> int:
    """Microseconds since 1970 UTC of what the user wrote: ``now``, ``7d`` for as long ago, or a date or time, which is
    UTC unless it says otherwise.

    Raises:
        typer.BadParameter: it is no time.
    """
    if text == "now":
        return micros_of(now.isoformat()) or 0
    found = _AGO.fullmatch(text.strip())
    if found:
        ago = dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        return micros_of((now - ago).isoformat()) or 0
    micros = micros_of(text)
    if micros is None:
        raise typer.BadParameter(
            f"{text!r} is no time: write 7d, 24h, 2026-03-01 or 2026-03-01T12:00:00Z", param_hint=option
        )
    return micros
