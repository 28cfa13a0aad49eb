"""Matched detections and situations to alerts: identity, story and the account of how they came about."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from processors.clauses import met
from processors.correlate import MAX_EVIDENCE, Group, Held, Run, Told
from processors.rulebook import Correlation, Detection, Rule
from processors.times import moment
from schemas.alerts import EVIDENCE_COLUMNS, TLP_ORDER, Alert, AlertRule, Evidence, EvidenceEntity, Signal
from schemas.registry import topic_of

NAMESPACE = uuid.UUID("6f0c2c1e-5d0b-5b5e-9d55-0d8d2a4f7c11")
_COLUMN = {name: place for place, name in enumerate(EVIDENCE_COLUMNS)}
Piece = list[Any]
"""Values of one piece of evidence in the order of ``EVIDENCE_COLUMNS``."""


def alert_id(rule_id: str, group: Sequence[tuple[str, str]], exercise: bool, partner: str, event_id: str) -> str:
    """UUIDv5 over the rule, the group, live or exercise, and the earliest piece of evidence (RFC 9562, section 5.5)."""
    parts = [rule_id, *(f"{key}={value}" for key, value in sorted(group)), str(exercise)]
    return str(uuid.uuid5(NAMESPACE, "\x1f".join([*parts, partner, event_id])))


def pieces_of(held: Sequence[Held]) -> list[Piece]:
    """Evidence of the signals, each event and base rule once, by time, partner and event id."""
    found: dict[tuple[str, str, str], Piece] = {}
    for each in held:
        for piece in orjson.loads(each.evidence):
            found.setdefault((piece[_COLUMN["partner"]], piece[0], piece[_COLUMN["rule_id"]]), piece)
    return sorted(found.values(), key=lambda piece: (piece[_COLUMN["occurred_us"]], piece[1], piece[0]))


def shown_of(held: Sequence[Held], rules: Mapping[str, Rule]) -> tuple[list[Evidence], int]:
    """The earliest evidence, as much as an alert shows, and how much there is."""
    if not all(each.partner for each in held):
        pieces = pieces_of(held)
        return [_evidence(piece, rules) for piece in pieces[:MAX_EVIDENCE]], len(pieces)
    # Signals of events are in order already, and what is not shown need not be read.
    events: dict[tuple[str, str, str], Held] = {}
    for each in held:
        events.setdefault((each.partner, each.event_id, each.rule_id), each)
    found = []
    for each in itertools.islice(events.values(), MAX_EVIDENCE):
        if each.shown is None:
            each.shown = _evidence(orjson.loads(each.evidence)[0], rules)
        found.append(each.shown)
    return sorted(found, key=lambda each: (each.occurred_at, each.partner, each.event_id)), len(events)


def _evidence(piece: Piece, rules: Mapping[str, Rule]) -> Evidence:
    return evidence_of(piece, rules.get(piece[_COLUMN["rule_id"]]))


def value_in(piece: Piece, name: str) -> Any:
    """A field's value as the piece carries it; None where it does not."""
    return piece[_COLUMN["matched"]].get(name)


def position_in(piece: Piece) -> str | None:
    """``lat,lon`` of the piece, or None."""
    lat, lon = piece[_COLUMN["lat"]], piece[_COLUMN["lon"]]
    return None if lat is None or lon is None else f"{lat},{lon}"


def from_detection(detection: Detection, signal: Signal, now: dt.datetime) -> Alert:
    """The alert of a rule that needs one event only; always version 1."""
    pieces = orjson.loads(signal.evidence)
    evidence = [evidence_of(piece, detection) for piece in pieces]
    identifier = alert_id(detection.meta.id, (), signal.exercise, signal.partner, signal.event_id)
    explain = {"type": "detection", "met": evidence[0].matched, "rule_version": detection.meta.version}
    return _alert(detection, identifier, 1, {}, signal.exercise, evidence, 1, now, now, explain)


