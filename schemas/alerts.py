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
RULES_TOPIC = "rules.v1"

TLP_ORDER = ("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED")
LEVELS = ("informational", "low", "medium", "high", "critical")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EvidenceEntity(_Model):
    type: str
    value: str
    role: str | None = None


class Evidence(_Model):
    """One event that met one base rule: where it came from, when, which clauses of the rule it met and with what."""

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
    clauses: list[str] = Field(default_factory=list)
    matched: dict[str, Any] = Field(default_factory=dict)
    topic: str
    partition: int
    offset: int
    exercise: bool = False
    confidence: int = 50
    entities: list[EvidenceEntity] = Field(default_factory=list)


EVIDENCE_COLUMNS = (
    "event_id",
    "partner",
    "family",
    "occurred_us",
    "published_us",
    "ingested_us",
    "tlp",
    "country",
    "place",
    "lat",
    "lon",
    "summary",
    "rule_id",
    "matched",
    "partition",
    "offset",
    "exercise",
    "confidence",
    "entities",
)
"""Order of the values of one piece of evidence in :attr:`Signal.evidence`; times are microseconds since 1970 UTC and
entities are ``[type, value, role]``. Names would double what windows hold in memory."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One match of one rule, for one value of the group of one correlation that watches it.

    ``correlation_id`` is empty where a detection is an alert by itself; ``fingerprint`` is that of the correlation,
    else the version of the detection. ``group`` holds the values of the correlation's ``group_by``, in its order.
    ``value`` is what value types look at, and ``lat,lon`` for travel. ``occurred_us`` is event time in microseconds
    since 1970 UTC. ``late`` marks an event that came after the allowed lateness; it joins no window. ``withdrawn``
    takes back an earlier signal of a correlation whose window proved not to fire. ``evidence`` is JSON: a list of
    pieces, each the values of ``EVIDENCE_COLUMNS``; most signals never become part of an alert, and are not worth the
    objects.
    """

    correlation_id: str
    fingerprint: str
    rule_id: str
    group: tuple[str, ...]
    value: str | None
    partner: str
    event_id: str
    occurred_us: int
    exercise: bool
    late: bool
    withdrawn: bool
    evidence: bytes

    @property
    def group_text(self) -> str:
        """Live or exercise, and the values of the group: a drill never completes a live pattern, nor the other way
        round."""
        return "\x1f".join(["exercise" if self.exercise else "live", *self.group])

    @property
    def key(self) -> str:
        """Key of the record on ``signals.v1``: what must meet in one window goes to one partition."""
        return f"{self.correlation_id or self.rule_id}\x1f{self.group_text}"

    def to_bytes(self) -> bytes:
        """The value of a record of ``signals.v1``: a JSON list, a line feed, and the evidence as it is."""
        head = [
            self.correlation_id,
            self.fingerprint,
            self.rule_id,
            self.group,
            self.value,
            self.partner,
            self.event_id,
            self.occurred_us,
            self.exercise,
            self.late,
            self.withdrawn,
        ]
        return orjson.dumps(head) + b"\n" + self.evidence

    @classmethod
    def from_bytes(cls, value: bytes) -> Signal:
        """Read back :meth:`to_bytes`.

        Raises:
            ValueError, TypeError: it is no signal.
        """
        head, separator, evidence = value.partition(b"\n")
        if not separator:
            raise ValueError("no evidence behind the head")
        fields: list[Any] = orjson.loads(head)
        fields[3] = tuple(fields[3])
        return cls(*(*fields, evidence))


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


class AlertHead(_Model):
    """All of an :class:`Alert` but its evidence and the account of how it came about."""

    alert_id: str
    version: int
    status: Literal["open", "superseded", "retracted"] = "open"
    superseded_by: str | None = None
    supersedes: list[str] = Field(default_factory=list)
    rule: AlertRule
    kind: Literal["detection", "correlation", "platform"]
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


class Alert(AlertHead):
    """What a rule concluded. A higher ``version`` of the same ``alert_id`` replaces a lower one.

    ``status`` superseded means that an earlier event came to light, so that the situation now goes by the id in
    ``superseded_by``; retracted means that with what came later the condition does not hold any more.
    """

    evidence: list[Evidence]
    explain: dict[str, Any] = Field(default_factory=dict)
