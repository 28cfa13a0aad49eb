"""Pieces of evidence as signals carry them, and as alerts show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from processors.clauses import met
from processors.rulebook import Detection, Rule
from processors.times import moment
from schemas.alerts import EVIDENCE_COLUMNS
from schemas.registry import topic_of

COLUMN = {name: place for place, name in enumerate(EVIDENCE_COLUMNS)}
_MATCHED, _LAT, _LON = COLUMN["matched"], COLUMN["lat"], COLUMN["lon"]
Piece = list[Any]
"""Values of one piece of evidence in the order of ``EVIDENCE_COLUMNS``."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A piece of evidence as alerts show it, with the title of the base rule that it met. ``record`` is its JSON, a
    ``schemas.alerts.Evidence``: written once, for an alert that grows shows it again and again."""

    piece: Piece
    rule_title: str
    record: bytes


def shown(piece: Piece, rules: Mapping[str, Rule]) -> Shown:
    """A piece of evidence as people and programs read it; its base rule is looked up in ``rules``."""
    fields: dict[str, Any] = dict(zip(EVIDENCE_COLUMNS, piece, strict=True))
    rule = rules.get(fields["rule_id"])
    title = rule.meta.title if rule else ""
    record = {
        "event_id": fields["event_id"],
        "partner": fields["partner"],
        "family": fields["family"],
        "occurred_at": moment(fields["occurred_us"]),
        "published_at": moment(fields["published_us"]),
        "ingested_at": moment(fields["ingested_us"]),
        "tlp": fields["tlp"],
        "country": fields["country"],
        "place": fields["place"],
        "lat": fields["lat"],
        "lon": fields["lon"],
        "summary": fields["summary"],
        "rule_id": fields["rule_id"],
        "rule_title": title,
        "clauses": met(rule.condition, fields["matched"]) if isinstance(rule, Detection) else [],
        "matched": fields["matched"],
        "topic": topic_of_family(fields["family"]),
        "partition": fields["partition"],
        "offset": fields["offset"],
        "exercise": fields["exercise"],
        "confidence": fields["confidence"],
        "entities": [{"type": kind, "value": value, "role": role} for kind, value, role in fields["entities"]],
    }
    return Shown(piece, title, orjson.dumps(record, option=orjson.OPT_UTC_Z))


def columns_of(evidence: Sequence[Shown]) -> dict[str, tuple[Any, ...]]:
    """Values of at least one piece by column."""
    return dict(zip(EVIDENCE_COLUMNS, zip(*(each.piece for each in evidence), strict=True), strict=True))


def topic_of_family(family: str) -> str:
    """Where events of the family come from; none where rules run over events of no family."""
    return topic_of(family) if family else ""


def value_in(piece: Piece, name: str) -> Any:
    """A field's value as the piece carries it; None where it does not."""
    return piece[_MATCHED].get(name)


def position_in(piece: Piece) -> str | None:
    """``lat,lon`` of the piece, or None."""
    lat, lon = piece[_LAT], piece[_LON]
    return None if lat is None or lon is None else f"{lat},{lon}"