def from_run(group: Group, run: Run, identifier: str, told: Told, rules: Mapping[str, Rule], now: dt.datetime) -> Alert:
    """The alert of a situation at its present extent."""
    correlation = group.correlation
    held = run.evidence()
    evidence, total = shown_of(held, rules)
    alert = _alert(
        correlation,
        identifier,
        told.version,
        _group_of(group),
        group.exercise,
        evidence,
        total + told.dropped,
        moment(told.created_us),
        now,
        _explain(group, run, evidence),
    )
    # The whole extent counts, also what the shown evidence leaves out.
    alert.last_event_at = max([alert.last_event_at, *(moment(each.at) for each in held[-1:] if each.partner)])
    return alert


def retracted(group: Group, identifier: str, told: Told, rules: Mapping[str, Rule], now: dt.datetime) -> Alert:
    """The closing version of an alert whose condition does not hold any more; it shows its first piece of evidence."""
    evidence = [_evidence(piece, rules) for piece in orjson.loads(told.last)[:MAX_EVIDENCE]]
    explain = {"type": group.correlation.type, "condition": group.correlation.condition_text, "retracted": True}
    created = moment(told.created_us)
    alert = _alert(
        group.correlation,
        identifier,
        told.version,
        _group_of(group),
        group.exercise,
        evidence,
        len(evidence),
        created,
        now,
        explain,
    )
    alert.status = "retracted"
    return alert


def superseded(alert: Alert, identifier: str, told: Told) -> Alert:
    """The closing version of an alert that another one has taken the place of."""
    return alert.model_copy(
        update={
            "alert_id": identifier,
            "version": told.version,
            "status": "superseded",
            "superseded_by": alert.alert_id,
            "supersedes": [],
        }
    )


def evidence_of(piece: Piece, rule: Rule | None) -> Evidence:
    """A piece of evidence as people and programs read it; ``rule`` is the base rule that it met."""
    fields = dict(zip(EVIDENCE_COLUMNS, piece, strict=True))
    entities = [EvidenceEntity(type=kind, value=value, role=role) for kind, value, role in fields.pop("entities")]
    times = {f"{name}_at": moment(fields.pop(f"{name}_us")) for name in ("occurred", "published", "ingested")}
    return Evidence(
        **fields,
        **times,
        entities=entities,
        topic=topic_of(fields["family"]) if fields["family"] else "",
        rule_title=rule.meta.title if rule else "",
        clauses=met(rule.condition, fields["matched"]) if isinstance(rule, Detection) else [],
    )


def _group_of(group: Group) -> dict[str, str]:
    return dict(zip(group.correlation.group_by, group.values, strict=True))


def _alert(
    rule: Rule,
    identifier: str,
    version: int,
    group: dict[str, str],
    exercise: bool,
    evidence: list[Evidence],
    total: int,
    created_at: dt.datetime,
    now: dt.datetime,
    explain: dict[str, Any],
) -> Alert:
    located = next((each for each in reversed(evidence) if each.lat is not None), None)
    partners = sorted({each.partner for each in evidence})
    return Alert(
        alert_id=identifier,
        version=version,
        rule=_rule(rule),
        kind="correlation" if isinstance(rule, Correlation) else "detection",
        level=rule.meta.level,
        exercise=exercise,
        tlp=max((each.tlp for each in evidence), key=TLP_ORDER.index),
        confidence=min(each.confidence for each in evidence),
        group=group,
        story=story(rule, group, evidence, total),
        partners=partners,
        families=sorted({each.family for each in evidence}),
        countries=sorted({each.country for each in evidence if each.country}),
        places=list(dict.fromkeys(each.place for each in evidence if each.place)),
        lat=located.lat if located else None,
        lon=located.lon if located else None,
        first_event_at=evidence[0].occurred_at,
        last_event_at=evidence[-1].occurred_at,
        published_at=max(each.published_at for each in evidence),
        created_at=created_at,
        updated_at=now,
        evidence_total=total,
        evidence=evidence,
        explain=explain,
    )


