"""What the situations of a group mean for the world: alerts to tell, and signals for the correlations above."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from processors.alerts import Draft, alert_id, from_run, pieces_of, retracted, superseded
from processors.correlate import Group, Held, Run, Target, Told
from processors.evidence import position_in, value_in
from processors.keys import group_fields, keys_of, texts
from processors.rulebook import Correlation, Rulebook
from processors.times import micros
from schemas.alerts import Signal

MAX_PIECES = 50
"""Pieces of evidence, the latest, that a correlation's signal carries upward."""


@dataclass
class Effects:
    """``alerts`` to tell, and ``signals`` of correlations for the correlations above them."""

    alerts: list[Draft] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)

    def extend(self, other: Effects) -> None:
        self.alerts += other.alerts
        self.signals += other.signals


def conclude(group: Group, runs: Sequence[Run], book: Rulebook, now: dt.datetime) -> Effects:
    """What has to be told after the evidence of ``runs`` changed. Writes into the group what it tells.

    Versions of all alerts of a group come from one counter, so a later word on an alert always has a higher one.
    """
    effects = Effects()
    for run in runs:
        _alerts(group, run, book, now, effects)
    if group.removed:
        _orphans(group, book, now, effects)
    watchers = book.watchers.get(group.correlation.meta.id, ())
    if watchers:
        for held in group.removed:
            if held.sent:
                _withdraw(group, held, held.sent[2], book, effects)
        for run in runs:
            _upward(group, run, watchers, book, effects)
    group.removed.clear()
    return effects


def tell_again(group: Group, book: Rulebook, now: dt.datetime) -> Effects:
    """Everything that the group has told and that still stands, as it was told: for a worker that takes over and
    cannot know whether its predecessor came to telling it."""
    effects = Effects()
    runs = list(group.runs())
    for run in runs:
        identifier = _identifier(group, run)
        if identifier is None or identifier not in group.told:
            continue
        alert = from_run(group, run, identifier, group.told[identifier], book.by_id, now)
        effects.alerts.append(alert)
        effects.alerts += [
            superseded(alert, key, told) for key, told in group.told.items() if told.superseded_by == identifier
        ]
    effects.alerts += [
        retracted(group, key, told, book.by_id, now) for key, told in group.told.items() if told.status == "retracted"
    ]
    if not group.correlation.alerts:
        effects.alerts.clear()
    for key, at, targets in group.withdrawn:
        effects.signals += _signals(group, key, at, targets, b"[]", book, withdrawn=True)
    for run in runs:
        for held, pieces in _firings(group, run):
            if held.sent:
                effects.signals += _signals(
                    group, held.sent[0], _moment(group, held), held.sent[2], orjson.dumps(pieces), book
                )
    return effects


def _identifier(group: Group, run: Run) -> str | None:
    first = next((each for each in run.held if each.fired), None)
    if first is None:
        return None
    named = tuple(zip(group.correlation.group_by, group.values, strict=True))
    # A correlation below may fire again and again under one alert; what tells these firings apart is their time.
    anchor = first.event_id if first.partner else f"{first.event_id}@{first.at}"
    return alert_id(group.correlation.meta.id, named, group.exercise, first.partner, anchor)


def _alerts(group: Group, run: Run, book: Rulebook, now: dt.datetime, effects: Effects) -> None:
    owned = {
        key: told for key, told in group.told.items() if told.status == "open" and run.start <= told.anchor <= run.end
    }
    wanted = _identifier(group, run)
    alert: Draft | None = None
    speaks = group.correlation.alerts
    if wanted is not None and (run.dirty or set(owned) != {wanted}):
        created = min((told.created_us for told in owned.values()), default=micros(now))
        dropped = sum(told.dropped for told in owned.values())
        group.revision += 1
        anchor = next(each for each in run.held if each.fired)
        told = group.told[wanted] = Told(group.revision, "open", anchor.at, created, dropped=dropped)
        if speaks:
            supersedes = sorted(owned.keys() - {wanted})
            alert = from_run(group, run, wanted, told, book.by_id, now, supersedes)
            effects.alerts.append(alert)
    for key, told in owned.items():
        if key == wanted:
            continue
        group.revision += 1
        told.version = group.revision
        if wanted is not None:
            told.status, told.superseded_by = "superseded", wanted
            if alert is not None:
                effects.alerts.append(superseded(alert, key, told))
        else:
            told.status = "retracted"
            told.last = next(each.evidence for each in run.held if each.at >= told.anchor)
            if speaks:
                effects.alerts.append(retracted(group, key, told, book.by_id, now))


