"""An alert as a STIX 2.1 bundle (OASIS, STIX Version 2.1, https://docs.oasis-open.org/cti/stix/v2.1/).

The situation is an ``incident`` named by the alert; each partner's evidence is a ``sighting`` of it over one
``observed-data`` a piece; a ``report`` holds all together, and a ``note`` the verdict of a closed alert. Every object
carries the marking of the strictest TLP level of the evidence it comes from. Nothing is read from a clock and no id is
random: the same alert and state give the same bytes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
import stix2  # type: ignore[import-untyped]

from processors.export.places import located
from processors.export.stix_objects import (
    ENTITY_EXTENSION,
    EVIDENCE_EXTENSION,
    MARKINGS,
    SINCE,
    TOCSIN,
    marked,
    observable,
    other_entity,
    stix_id,
)
from processors.export.tlp import strictest
from schemas.alerts import Alert, Evidence, EvidenceEntity
from schemas.lifecycle import AlertState

_SINCE: Final = dt.datetime.fromisoformat(SINCE)
_IDENTITY_CLASSES: Final = {"person": "individual", "organisation": "organization"}


def bundle(alert: Alert, state: AlertState | None = None, partner_names: Mapping[str, str] | None = None) -> Any:
    """The alert as a ``stix2.Bundle``; ``partner_names`` are names by partner id, where known."""
    return _Export(alert, state, partner_names or {}).bundle()


def to_json(exported: Any) -> str:
    """The bundle as JSON text with a line feed at its end."""
    return str(exported.serialize(indent=2)) + "\n"


class _Export:
    """Objects of one bundle by id, in the order in which they were met."""

    def __init__(self, alert: Alert, state: AlertState | None, partner_names: Mapping[str, str]) -> None:
        self.alert = alert
        self.state = state
        self.partner_names = partner_names
        self.objects: dict[str, Any] = {}
        self.tlp = strictest([alert.tlp, *(each.tlp for each in alert.evidence)])
        self.modified = max(alert.created_at, alert.updated_at, *([state.updated_at] if state else []))
        self.named_tlp = _named_tlp(alert.evidence)
        self.refs: dict[tuple[str, str], str] = {}

    def bundle(self) -> Any:
        incident = self._incident()
        for partner in sorted({*self.alert.partners, *(each.partner for each in self.alert.evidence)}):
            self._sighting(partner, incident)
        report = self._report()
        if self.state and self.state.state == "closed":
            self._verdict(self.state, report)
        used = {ref for each in self.objects.values() for ref in each.object_marking_refs} | {*marked("CLEAR")}
        fixed = [*(each for each in MARKINGS.values() if each.id in used), TOCSIN, EVIDENCE_EXTENSION]
        if any(each.type == "tocsin-entity" for each in self.objects.values()):
            fixed.append(ENTITY_EXTENSION)
        revision = str(self.state.revision) if self.state else ""
        return stix2.Bundle(
            id=stix_id("bundle", self.alert.alert_id, str(self.alert.version), revision),
            objects=[*fixed, *self.objects.values()],
        )

    def _put(self, each: Any) -> str:
        self.objects.setdefault(each.id, each)
        return str(each.id)

    def _common(self, kind: str, *parts: str, tlp: str | None = None) -> dict[str, Any]:
        """What every object that stands for the alert itself has."""
        labels = ["exercise"] if self.alert.exercise else []
        return {
            "id": stix_id(kind, self.alert.alert_id, *parts),
            "created_by_ref": TOCSIN.id,
            "created": self.alert.created_at,
            "modified": self.modified,
            "object_marking_refs": marked(tlp or self.tlp),
            **({"labels": labels} if labels else {}),
        }

    def _incident(self) -> str:
        return self._put(
            stix2.Incident(
                **self._common("incident"),
                name=_titled(self.alert),
                description=self.alert.story or self.alert.rule.title,
                confidence=_percent(self.alert.confidence),
            )
        )

    def _sighting(self, partner: str, incident: str) -> None:
        evidence = [each for each in self.alert.evidence if each.partner == partner]
        tlp = strictest(each.tlp for each in evidence) if evidence else self.tlp
        seen_by = self._identity("partner", partner, self.partner_names.get(partner, partner), "organization", tlp)
        common = self._common("sighting", partner, tlp=tlp)
        seen: dict[str, Any] = {}
        if evidence:
            times = [each.occurred_at for each in evidence]
            seen = {
                "observed_data_refs": [self._observed(each) for each in evidence],
                "count": len(evidence),
                "first_seen": min(times),
                "last_seen": max(times),
            }
        self._put(stix2.Sighting(**common, sighting_of_ref=incident, where_sighted_refs=[seen_by], **seen))

    def _observed(self, item: Evidence) -> str:
        entities = [self._entity(each) for each in item.entities]
        refs = [each["ref"] for each in entities]
        if not refs:
            refs.append(self._put(other_entity("event", item.event_id, item.tlp)))
        said = {
            "extension_type": "property-extension",
            "event_id": item.event_id,
            "partner": item.partner,
            "family": item.family,
            "summary": item.summary,
            "rule_id": item.rule_id,
            "rule_title": item.rule_title,
            "topic": item.topic,
            "partition": item.partition,
            "offset": item.offset,
            "clauses": item.clauses,
            "matched": [{"field": name, "value": _text(value)} for name, value in sorted(item.matched.items())],
            "entities": entities,
            "location_ref": self._location(item),
        }
        return self._put(
            stix2.ObservedData(
                # One event may meet several base rules: each is a piece of evidence of its own.
                id=stix_id("observed-data", item.partner, item.event_id, item.rule_id),
                created_by_ref=TOCSIN.id,
                created=item.ingested_at,
                modified=item.ingested_at,
                first_observed=item.occurred_at,
                last_observed=item.occurred_at,
                number_observed=1,
                object_refs=list(dict.fromkeys(refs)),
                confidence=_percent(item.confidence),
                object_marking_refs=marked(item.tlp),
                extensions={
                    EVIDENCE_EXTENSION.id: {name: each for name, each in said.items() if each not in ("", [], None)}
                },
                **({"labels": ["exercise"]} if item.exercise else {}),
            )
        )

    def _entity(self, entity: EvidenceEntity) -> dict[str, Any]:
        key = entity.type, entity.value
        if key not in self.refs:
            tlp = self.named_tlp[key]
            self.refs[key] = self._put(observable(entity, tlp))
            if entity.type in _IDENTITY_CLASSES:
                self._identity(entity.type, entity.value, entity.value, _IDENTITY_CLASSES[entity.type], tlp)
        role = {"role": entity.role} if entity.role else {}
        return {"type": entity.type, "value": entity.value, **role, "ref": self.refs[key]}

    def _identity(self, kind: str, value: str, name: str, identity_class: str, tlp: str) -> str:
        return self._put(
            stix2.Identity(
                id=stix_id("identity", kind, value),
                created_by_ref=TOCSIN.id,
                created=_SINCE,
                modified=max(_SINCE, self.modified),
                name=name,
                identity_class=identity_class,
                object_marking_refs=marked(tlp),
            )
        )

    def _location(self, item: Evidence) -> str | None:
        """The place of an event: STIX wants a country or coordinates with it."""
        where = where_of(item)
        if not where:
            return None
        key = "location", f"{item.place}{where}"
        if key not in self.refs:
            self.refs[key] = self._put(
                stix2.Location(
                    id=stix_id("location", item.place, *(str(each) for each in where.values())),
                    created_by_ref=TOCSIN.id,
                    created=_SINCE,
                    modified=max(_SINCE, self.modified),
                    object_marking_refs=marked(self.named_tlp[key]),
                    **({"name": item.place} if item.place else {}),
                    **where,
                )
            )
        return self.refs[key]

    def _report(self) -> str:
        alert, state = self.alert, self.state
        common = self._common("report")
        labels = [*common.pop("labels", []), f"level:{alert.level}", *([f"priority:{state.priority}"] if state else [])]
        if alert.status != "open":
            labels.append(alert.status)
        return self._put(
            stix2.Report(
                **common,
                name=_titled(alert),
                description=_description(alert),
                report_types=["observed-data"],
                published=alert.created_at,
                object_refs=list(self.objects),
                confidence=_percent(alert.confidence),
                external_references=list(_references(alert, state)),
                labels=labels,
            )
        )

    def _verdict(self, state: AlertState, report: str) -> None:
        """The verdict of a closed alert; who gave it stays in the house."""
        closed_at = state.closed_at or state.updated_at
        common = self._common("note", closed_at.isoformat()) | {"created": closed_at, "modified": closed_at}
        verdict = (state.verdict or "no verdict").replace("_", " ")
        content = f"The alert was closed as {verdict}."
        self._put(stix2.Note(**common, abstract=f"Closed: {verdict}", content=content, object_refs=[report]))


def _named_tlp(evidence: Iterable[Evidence]) -> dict[tuple[str, str], str]:
    """The strictest level under which each entity and each location was named."""
    levels: dict[tuple[str, str], str] = {}
    for item in evidence:
        named = [(each.type, each.value) for each in item.entities]
        for key in [*named, ("location", f"{item.place}{where_of(item)}")]:
            levels[key] = strictest([levels.get(key, "CLEAR"), item.tlp])
    return levels


def _titled(alert: Alert) -> str:
    return f"EXERCISE: {alert.rule.title}" if alert.exercise else alert.rule.title


def _description(alert: Alert) -> str:
    parts = [alert.story, alert.rule.description, f"To do: {alert.rule.response}" if alert.rule.response else ""]
    hidden = alert.evidence_total - len(alert.evidence)
    if hidden > 0:
        parts.append(f"{hidden} more events were counted and are not part of this bundle.")
    if alert.exercise:
        parts.insert(0, "This is an exercise: nothing in it is real.")
    return "\n".join(part for part in parts if part)


def _references(alert: Alert, state: AlertState | None) -> Iterable[dict[str, str]]:
    yield {"source_name": "tocsin", "external_id": alert.alert_id, "description": f"version {alert.version}"}
    if alert.rule.id:
        description = f"rule, version {alert.rule.version}"
        yield {"source_name": "tocsin-rule", "external_id": alert.rule.id, "description": description}
    after = alert.superseded_by or (state.superseded_by if state else None)
    for other, how in (
        *((each, "supersedes") for each in alert.supersedes),
        *([(after, "superseded by")] if after else []),
    ):
        report = stix_id("report", other)
        yield {"source_name": "tocsin", "external_id": other, "description": f"{how} this alert: {report}"}


def where_of(item: Evidence) -> dict[str, Any]:
    """What of an event's location STIX can say: latitude and longitude in degrees, ISO 3166-1 country."""
    where: dict[str, Any] = {}
    if located(item.lat, item.lon):
        where = {"latitude": item.lat, "longitude": item.lon}
    if len(item.country) == 2 and item.country.isascii() and item.country.isalpha():
        where["country"] = item.country.upper()
    return where


def _percent(confidence: int) -> int:
    return min(100, max(0, confidence))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
