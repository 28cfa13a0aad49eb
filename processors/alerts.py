"""Situations and matched detections to alerts: identity, story and the account of how they came about."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from processors.correlate import Group, Situation
from processors.rulebook import Correlation, Detection
from schemas.alerts import TLP_ORDER, Alert, AlertRule, Evidence, Signal

NAMESPACE = uuid.UUID("6f0c2c1e-5d0b-5b5e-9d55-0d8d2a4f7c11")
SUPERSEDED_VERSION = 1 << 40
"""Above any count of evidence: once superseded an alert stays so, whatever is replayed."""


def alert_id(rule_id: str, group: dict[str, str], exercise: bool, anchor: Evidence) -> str:
    """UUIDv5 over the rule, the group, live or exercise, and the earliest piece of evidence (RFC 9562, section 5.5)."""
    parts = [rule_id, *(f"{key}={value}" for key, value in sorted(group.items())), str(exercise)]
    return str(uuid.uuid5(NAMESPACE, "\x1f".join([*parts, anchor.partner, anchor.event_id])))


def from_detection(detection: Detection, signal: Signal, now: dt.datetime) -> Alert:
    """The alert of a rule that needs one event only; always version 1."""
    evidence = signal.record()
    identifier = alert_id(detection.meta.id, {}, evidence.exercise, evidence)
    conditions = {"met": evidence.matched, "rule_version": detection.meta.version}
    return _alert(
        detection, identifier, 1, {}, evidence.exercise, [evidence], 1, now, now, {"type": "detection", **conditions}
    )


def from_situation(group: Group, situation: Situation, now: dt.datetime) -> list[Alert]:
    """The alert of a situation at its present extent, and the closing versions of alerts that it takes the place of.

    Sets the situation's ``alert_id``, ``supersedes`` and ``created_at``. The version is the count of evidence, so it
    rises exactly when there is more to tell, and is the same on every replay.
    """
    correlation = group.correlation
    evidence = situation.evidence()
    identifier = alert_id(correlation.meta.id, group.values, group.exercise, evidence[0])
    former = {*situation.supersedes, *([situation.alert_id] if situation.alert_id else [])} - {identifier}
    situation.alert_id, situation.supersedes, situation.joined = identifier, sorted(former), False
    situation.created_at = situation.created_at or now
    explain = _explain(correlation, group, situation, evidence)
    alert = _alert(
        correlation,
        identifier,
        situation.fired_total,
        group.values,
        group.exercise,
        evidence,
        situation.fired_total,
        situation.created_at,
        now,
        explain,
    )
    alert.supersedes = situation.supersedes
    closed = [
        alert.model_copy(
            update={
                "alert_id": each,
                "version": SUPERSEDED_VERSION,
                "status": "superseded",
                "superseded_by": identifier,
                "supersedes": [],
            }
        )
        for each in situation.supersedes
    ]
    return [alert, *closed]


def _alert(
    rule: Detection | Correlation,
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
        confidence=round(sum(each.confidence for each in evidence) / len(evidence)),
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


def _rule(rule: Detection | Correlation) -> AlertRule:
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


def _explain(
    correlation: Correlation, group: Group, situation: Situation, evidence: Sequence[Evidence]
) -> dict[str, Any]:
    return {
        "type": correlation.type,
        "condition": correlation.condition_text,
        "group_by": list(correlation.group_by),
        "group": group.values,
        "op": correlation.op,
        "threshold": correlation.threshold,
        "observed": situation.peak,
        "timespan_s": correlation.timespan_s,
        "situation": {"first_us": situation.start, "last_us": situation.end, "capped": situation.capped},
        "by_rule": {
            title: sum(each.rule_title == title for each in evidence)
            for title in dict.fromkeys(each.rule_title for each in evidence)
        },
        "rule_version": correlation.meta.version,
    }


def story(rule: Detection | Correlation, group: dict[str, str], evidence: Sequence[Evidence], total: int) -> str:
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
