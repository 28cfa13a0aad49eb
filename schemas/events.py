"""Event models for partners: one place to import them from, and readable validation problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.enums import (
    BookingKind,
    ContentKind,
    CrossingOutcome,
    Direction,
    DocumentStatus,
    DocumentType,
    PaymentMethod,
    PrecursorAnnex,
    QuantityUnit,
    ReportType,
    Severity,
    SourceReliability,
    TipChannel,
    TransactionKind,
    TravelMode,
    ViolenceType,
    WatchlistAction,
)
from schemas.families import (
    BorderCrossing,
    CyberDetection,
    DocumentNotice,
    FinancialTransaction,
    Heartbeat,
    IncidentReport,
    OnlineReferral,
    PrecursorPurchase,
    TipReport,
    TravelBooking,
    WatchlistEntry,
)
from schemas.header import Entity, EntityType, Event, EventHeader, Handling, Location, TimePrecision, Tlp
from schemas.registry import UnknownFamily

__all__ = [
    "MODELS",
    "BookingKind",
    "BorderCrossing",
    "ContentKind",
    "CrossingOutcome",
    "CyberDetection",
    "Direction",
    "DocumentNotice",
    "DocumentStatus",
    "DocumentType",
    "Entity",
    "EntityType",
    "Event",
    "EventHeader",
    "FinancialTransaction",
    "Handling",
    "Heartbeat",
    "IncidentReport",
    "Location",
    "OnlineReferral",
    "PaymentMethod",
    "PrecursorAnnex",
    "PrecursorPurchase",
    "Problem",
    "QuantityUnit",
    "ReportType",
    "Severity",
    "SourceReliability",
    "TimePrecision",
    "TipChannel",
    "TipReport",
    "Tlp",
    "TransactionKind",
    "TravelBooking",
    "TravelMode",
    "ViolenceType",
    "WatchlistAction",
    "WatchlistEntry",
    "error_lines",
    "model_for",
    "problems_of",
    "to_avro",
]

MODELS: Final[Mapping[str, type[Event]]] = {
    model.family: model
    for model in (
        BorderCrossing,
        TravelBooking,
        FinancialTransaction,
        PrecursorPurchase,
        CyberDetection,
        OnlineReferral,
        IncidentReport,
        TipReport,
        DocumentNotice,
        WatchlistEntry,
        Heartbeat,
    )
}

_FOUND_MAX: Final = 60
_PATTERN_HINTS: Final = {
    "^[A-Z]{2}$": "must be an ISO 3166-1 alpha-2 code: two upper-case letters such as NL",
    "^[A-Z]{3}$": "must be an ISO 4217 code: three upper-case letters such as EUR",
}


def model_for(family: str) -> type[Event]:
    """Model of a family's events.

    Raises:
        UnknownFamily: no such contract.
    """
    try:
        return MODELS[family]
    except KeyError:
        raise UnknownFamily(family) from None


def to_avro(event: Event) -> dict[str, Any]:
    """The event as ``fastavro.schemaless_writer`` takes it: plain containers, aware UTC datetimes, enum symbols."""
    return event.model_dump()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an event: ``field`` as a dotted path, ``code`` stable for counting, ``fix`` what to do."""

    field: str
    code: str
    found: str
    fix: str

    def __str__(self) -> str:
        if self.code in ("missing", "extra_forbidden"):
            return f"{self.field}: {self.fix}"
        return f"{self.field}: found {self.found}; {self.fix}"


def problems_of(error: ValidationError) -> list[Problem]:
    """Problems of a refused event, in the order of its fields."""
    return [_problem(detail) for detail in error.errors(include_url=False)]


def error_lines(error: ValidationError) -> list[str]:
    """One short line a problem: field, what was found, what to do."""
    return [str(problem) for problem in problems_of(error)]


def _problem(detail: ErrorDetails) -> Problem:
    field = _path(detail["loc"])
    return Problem(field or "event", detail["type"], _shown(detail.get("input")), _fix(detail))


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return ascii(path)[1:-1]


def _shown(value: Any) -> str:
    """The value, short and in ASCII, so that no input can break a terminal or a log line."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict):
        return f"an object with {len(value)} fields"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str) and len(value) > _FOUND_MAX:
        return f"{value[: _FOUND_MAX - 20]!a}... ({len(value)} characters)"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    return ascii(value)[:_FOUND_MAX]


def _fix(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "missing; give a value, it has no default"
    if kind == "extra_forbidden":
        return "not in the contract; remove it or correct the name"
    if kind == "string_pattern_mismatch":
        return _PATTERN_HINTS.get(str(context.get("pattern")), str(detail["msg"]))
    if kind == "enum":
        return f"must be one of {context.get('expected')}"
    if kind == "string_unicode":
        return "must be valid Unicode without unpaired surrogates"
    if kind == "string_too_short":
        return "must not be empty"
    if kind in ("datetime_from_date_parsing", "datetime_parsing", "datetime_type"):
        return "must be an ISO 8601 time with time zone, for example 2026-03-01T12:00:00Z"
    return str(detail["msg"]).replace("Input should be", "must be").replace("Value error, ", "")