def _orphans(group: Group, book: Rulebook, now: dt.datetime, effects: Effects) -> None:
    """Alerts all of whose signals were withdrawn: no situation is left that could close them."""
    runs = list(group.runs())
    for key, told in group.told.items():
        anchor = next((each for each in group.removed if each.at == told.anchor), None)
        if anchor is None or told.status != "open" or any(run.start <= told.anchor <= run.end for run in runs):
            continue
        group.revision += 1
        told.version, told.status, told.last = group.revision, "retracted", anchor.evidence
        if group.correlation.alerts:
            effects.alerts.append(retracted(group, key, told, book.by_id, now))


def _moment(group: Group, held: Held) -> int:
    """Event time at which a firing is known: an absence when its time is up."""
    return held.at + (group.span if group.correlation.type == "absence" else 0)


def _firings(group: Group, run: Run) -> list[tuple[Held, list[Any]]]:
    """Each firing with the evidence that came since the one before, so that every piece is carried once."""
    found = []
    before = -1
    for place, held in enumerate(run.held):
        if held.since is None:
            continue
        new = [
            each
            for each in run.held[before + 1 : place + 1]
            if each.fired and each.at >= held.since and (held.values is None or each.value in held.values)
        ]
        before = place
        found.append((held, pieces_of(new or [held])[-MAX_PIECES:]))
    return found


def _upward(group: Group, run: Run, watchers: Sequence[Correlation], book: Rulebook, effects: Effects) -> None:
    identifier = _identifier(group, run)
    for held in run.held:
        if held.since is None and held.sent:
            _withdraw(group, held, held.sent[2], book, effects)
            held.sent = held.row = None
    for held, pieces in _firings(group, run):
        assert identifier is not None  # where a window fires there is evidence
        evidence = orjson.dumps(pieces)
        checksum = zlib.crc32(evidence)
        if held.sent and held.sent[:2] == (identifier, checksum):
            continue
        targets = [target for watcher in watchers for target in _targets(group, watcher, pieces)]
        if held.sent:
            # Where the same firing only has more to show, it is told anew and not taken back before.
            same = held.sent[0] == identifier
            _withdraw(group, held, [each for each in held.sent[2] if not (same and each in targets)], book, effects)
        held.sent, held.row = (identifier, checksum, targets), None
        at = _moment(group, held)
        group.withdrawn = [
            (key, when, left)
            for key, when, known in group.withdrawn
            if (left := [each for each in known if (key, when) != (identifier, at) or each not in targets])
        ]
        effects.signals += _signals(group, identifier, at, targets, evidence, book)


def _targets(group: Group, watcher: Correlation, pieces: list[Any]) -> list[Target]:
    """The windows of ``watcher`` that a firing belongs to: by its own group where that has the field, else by what its
    evidence says (Sigma correlation specification, "Ordered Temporal Proximity")."""
    base = group.correlation
    own = dict(zip(base.group_by, group.values, strict=True))

    def values_of(name: str) -> list[str]:
        found = [own[name]] if name in own else [text for piece in pieces for text in texts(value_in(piece, name))]
        return list(dict.fromkeys(found))

    keys = keys_of(watcher, group_fields(watcher, base.meta.id), values_of, position_in(pieces[-1]))
    return [(watcher.meta.id, values, value) for values, value in keys]


def _withdraw(group: Group, held: Held, targets: list[Target], book: Rulebook, effects: Effects) -> None:
    if held.sent and targets:
        at = _moment(group, held)
        group.withdrawn.append((held.sent[0], at, targets))
        effects.signals += _signals(group, held.sent[0], at, targets, b"[]", book, withdrawn=True)


def _signals(
    group: Group,
    identifier: str,
    at: int,
    targets: Sequence[Target],
    evidence: bytes,
    book: Rulebook,
    withdrawn: bool = False,
) -> list[Signal]:
    return [
        Signal(
            correlation_id=rule_id,
            fingerprint=watcher.fingerprint,
            rule_id=group.correlation.meta.id,
            group=tuple(values),
            value=value,
            partner="",
            event_id=identifier,
            occurred_us=at,
            exercise=group.exercise,
            late=False,
            withdrawn=withdrawn,
            evidence=evidence,
        )
        for rule_id, values, value in targets
        if isinstance(watcher := book.by_id.get(rule_id), Correlation)
    ]
