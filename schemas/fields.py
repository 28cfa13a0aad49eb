"""Types of single fields, with the limits that the pipeline's validation has too."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMERIC: Final = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*")


def _uuid_text(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        if not _UUID.fullmatch(value):
            raise PydanticCustomError(
                "uuid_text", "must be a UUID of 36 characters, for example 01890a5d-ac96-774b-bcce-b302099a8057"
            )
        # One spelling per id, or a re-send in capitals would be a second event.
        return value.lower()
    return value


def _no_number(value: Any) -> Any:
    """Refuse numbers: seconds, milliseconds or days cannot be told apart safely."""
    if isinstance(value, bool | int | float) or (isinstance(value, str) and _NUMERIC.fullmatch(value)):
        raise PydanticCustomError("time_number", "must be ISO 8601 text or a datetime, not a number")
    return value


def _aware_utc(value: datetime) -> datetime:
    if value.tzinfo is None or value.utcoffset() is None:
        raise PydanticCustomError(
            "time_naive", "has no time zone: add Z or an offset such as +02:00 (datetime: tzinfo=timezone.utc)"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("time_range", "is outside the years 1 to 9999 in UTC") from None


UuidText = Annotated[str, BeforeValidator(_uuid_text)]
UtcDatetime = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_aware_utc)]
CalendarDate = Annotated[date, BeforeValidator(_no_number)]
# A constraint, even one that always holds, makes pydantic refuse unpaired surrogates, which no UTF-8 can carry.
Text = Annotated[str, Field(min_length=0)]
NonEmpty = Annotated[str, Field(min_length=1)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Percent = Annotated[int, Field(ge=0, le=100)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Count32 = Annotated[int, Field(ge=0, le=2**31 - 1)]
Count64 = Annotated[int, Field(ge=0, le=2**63 - 1)]
Days = Annotated[int, Field(ge=1, le=2**31 - 1)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Credibility = Annotated[int, Field(ge=1, le=6)]
