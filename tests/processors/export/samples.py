"""Alerts to export: one as the demo raises it, and any that the contract allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from schemas.alerts import LEVELS, TLP_ORDER, Alert, AlertRule, Evidence, EvidenceEntity
from schemas.lifecycle import AlertState
from tests.dashboards import engine

ENTITY_TYPES = (
    *("person", "document", "phone", "account", "vehicle", "device"),
    *("ip", "domain", "file_hash", "organisation", "place"),
)
VALUES = (
    *("192.0.2.7", "2001:db8::7", "fe80::1%eth0", "192.0.2.0/24", "999.1.1.1"),
    *("mail.example", "MAIL.example.", "xn--bcher-kva.example", "-bad.example", "ab--cd.example", "bücher.example"),
    *("d41d8cd98f00b204e9800998ecf8427e", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", "a" * 64, "b" * 128, "c" * 33),
    *("00-53-00-AA-BB-CC", "00:53:00:aa:bb:cc", "", " ", "X1234567"),
)
SUPERSEDED = "0195500a-1111-7000-8000-000000000001"


def alert_with(count: int = 4, **changes: Any) -> Alert:
    """The demo's alert on ``count`` pieces of evidence."""
    items = [
        engine.evidence(number, occurred_at=engine.iso(engine.NOW + timedelta(seconds=number)))
        for number in range(count)
    ]
    return Alert.model_validate(engine.alert("0195500a-2222-7000-8000-000000000002", **({"evidence": items} | changes)))


def later_than(first: Alert, count: int, **changes: Any) -> Alert:
    """A later version of the same alert, told five minutes after."""
    later = alert_with(count, created_at=first.created_at.isoformat(), **changes)
    later.updated_at = first.updated_at + timedelta(minutes=5)
    return later


def state_of(alert: Alert, **changes: Any) -> AlertState:
    """The alert as the lifecycle worker first sees it, with changes."""
    fields: dict[str, Any] = {
        "alert_id": alert.alert_id,
        "revision": 1,
        "state": "open",
        "priority": "P2",
        "priority_reasons": ["level high"],
        "group_key": "g",
        "alert_version": alert.version,
        "rule_id": alert.rule.id,
        "rule_title": alert.rule.title,
        "rule_version": alert.rule.version,
        "tags": alert.rule.tags,
        "raised_at": alert.created_at,
    }
    same = set(AlertState.model_fields) & set(Alert.model_fields)
    return AlertState(**({name: getattr(alert, name) for name in same} | fields | changes))


_times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))
_texts = st.text(max_size=40)
_numbers = st.integers(0, 2**31)
_degrees = st.none() | st.floats()
_levels = st.sampled_from([*TLP_ORDER, "SECRET"])
_json = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts | st.lists(_texts, max_size=2)
_entities = st.builds(
    EvidenceEntity, type=st.sampled_from(ENTITY_TYPES), value=_texts | st.sampled_from(VALUES), role=st.none() | _texts
)
_evidence = st.builds(
    Evidence,
    event_id=_texts,
    partner=st.sampled_from(["bpol-de", "fiu-nl"]) | _texts,
    family=_texts,
    occurred_at=_times,
    published_at=_times,
    ingested_at=_times,
    tlp=_levels,
    country=st.sampled_from(["", "DE", "ke", "Kenya"]) | st.text(min_size=3, max_size=5),
    place=_texts,
    lat=_degrees,
    lon=_degrees,
    summary=_texts,
    rule_id=_texts,
    rule_title=_texts,
    clauses=st.lists(_texts, max_size=2),
    matched=st.dictionaries(_texts, _json, max_size=3),
    topic=_texts,
    partition=_numbers,
    offset=_numbers,
    exercise=st.booleans(),
    confidence=st.integers(-5, 150),
    entities=st.lists(_entities, max_size=4),
)
_rules = st.builds(
    AlertRule,
    id=_texts,
    title=_texts,
    version=_texts,
    level=_texts,
    tags=st.lists(_texts, max_size=2),
    description=_texts,
    type=_texts,
    response=_texts,
)


def alerts(max_evidence: int = 5) -> st.SearchStrategy[Alert]:
    """Any alert with 1 to ``max_evidence`` pieces of evidence."""
    return st.builds(
        Alert,
        alert_id=st.uuids().map(str) | _texts,
        version=st.integers(1, 9),
        status=st.sampled_from(["open", "superseded", "retracted"]),
        superseded_by=st.none() | _texts,
        supersedes=st.lists(_texts, max_size=2),
        rule=_rules,
        level=st.sampled_from(LEVELS) | _texts,
        exercise=st.booleans(),
        tlp=_levels,
        confidence=st.integers(-5, 150),
        group=st.dictionaries(_texts, _texts, max_size=2),
        story=st.text(max_size=400),
        partners=st.lists(_texts, max_size=2),
        families=st.lists(st.sampled_from(["travel_booking", "cyber_detection"]) | _texts, max_size=2),
        countries=st.lists(_texts, max_size=2),
        places=st.lists(_texts, max_size=2),
        lat=_degrees,
        lon=_degrees,
        first_event_at=_times,
        last_event_at=_times,
        published_at=_times,
        created_at=_times,
        updated_at=_times,
        evidence_total=_numbers,
        evidence=st.lists(_evidence, min_size=1, max_size=max_evidence),
        explain=st.just({}),
    )


@st.composite
def alerts_and_states(draw: st.DrawFn) -> tuple[Alert, AlertState | None]:
    """Any alert with what may have become of it."""
    alert = draw(alerts())
    if draw(st.booleans()):
        return alert, None
    changes = {
        "revision": draw(st.integers(1, 9)),
        "state": draw(st.sampled_from(["open", "acknowledged", "assigned", "in_progress", "closed"])),
        "priority": draw(st.sampled_from(["P1", "P2", "P3", "P4"])),
        "verdict": draw(st.sampled_from([None, "true_positive", "benign", "false_positive", "duplicate", "exercise"])),
        "closed_at": draw(st.none() | _times),
        "closed_by": draw(st.none() | _texts),
        "updated_at": draw(_times),
    }
    return alert, state_of(alert, **changes)
