"""Signals and alerts: what the workers hand to each other on ``signals.v1`` and tell the world on ``alerts.v1``.

Values are JSON; times are aware UTC datetimes and appear as ISO 8601 with ``Z``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

SIGNALS_TOPIC = "signals.v1"
ALERTS_TOPIC = "alerts.v1"
QUARANTINE_TOPIC = "quarantine.v1"
STATE_TOPIC = "correlation-state.v1"

TLP_ORDER = ("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED")
LEVELS = ("informational", "low", "medium", "high", "critical")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EvidenceEntity(_Model):
    type: str
    value: str
    role: str | None = None


class Evidence(_Model):
    """One event that met one base rule: where it came from, when, and the values that met the rule."""

    event_id: str
    partner: str
    family: str
    occurred_at: dt.datetime
    published_at: dt.datetime
    ingested_at: dt.datetime
    tlp: str
    country: str = ""
    place: str = ""
    lat: float | None = None
    lon: float | None = None
    summary: str = ""
    rule_id: str
    rule_title: str
    matched: dict[str, Any] = Field(default_factory=dict)
    topic: str
    partition: int
    offset: int
    exercise: bool = False
    confidence: int = 50
    entities: list[EvidenceEntity] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Signal:
    """One event that met one base rule, for one value of the group of one correlation.

    ``correlation_id`` is empty where the detection is an alert by itself. ``value`` is what a value count counts.
    ``occurred_us`` is event time in microseconds since 1970 UTC. ``late`` marks an event that came after the allowed
    lateness; it joins no window. ``evidence`` is an :class:`Evidence` as JSON text: most signals never become part of
    an alert, and are not worth the objects.
    """

    correlation_id: str
    rule_id: str
    group: dict[str, str]
    value: str | None
    partner: str
    event_id: str
    occurred_us: int
    exercise: bool
    late: bool
    evidence: bytes

    def to_json(self) -> bytes:
        """The value of a record of ``signals.v1``."""
        return orjson.dumps(
            {
                "correlation_id": self.correlation_id,
                "rule_id": self.rule_id,
                "group": self.group,
                "value": self.value,
                "partner": self.partner,
                "event_id": self.event_id,
                "occurred_us": self.occurred_us,
                "exercise": self.exercise,
                "late": self.late,
                "evidence": orjson.Fragment(self.evidence),
            }
        )

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Signal:
        """Build from a record's parsed JSON.

        Raises:
            KeyError, TypeError: a field is missing, or one too many.
        """
        evidence = orjson.dumps(content.pop("evidence"))
        return cls(**content, evidence=evidence)

    def record(self) -> Evidence:
        """The evidence as an object.

        Raises:
            pydantic.ValidationError: it is not what the contract says.
        """
        return Evidence.model_validate_json(self.evidence)


class AlertRule(_Model):
    """The rule behind an alert, as it stood when the alert was made."""

    id: str
    title: str
    version: str
    level: str
    tags: list[str] = Field(default_factory=list)
    description: str = ""
    type: str
    timespan_s: int | None = None
    condition: str = ""
    response: str = ""


class Alert(_Model):
    """What a rule concluded. A higher ``version`` of the same ``alert_id`` replaces a lower one.

    ``status`` superseded means that an earlier event came to light, so that the situation now goes by the id in
    ``superseded_by``.
    """

    alert_id: str
    version: int
    status: Literal["open", "superseded"] = "open"
    superseded_by: str | None = None
    supersedes: list[str] = Field(default_factory=list)
    rule: AlertRule
    kind: Literal["detection", "correlation"]
    level: str
    exercise: bool
    tlp: str
    confidence: int
    group: dict[str, str]
    story: str
    partners: list[str]
    families: list[str]
    countries: list[str]
    places: list[str]
    lat: float | None = None
    lon: float | None = None
    first_event_at: dt.datetime
    last_event_at: dt.datetime
    published_at: dt.datetime
    created_at: dt.datetime
    updated_at: dt.datetime
    evidence_total: int
    evidence: list[Evidence]
    explain: dict[str, Any] = Field(default_factory=dict)
