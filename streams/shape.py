"""Brings loosely written events into the contract's shape: flat header fields go where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from schemas.events import Event, EventHeader, Handling, Location, model_for
from streams.ids import uuid7

HEADER_FIELDS: Final = frozenset(EventHeader.model_fields)
HANDLING_FIELDS: Final = frozenset(Handling.model_fields)
LOCATION_FIELDS: Final = frozenset(Location.model_fields)


class ShapeError(ValueError):
    """A field given twice in different ways; ``field`` is its path in the contract, ``fix`` what to do."""

    def __init__(self, field: str, found: str, fix: str) -> None:
        super().__init__(f"{field}: found {found}; {fix}")
        self.field = field
        self.found = found
        self.fix = fix


def contract_path(name: str) -> str:
    """Where a field lies: ``tlp`` -> ``header.handling.tlp``, ``partner`` -> ``header.partner``, others as given.

    No family has a field of such a name (a test keeps it so).
    """
    if name in HEADER_FIELDS:
        return f"header.{name}"
    if name in HANDLING_FIELDS:
        return f"header.handling.{name}"
    if name in LOCATION_FIELDS:
        return f"header.location.{name}"
    head, dot, rest = name.partition(".")
    if dot and head in ("handling", "location"):
        return f"header.{head}.{rest}"
    return name


def nest(record: Mapping[str, Any]) -> dict[str, Any]:
    """A new event with each field where the contract has it; takes nested, flat (``tlp``) and dotted names.

    Values are not checked or changed. Mappings in the record are copied where fields are put into them.

    Raises:
        ShapeError: a field given twice, or put into something that is no object.
    """
    event: dict[str, Any] = {}
    for name, value in record.items():
        if name == "header" and isinstance(value, Mapping):
            event.setdefault("header", {})
            for inner, part in value.items():
                path = contract_path(str(inner))
                put(event, path if path.startswith("header.") else f"header.{path}", part)
        else:
            put(event, contract_path(name), value)
    return event


def put(event: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path, making objects on the way; an object is merged into one that is there.

    Raises:
        ShapeError: see ``nest``.
    """
    *parents, name = path.split(".")
    target = event
    for depth, parent in enumerate(parents):
        below = target.setdefault(parent, {})
        if not isinstance(below, dict):
            place = ".".join(parents[: depth + 1])
            raise ShapeError(path, f"{place} given as {type(below).__name__}", "give one or the other")
        target = below
    there = target.get(name)
    if isinstance(value, Mapping) and (isinstance(there, dict) or name not in target):
        into = target.setdefault(name, {})
        for key, inner in value.items():
            if key in into:
                raise ShapeError(f"{path}.{key}", "two values", "give it once")
            into[key] = inner
    elif name in target:
        raise ShapeError(path, "two values", "give it once")
    else:
        target[name] = value


def new_event(family: str, *, partner: str, now: datetime | None = None, **fields: Any) -> Event:
    """A valid event from flat fields, for live use: ``event_id`` (UUIDv7), ``occurred_at`` and ``published_at`` are
    filled in when not given, with the current time in UTC. A sharing label (``tlp``) is never filled in.

    >>> new_event("tip_report", partner="tipline-uk", tlp="AMBER", text="...").header.partner
    'tipline-uk'

    Raises:
        UnknownFamily: no such contract.
        ShapeError: a field given twice.
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    model = model_for(family)
    moment = datetime.now(UTC) if now is None else now
    event = nest(fields)
    header = event.setdefault("header", {})
    if isinstance(header, dict):
        header.setdefault("partner", partner)
        header.setdefault("event_id", uuid7())
        header.setdefault("occurred_at", moment)
        header.setdefault("published_at", moment)
    return model.model_validate(event)