def _rule(rule: Rule) -> AlertRule:
    correlation = rule if isinstance(rule, Correlation) else None
    return AlertRule(
        id=rule.meta.id,
        title=rule.meta.title,
        version=rule.meta.version,
        level=rule.meta.level,
        tags=list(rule.meta.tags),
        description=rule.meta.description,
        type=correlation.type if correlation else "detection",
        timespan_s=correlation.timespan_s if correlation else None,
        condition=correlation.condition_text if correlation else "",
        response=str(rule.meta.tocsin.get("response", "")),
    )


def _explain(group: Group, run: Run, evidence: Sequence[Evidence]) -> dict[str, Any]:
    correlation = group.correlation
    firings = run.firings()
    # Of a long situation the first windows may be held no more.
    seen = [each.observed for each in firings] or [0]
    operators = {bound.op for bound in correlation.bounds}
    observed = min(seen) if operators & {"lt", "lte"} else max(seen)
    return {
        "type": correlation.type,
        "condition": correlation.condition_text,
        "group_by": list(correlation.group_by),
        "group": _group_of(group),
        "bounds": [[bound.op, float(bound.number)] for bound in correlation.bounds],
        "observed": float(observed),
        "timespan_s": correlation.timespan_s,
        "windows": len(firings),
        "first_fired_us": firings[0].at if firings else None,
        "situation": {"first_us": run.start, "last_us": run.end, "capped": group.capped},
        "by_rule": {
            title: sum(each.rule_title == title for each in evidence)
            for title in dict.fromkeys(each.rule_title for each in evidence)
        },
        "rule_version": correlation.meta.version,
    }


def story(rule: Rule, group: dict[str, str], evidence: Sequence[Evidence], total: int) -> str:
    """The alert in one sentence: what, about whom, who reported it, when and where."""
    partners = sorted({each.partner for each in evidence})
    # A cell number tells a reader nothing; the places that follow do.
    about = ", ".join(f"{key.removeprefix('entity.')} {value}" for key, value in group.items() if key != "geo.h3")
    first, last = evidence[0], evidence[-1]
    when = f"at {first.occurred_at:%H:%M:%S} UTC on {first.occurred_at:%d %b %Y}"
    if total > 1:
        minutes = (last.occurred_at - first.occurred_at).total_seconds() / 60
        when = f"within {minutes:.0f} min up to {last.occurred_at:%H:%M} UTC on {last.occurred_at:%d %b %Y}"
    where = list(dict.fromkeys(_where(each) for each in evidence if each.place or each.country))
    text = rule.meta.title + (f": {about}" if about else "")
    text += f"; {total} event{'s' if total > 1 else ''} from {' and '.join(partners)} {when}"
    if where:
        text += f", at {', '.join(where[:4])}" + (" and elsewhere" if len(where) > 4 else "")
    if total == 1 and first.summary:
        text += f": {first.summary.rstrip('.')}"
    return text + "."


def _where(evidence: Evidence) -> str:
    return (
        f"{evidence.place} ({evidence.country})"
        if evidence.place and evidence.country
        else evidence.place or evidence.country
    )


def platform_alert(
    rule: AlertRule,
    alert_id: str,
    version: int,
    story: str,
    started_at: dt.datetime,
    now: dt.datetime,
    partner: str | None = None,
    countries: Sequence[str] = (),
) -> Alert:
    """An alert of the platform about itself, or about a partner's feed: no events, so no evidence. Times are aware."""
    return Alert(
        alert_id=alert_id,
        version=version,
        rule=rule,
        kind="platform",
        level=rule.level,
        exercise=False,
        tlp="GREEN",
        confidence=100,
        group={"partner": partner} if partner else {},
        story=story,
        partners=[partner] if partner else [],
        families=[],
        countries=list(countries),
        places=[],
        first_event_at=started_at,
        last_event_at=started_at,
        published_at=now,
        created_at=now,
        updated_at=now,
        evidence_total=0,
        evidence=[],
    )
