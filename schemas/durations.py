"""Spans of time as people write them in configuration: ``30s``, ``15m``, ``1h30m``, ``2d``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds_of(text: str) -> int:
    """Seconds of ``15m`` or ``1h30m``; units d, h, m, s in this order, whole numbers.

    Raises:
        ValueError: it is no such span.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is no span of time; write for example 30s, 15m, 1h30m or 2d")
    return sum(int(number or 0) * size for number, size in zip(match.groups(), _SECONDS.values(), strict=True))


def _read(value: Any) -> Any:
    try:
        return float(seconds_of(value if isinstance(value, str) else ""))
    except ValueError:
        raise PydanticCustomError(
            "span", "must be a span of time with its unit, such as 30s, 15m, 1h30m or 2d"
        ) from None


Duration = Annotated[float, BeforeValidator(_read)]
"""Seconds, from text with units; a bare number is refused since nobody could tell its unit."""
Positive = Annotated[Duration, Field(gt=0)]
