"""What a scripted situation is made of: events to publish, alerts to expect, and identifiers that nobody has."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from deploy.demo.places import Place
from schemas.settings import PACKAGE_ROOT


@dataclass(frozen=True, slots=True)
class Step:
    """One event: published ``offset_s`` after the start of the run, occurred ``age_s`` before that.

    ``fields`` are the family's; a timedelta among them becomes a time relative to publication.
    """

    offset_s: float
    age_s: float
    partner: str
    family: str
    fields: Mapping[str, Any]
    entities: tuple[tuple[str, str, str], ...]
    place: Place | None
    summary: str
    source_system: str = "exercise-desk"


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert that must exist once the scenario is published.

    ``group`` is the correlation's group; for a single-event rule it is empty and ``marker``, which ends the summary of
    the scenario's events, identifies the evidence.
    """

    rule_id: str
    rule_title: str
    group: Mapping[str, str]
    scenario: str
    marker: str
    partners: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "rule_id": self.rule_id,
            "rule_title": self.rule_title,
            "group": dict(self.group),
            "scenario": self.scenario,
            "marker": self.marker,
            "partners": list(self.partners),
        }

    def met_by(self, alert: Mapping[str, Any]) -> bool:
        """Whether an alert record (JSON of alerts.v1 as a dict) is this one; text compares without case."""
        if alert["rule"]["id"] != self.rule_id:
            return False
        if self.group:
            found = alert["group"]
            return all(str(found.get(key, "")).casefold() == value.casefold() for key, value in self.group.items())
        return any(self.marker in evidence["summary"] for evidence in alert["evidence"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation: ``story`` is one sentence for people, ``alerts`` all that it must lead to and nothing more."""

    name: str
    story: str
    steps: tuple[Step, ...]
    alerts: tuple[ExpectedAlert, ...]
    marker: str


@dataclass(frozen=True, slots=True)
class Names:
    """Invented identifiers of one scenario in one run; none can be a real one, none occurs in background traffic."""

    tag: str
    number: int

    @property
    def person(self) -> str:
        return f"EXERCISE {self.tag}{self.number:02d} 1990-01-01"

    @property
    def document(self) -> str:
        """XX is a code that ISO 3166-1 leaves to users."""
        return f"XX{self.tag}{self.number:02d}"

    @property
    def phone(self) -> str:
        """Calling code 999 is unassigned (ITU-T E.164)."""
        return f"+999{int(self.tag, 16):08d}{self.number:02d}"

    @property
    def bank_account(self) -> str:
        return f"XX00EXER{self.tag}{self.number:02d}"

    @property
    def online_account(self) -> str:
        return f"exercise_{self.tag.lower()}_{self.number:02d}"

    @property
    def plate(self) -> str:
        return f"EX-{self.tag}-{self.number:02d}"

    @property
    def address(self) -> str:
        """IPv6 address in 2001:db8::/32, set aside for documentation (RFC 3849)."""
        high, low = int(self.tag[:4], 16), int(self.tag[4:], 16)
        return str(ipaddress.ip_address(f"2001:db8:{high:x}:{low:x}::{self.number:x}"))


@dataclass
class Script:
    """Collects one scenario; used by ``situations``."""

    name: str
    story: str
    names: Names
    steps: list[Step] = field(default_factory=list)
    alerts: list[ExpectedAlert] = field(default_factory=list)

    @property
    def marker(self) -> str:
        return f"[exercise {self.names.tag} {self.name}]"

    def event(
        self,
        offset_s: float,
        minutes_ago: float,
        partner: str,
        family: str,
        summary: str,
        *entities: tuple[str, str, str],
        place: Place | None = None,
        source_system: str = "exercise-desk",
        **fields: Any,
    ) -> None:
        """Add an event; its summary gets the marker."""
        text = f"{summary} {self.marker}"
        age_s = minutes_ago * 60
        self.steps.append(Step(offset_s, age_s, partner, family, fields, entities, place, text, source_system))

    def alert(self, rule_name: str, *partners: str, **group: str) -> None:
        """Expect an alert of the rule with evidence of ``partners``; ``__`` in a key of the group stands for a dot."""
        rule_id, title = rules()[rule_name]
        named = {key.replace("__", "."): value for key, value in group.items()}
        self.alerts.append(ExpectedAlert(rule_id, title, named, self.name, self.marker, partners))

    def done(self) -> Scenario:
        return Scenario(self.name, self.story, tuple(self.steps), tuple(self.alerts), self.marker)


@cache
def rules() -> dict[str, tuple[str, str]]:
    """(id, title) of every shipped rule by name."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((PACKAGE_ROOT / "processors" / "rules").rglob("*.yml")):
        for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            found[document["name"]] = (document["id"], document["title"])
    return found
