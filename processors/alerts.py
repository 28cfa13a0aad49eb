"""Matched detections and situations to alerts: identity, story and the account of how they came about."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from processors.correlate import MAX_EVIDENCE, Group, Held, Run, Told
from processors.evidence import COLUMN, Piece, Shown, columns_of, shown
from processors.rulebook import Correlation, Detection, Rule
from processors.times import moment
from schemas.alerts import TLP_ORDER, Alert, AlertHead, AlertRule, Signal

NAMESPACE = uuid.UUID("6f0c2c1e-5d0b-5b5e-9d55-0d8d2a4f7c11")


@dataclass(frozen=True, slots=True)
class Telling:
    """An alert in the parts of which its record is put together."""

    head: AlertHead
    evidence: list[Shown]
    explain: dict[str, Any]

    def record(self) -> bytes:
        """The JSON of the :class:`Alert`."""
        rest = {"evidence": [orjson.Fragment(each.record) for each in self.evidence], "explain": self.explain}
        return self.head.model_dump_json().encode()[:-1] + b"," + orjson.dumps(rest)[1:]


@dataclass(frozen=True, slots=True)
class Draft:
    """An alert to tell, as it stood when it was concluded. One that grows is concluded more often than told, so what is
    dear is made by ``tell``; that may be called at any time, and gives the same whatever became of the group since."""

    alert_id: str
    version: int
    status: Literal["open", "superseded", "retracted"]
    tell: Callable[[], Telling]
    full: bool = False
    """Whether it shows as much evidence as it may: then only the account of it grows."""


@lru_cache(maxsize=4096)
def alert_id(rule_id: str, group: tuple[tuple[str, str], ...], exercise: bool, partner: str, event_id: str) -> str:
    """UUIDv5 over the rule, the group, live or exercise, and the earliest piece of evidence (RFC 9562, section 5.5)."""
    parts = [rule_id, *(f"{key}={value}" for key, value in sorted(group)), str(exercise)]
    return str(uuid.uuid5(NAMESPACE, "\x1f".join([*parts, partner, event_id])))


def pieces_of(held: Sequence[Held]) -> list[Piece]:
    """Evidence of the signals, each event and base rule once, by time, partner and event id."""
    found: dict[tuple[str, str, str], Piece] = {}
    for each in held:
        for piece in orjson.loads(each.evidence):
            found.setdefault((piece[COLUMN["partner"]], piece[0], piece[COLUMN["rule_id"]]), piece)
    return sorted(found.values(), key=lambda piece: (piece[COLUMN["occurred_us"]], piece[1], piece[0]))


def _shown_of(held: Sequence[Held], rules: Mapping[str, Rule]) -> tuple[list[Shown], int]:
    """The earliest evidence, as much as an alert shows, and how much there is."""
    if not all(each.partner for each in held):
        pieces = pieces_of(held)
        return [shown(piece, rules) for piece in pieces[:MAX_EVIDENCE]], len(pieces)
    # Signals of events are in order already, and what is not shown need not be read.
    events: dict[tuple[str, str, str], Held] = {}
    for each in held:
        events.setdefault((each.partner, each.event_id, each.rule_id), each)
    found = []
    for each in itertools.islice(events.values(), MAX_EVIDENCE):
        if each.shown is None:
            each.shown = shown(orjson.loads(each.evidence)[0], rules)
        found.append(each.shown)
    return found, len(events)


def from_detection(detection: Detection, signal: Signal, now: dt.datetime) -> Draft:
    """The alert of a rule that needs one event only; always version 1."""
    identifier = alert_id(detection.meta.id, (), signal.exercise, signal.partner, signal.event_id)

    def tell() -> Telling:
        evidence = [shown(piece, {detection.meta.id: detection}) for piece in orjson.loads(signal.evidence)]
        matched = evidence[0].piece[COLUMN["matched"]]
        explain = {"type": "detection", "met": matched, "rule_version": detection.meta.version}
        head = _head(detection, identifier, 1, {}, signal.exercise, evidence, 1, now, now)
        return Telling(head, evidence, explain)

    return Draft(identifier, 1, "open", tell)


def from_run(
    group: Group,
    run: Run,
    identifier: str,
    told: Told,
    rules: Mapping[str, Rule],
    now: dt.datetime,
    supersedes: Sequence[str] = (),
) -> Draft:
    """The alert of a situation at its present extent."""
    # What the group, its signals and what was told may become later must not show.
    correlation, exercise = group.correlation, group.exercise
    version, created, dropped = told.version, moment(told.created_us), told.dropped
    held, named, explain = run.evidence(), _group_of(group), _explain(group, run)

    def tell() -> Telling:
        evidence, total = _shown_of(held, rules)
        head = _head(correlation, identifier, version, named, exercise, evidence, total + dropped, created, now)
        head.supersedes = list(supersedes)
        if total > MAX_EVIDENCE and held[-1].partner:
            # The whole extent counts, also what the shown evidence leaves out.
            (last,) = orjson.loads(held[-1].evidence)
            head.last_event_at = max(head.last_event_at, moment(last[COLUMN["occurred_us"]]))
            head.published_at = max(head.published_at, moment(last[COLUMN["published_us"]]))
        by_rule = Counter(each.rule_title for each in evidence)
        return Telling(head, evidence, explain | {"by_rule": by_rule, "rule_version": correlation.meta.version})

    return Draft(identifier, version, "open", tell, full=len(held) > MAX_EVIDENCE)


def retracted(group: Group, identifier: str, told: Told, rules: Mapping[str, Rule], now: dt.datetime) -> Draft:
    """The closing version of an alert whose condition does not hold any more; it shows its first piece of evidence."""
    correlation, exercise, named = group.correlation, group.exercise, _group_of(group)
    version, created, last = told.version, moment(told.created_us), told.last

    def tell() -> Telling:
        evidence = [shown(piece, rules) for piece in orjson.loads(last)[:MAX_EVIDENCE]]
        explain = {"type": correlation.type, "condition": correlation.condition_text, "retracted": True}
        head = _head(correlation, identifier, version, named, exercise, evidence, len(evidence), created, now)
        head.status = "retracted"
        return Telling(head, evidence, explain)

    return Draft(identifier, version, "retracted", tell)


def superseded(successor: Draft, identifier: str, told: Told) -> Draft:
    """The closing version of an alert that another one has taken the place of."""
    changes = {
        "alert_id": identifier,
        "version": told.version,
        "status": "superseded",
        "superseded_by": successor.alert_id,
        "supersedes": [],
    }

    def tell() -> Telling:
        whole = successor.tell()
        return Telling(whole.head.model_copy(update=changes), whole.evidence, whole.explain)

    return Draft(identifier, told.version, "superseded", tell)


def _group_of(group: Group) -> dict[str, str]:
    return dict(zip(group.correlation.group_by, group.values, strict=True))


def _head(
    rule: Rule,
    identifier: str,
    version: int,
    group: dict[str, str],
    exercise: bool,
    evidence: Sequence[Shown],
    total: int,
    created_at: dt.datetime,
    now: dt.datetime,
) -> AlertHead:
    columns = columns_of(evidence)
    located = zip(reversed(columns["lat"]), reversed(columns["lon"]), strict=True)
    lat, lon = next((each for each in located if each[0] is not None), (None, None))
    return AlertHead(
        alert_id=identifier,
        version=version,
        rule=_rule(rule),
        kind="correlation" if isinstance(rule, Correlation) else "detection",
        level=rule.meta.level,
        exercise=exercise,
        tlp=max(set(columns["tlp"]), key=TLP_ORDER.index),
        confidence=min(columns["confidence"]),
        group=group,
        story=story(rule, group, columns, total),
        partners=sorted(set(columns["partner"])),
        families=sorted(set(columns["family"])),
        countries=sorted(filter(None, set(columns["country"]))),
        places=list(filter(None, dict.fromkeys(columns["place"]))),
        lat=lat,
        lon=lon,
        first_event_at=moment(columns["occurred_us"][0]),
        last_event_at=moment(columns["occurred_us"][-1]),
        published_at=moment(max(columns["published_us"])),
        created_at=created_at,
        updated_at=now,
        evidence_total=total,
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


def _explain(group: Group, run: Run) -> dict[str, Any]:
    """How the situation came about, but for the evidence that is shown."""
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
    }


def story(rule: Rule, group: dict[str, str], columns: Mapping[str, Sequence[Any]], total: int) -> str:
    """The alert in one sentence: what, about whom, who reported it, when and where. ``columns`` are those of the
    evidence that is shown."""
    partners = sorted(set(columns["partner"]))
    # A cell number tells a reader nothing; the places that follow do.
    about = ", ".join(f"{key.removeprefix('entity.')} {value}" for key, value in group.items() if key != "geo.h3")
    first, last = (moment(columns["occurred_us"][place]) for place in (0, -1))
    when = f"at {first:%H:%M:%S} UTC on {first:%d %b %Y}"
    if total > 1:
        minutes = (last - first).total_seconds() / 60
        when = f"within {minutes:.0f} min up to {last:%H:%M} UTC on {last:%d %b %Y}"
    found = dict.fromkeys(zip(columns["place"], columns["country"], strict=True))
    where = list(dict.fromkeys(_where(place, country) for place, country in found if place or country))
    text = rule.meta.title + (f": {about}" if about else "")
    text += f"; {total} event{'s' if total > 1 else ''} from {' and '.join(partners)} {when}"
    if where:
        text += f", at {', '.join(where[:4])}" + (" and elsewhere" if len(where) > 4 else "")
    if total == 1 and columns["summary"][0]:
        text += f": {columns['summary'][0].rstrip('.')}"
    return text + "."


def _where(place: str, country: str) -> str:
    return f"{place} ({country})" if place and country else place or country


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
