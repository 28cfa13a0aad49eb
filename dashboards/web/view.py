"""Turns alerts and records into what the templates show; no I/O, and the clock comes in from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dashboards.alerts import AlertFilter, AlertRow
from dashboards.explain import account_of, age, between, in_order, matched_of, place_of, position_of, steps_of
from dashboards.palette import LEVELS
from dashboards.web.worldmap import Drawing, Point, draw
from schemas.alerts import Alert, Evidence

EXERCISE_CHOICES: Final = {"": "Exercise and live", "live": "Live only", "exercise": "Exercise only"}
STATUS_CHOICES: Final = {"open": "Open", "all": "Open and superseded"}


def filter_from(query: Mapping[str, str]) -> AlertFilter:
    """The list's filter as the address has it; a value that is not known restricts nothing."""
    level = query.get("level", "")
    return AlertFilter(
        status=None if query.get("status") == "all" else "open",
        level=level if level in LEVELS else None,
        exercise={"live": False, "exercise": True}.get(query.get("exercise", "")),
        partner=query.get("partner") or None,
    )


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One row of the list, ready to show; the page's script counts ``age`` on."""

    row: AlertRow
    group: str
    where: str
    age: str


def listed(rows: list[AlertRow], now: datetime) -> list[ListedAlert]:
    """Rows ready to show; ages run from the last event."""
    return [
        ListedAlert(
            row=row,
            group=", ".join(f"{field} = {value}" for field, value in row.group.items()),
            where=", ".join(dict.fromkeys(place for place in row.places if place)) or ", ".join(row.countries),
            age=age(row.last_event_at, now),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One event that the alert rests on; ``gap`` is since the event before, ``delay`` from publish to ingest."""

    number: int
    item: Evidence
    gap: str
    place: str
    matched: tuple[tuple[str, str], ...]
    position: str
    delay: str


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Everything that the page of one alert shows; ``hidden`` counts evidence that the record does not carry."""

    alert: Alert
    evidence: tuple[EvidenceRow, ...]
    steps: list[tuple[str, datetime, str]]
    account: list[tuple[str, str]]
    drawing: Drawing | None
    hidden: int


def evidence_rows(alert: Alert) -> tuple[EvidenceRow, ...]:
    """The evidence numbered in order of time."""
    items = in_order(alert)
    return tuple(
        EvidenceRow(
            number=number,
            item=item,
            gap=between(items[number - 2].occurred_at, item.occurred_at) if number > 1 else "",
            place=place_of(item),
            matched=matched_of(item),
            position=position_of(item),
            delay=between(item.published_at, item.ingested_at),
        )
        for number, item in enumerate(items, start=1)
    )


def points_of(alert: Alert) -> list[Point]:
    """Where the evidence lies, numbered like the table."""
    return [
        Point(item.lat, item.lon, (number,), place_of(item))
        for number, item in enumerate(in_order(alert), start=1)
        if item.lat is not None and item.lon is not None
    ]


def alert_page(alert: Alert) -> AlertPage:
    """The page of one alert."""
    return AlertPage(
        alert=alert,
        evidence=evidence_rows(alert),
        steps=steps_of(alert),
        account=account_of(alert),
        drawing=draw(points_of(alert)),
        hidden=max(0, alert.evidence_total - len(alert.evidence)),
    )
