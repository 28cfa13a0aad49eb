"""What workers of the first version left on Kafka, from which every later version goes on; and what a later one leaves.

``first_states.json`` was written by that version: windows of a rule, and what people and clocks did to an alert.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from processors.correlator import Correlator
from processors.group_state import CHUNK, unpack
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.records import read
from processors.rule_files import load_texts
from processors.rulebook import Correlation, Detection, Rulebook
from processors.signals import SignalMaker
from processors.watchdog import WATCHDOG_KEY, Watchdog
from schemas.alerts import Signal
from schemas.lifecycle import Command
from streams.state import StateError
from tests.processors.by_hand import read_alerts
from tests.processors.lifecycle.rota import rota

FOUND: dict[str, Any] = json.loads(Path(__file__).with_name("first_states.json").read_text())
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
MINUTE = 60_000_000
SEEN = 1_700_000_000_000_000
"""When the first of the events happened, microseconds since 1970 UTC."""
GROUPS = {
    (key.partition("\x1e")[0], key.partition("\x1e")[2], 0): value.encode("latin-1")
    for key, value in FOUND["correlation-state.v1"].items()
}
RECORDS = {key: json.dumps(value).encode() for key, value in FOUND["lifecycle-state.v1"].items()}
ALERT = next(key.partition("/")[2] for key in RECORDS if key.startswith("alert/"))


def rulebook() -> Rulebook:
    return load_texts([(Path("rules.yml"), FOUND["rules"])])


def signal(book: Rulebook, event: str, person: str, partner: str, at: int) -> list[Signal]:
    detection = book.detections[0]
    assert isinstance(detection, Detection)
    fields = {"entity.person": person, "header.partner": partner}
    piece = [event, partner, "tip_report", at, at, at, "GREEN", "", "", None, None, "", event, fields, 0, 9, False]
    return SignalMaker(book, 3600).of_event(detection, [*piece, 50, []], 0)


def test_windows_go_on() -> None:
    book = rulebook()
    correlator = Correlator(book, 3600)
    assert {fingerprint for fingerprint, *_ in GROUPS} == {each.fingerprint for each in book.correlations}
    (again,) = read_alerts(correlator.restore(GROUPS, {}, NOW).alerts)
    assert (again.alert_id, again.version) == (FOUND["alert_id"], 1)
    assert [each.event_id for each in again.evidence] == ["e2", "e3"]
    (grown,) = read_alerts(correlator.add(signal(book, "e4", "NOVAK PETR", "rail-at", SEEN + 3 * MINUTE), NOW).alerts)
    assert (grown.alert_id, grown.version) == (FOUND["alert_id"], 2)
    (completed,) = read_alerts(
        correlator.add(signal(book, "e5", "JANSEN ANNA", "fiu-nl", SEEN + 4 * MINUTE), NOW).alerts
    )
    assert [each.event_id for each in completed.evidence] == ["e1", "e5"]


def take_over(records: dict[str, bytes]) -> Lifecycle:
    """As a lifecycle worker does."""
    engine = Lifecycle(rota())
    engine.restore(records)
    Watchdog(records[WATCHDOG_KEY])
    return engine


def test_what_people_did_holds_and_nobody_is_told_again() -> None:
    engine, stored = take_over(RECORDS), read(RECORDS)
    state = engine.states[ALERT]
    assert (state.state, state.acknowledged_by) == ("acknowledged", "ana (cli)")
    assert state.acknowledged_until is not None
    (silence,) = engine.silences.values()
    assert silence.reason == "load test"
    (notification,) = stored.notifications.values()
    assert (notification.kind, notification.status) == ("first", "sent")
    soon = state.updated_at + dt.timedelta(minutes=10)
    effects = engine.tick(soon)
    assert not effects.notifications
    assert not engine.pending(soon)
    (handled,) = stored.handled.values()
    again = Command.model_validate(
        {"command_id": handled.action.command_id, "verb": "acknowledge", "alert_id": ALERT, "by": "ana (cli)"}
        | {"via": "cli", "at": handled.action.at, "for_s": 7200}
    )
    effects = engine.on_command(again, soon)
    assert {each.action_id for each in effects.actions} <= {handled.action.action_id}
    assert engine.states[ALERT].revision == state.revision
    engine.tick(state.acknowledged_until + dt.timedelta(seconds=1))
    assert engine.states[ALERT].state == "open"


@pytest.mark.parametrize("key", RECORDS)
def test_what_a_newer_version_left_is_refused_by_name(key: str) -> None:
    newer = json.loads(RECORDS[key])
    newer = newer | {"colour": "red"} if isinstance(newer, dict) else [*newer, 1, 2, 3]
    with pytest.raises(StateError) as refused:
        take_over({**RECORDS, key: json.dumps(newer).encode()})
    told = str(refused.value)
    assert told.startswith(f"lifecycle-state.v1: this version of Tocsin cannot read {key} (")
    assert "restore a backup of before the upgrade" in told
    assert "\n" not in told
    assert "[type=" not in told


def test_a_group_that_a_newer_version_left_is_refused_by_its_rule() -> None:
    correlation = rulebook().correlations[0]
    assert isinstance(correlation, Correlation)
    for state in GROUPS.values():
        assert unpack(correlation, state, {}).values
        for wrong in (state.replace(b"[[", b"[[[", 1), state.replace(b"],false,", b'],false,"new",', 1)):
            with pytest.raises(StateError, match=rf"a group of rule {correlation.meta.id} \("):
                unpack(correlation, wrong, {})


def test_a_group_whose_chunk_is_missing_is_refused_by_its_rule() -> None:
    book = rulebook()
    correlator = Correlator(book, 3600)
    for number in range(3 * CHUNK):
        partner = "rail-at" if number % 2 else "bpol-de"
        correlator.add(signal(book, f"e{number}", "NOVAK PETR", partner, SEEN + number), NOW)
    states = {key: state for key, state in correlator.changed().items() if state is not None}
    assert read_alerts(Correlator(book, 3600).restore(states, {}, NOW).alerts)[0].evidence_total == 3 * CHUNK
    cut_off = {key: state for key, state in states.items() if not key[2]}
    assert len(cut_off) < len(states)
    with pytest.raises(StateError, match="cannot read a group of rule"):
        Correlator(book, 3600).restore(cut_off, {}, NOW)
