"""The roster: routes, escalation steps, and the preview that says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from processors.lifecycle.roster import InhibitRule, Roster, Route
from processors.oncall import OnCall, UnknownScheduleError, WatchdogDuty
from schemas.lifecycle import Matcher
from schemas.oncall import load_oncall
from schemas.settings import Settings
from tests.processors.notify.samples import state

FILE = """\
people:
  - {id: mira, name: Mira Falkenrath, time_zone: Europe/Berlin, channels: [{apprise: env:MIRA_PAGER}, {log: true}]}
  - {id: tomas, name: Tomas Vesely, time_zone: Europe/Prague, channels: [{log: true}]}
  - {id: aoife, name: Aoife Brennan, time_zone: Europe/Dublin, channels: [{log: true}]}
schedules:
  - id: watch
    name: Watch
    time_zone: Europe/Berlin
    rotations:
      - {name: days, people: [mira, tomas], start: 2026-01-05, handover: "08:00"}
  - id: office
    name: Office hours
    time_zone: Europe/Berlin
    rotations:
      - name: office
        people: [aoife]
        start: 2026-01-05
        handover: "08:00"
        restrictions: [{days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}]
overrides:
  - {schedule: watch, person: aoife, from: 2026-06-01 00:00, to: 2026-06-02 00:00, reason: leave}
escalation_policies:
  - {id: calm, steps: [{targets: [office], timeout: 10m}, {targets: [watch, mira], timeout: 30m}], repeat: 1}
  - {id: fast, steps: [{targets: [watch], timeout: 5m}, {targets: [aoife]}]}
default_route: {policy: calm, group_by: [rule_id], group_wait: 30s, group_interval: 5m, repeat_interval: 4h}
routes:
  - {name: drills, matchers: [exercise=true], policy: calm, repeat_interval: 1d}
  - {name: urgent, matchers: [level=critical, countries=~"DE|NL"], policy: fast, group_wait: 0s, group_by: []}
  - {name: travel, matchers: [families=travel_booking, partners!=rail-at], policy: fast}
  - {name: one document, matchers: [group.document_number=~"X.*"], policy: fast, group_interval: 1m}
inhibit_rules:
  - {name: near, source: [level=critical], target: [level=low], equal: [exercise], within_km: 5, within: 1h}
watchdog: {every: 15m, person: tomas}
"""


@pytest.fixture
def roster(tmp_path: Path) -> OnCall:
    (tmp_path / "oncall.yml").write_text(FILE)
    return OnCall(load_oncall(tmp_path / "oncall.yml"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


FAST = Route("fast", ("rule_id",), 30.0, 300.0, 14_400.0)


@pytest.mark.parametrize(
    ("changes", "route"),
    [
        ({"exercise": True}, Route("calm", ("rule_id",), 30.0, 300.0, 86_400.0)),
        ({}, Route("fast", (), 0.0, 300.0, 14_400.0)),
        ({"countries": ["KE"], "families": ["travel_booking"]}, FAST),
        (
            {"countries": ["KE"], "families": ["travel_booking"], "partners": ["rail-at"]},
            Route("fast", ("rule_id",), 30.0, 60.0, 14_400.0),
        ),
        ({"level": "low", "group": {}}, Route("calm", ("rule_id",), 30.0, 300.0, 14_400.0)),
    ],
)
def test_the_first_route_that_matches_has_the_alert(roster: OnCall, changes: dict[str, Any], route: Route) -> None:
    assert roster.route(state(**changes)) == route


def test_the_roster_is_what_the_lifecycle_asks_for(roster: OnCall) -> None:
    asked: Roster = roster
    source, target = (Matcher(field="level", value="critical"),), (Matcher(field="level", value="low"),)
    assert asked.inhibit_rules == (InhibitRule("near", source, target, ("exercise",), 5.0, 3600.0),)
    assert roster.watchdog == WatchdogDuty("tomas", 900.0)


def test_who_can_be_told_has_an_entry(roster: OnCall) -> None:
    assert roster.knows("aoife")
    assert not roster.knows("watch")


def test_steps_tell_who_is_on_call_then_and_each_once(roster: OnCall) -> None:
    morning, noon = at("2026-03-02T06:59:59Z"), at("2026-03-02T11:00:00Z")
    assert roster.persons("fast", 0, morning) == ("tomas",)
    assert roster.persons("fast", 0, noon) == ("mira",)
    assert roster.persons("calm", 1, noon) == ("mira",)
    assert roster.persons("calm", 1, morning) == ("tomas", "mira")
    assert [roster.timeout_s("fast", step) for step in (-1, 0, 1, 2)] == [None, 300.0, None, None]
    assert roster.persons("fast", 2, noon) == ()
    assert [roster.timeout_s("calm", step) for step in range(5)] == [600.0, 1800.0, 600.0, None, None]
    assert roster.persons("calm", 2, noon) == ("aoife",)


def test_a_step_with_nobody_on_call_tells_the_next_step(roster: OnCall) -> None:
    night = at("2026-03-02T22:00:00Z")
    assert roster.persons("calm", 0, night) == ("mira",)
    plan = roster.preview(state(exercise=True), night)
    assert plan[0].why.endswith("step 1: nobody is on call, so schedule watch, rotation days")


def test_a_policy_that_is_gone_is_read_as_the_default_one(roster: OnCall) -> None:
    noon = at("2026-03-02T11:00:00Z")
    assert roster.persons("gone", 0, noon) == ("aoife",)
    assert roster.timeout_s("gone", 0) == 600.0


def test_who_and_shifts_know_their_schedules(roster: OnCall) -> None:
    assert roster.who("watch", at("2026-06-01T12:00:00Z")) == "aoife"
    assert roster.who("office", at("2026-06-06T12:00:00Z")) is None
    shift = roster.shift("watch", at("2026-03-02T11:00:00Z"))
    assert (shift.start, shift.end) == (at("2026-03-02T07:00:00Z"), at("2026-03-03T07:00:00Z"))
    with pytest.raises(UnknownScheduleError, match=r"no schedule 'night'; there is watch, office"):
        roster.who("night", at("2026-06-01T12:00:00Z"))


def test_the_preview_says_who_when_how_and_why(roster: OnCall) -> None:
    plan = roster.preview(state(), at("2026-06-01T21:58:00Z"))
    assert [(each.due_at, each.step, each.person, each.channels) for each in plan] == [
        (at("2026-06-01T21:58:00Z"), 0, "aoife", ("log log",)),
        (at("2026-06-01T22:03:00Z"), 1, "aoife", ("log log",)),
    ]
    route = "route urgent (level=critical, countries=~DE|NL)"
    assert plan[0].why == f"{route}; policy fast, step 1: schedule watch, override: leave"
    assert plan[1].why == f"{route}; policy fast, step 2: named in it"
    plain = roster.preview(state(level="low", group={}), at("2026-03-02T11:00:00Z"))
    assert [(each.person, each.due_at - at("2026-03-02T11:00:00Z")) for each in plain] == [
        ("aoife", timedelta(seconds=30)),
        ("mira", timedelta(minutes=10, seconds=30)),
        ("aoife", timedelta(minutes=40, seconds=30)),
        ("mira", timedelta(minutes=50, seconds=30)),
    ]
    assert plain[0].why == "default route; policy calm, step 1: schedule office, rotation office"
    assert plain[1].channels == ("apprise env:MIRA_PAGER", "log log")


def test_the_preview_follows_a_hand_over_between_two_steps(roster: OnCall) -> None:
    # On 29 March 2026 at 08:00 in Berlin it is 06:00 UTC, the day before 07:00.
    plan = roster.preview(state(exercise=True), at("2026-03-29T05:45:00Z"))
    assert [(each.due_at.strftime("%H:%M:%S"), each.person) for each in plan] == [
        ("05:45:30", "mira"),
        ("05:55:30", "mira"),
        ("06:25:30", "tomas"),
        ("06:25:30", "mira"),
        ("06:35:30", "tomas"),
        ("06:35:30", "mira"),
    ]
    assert roster.who("watch", at("2026-03-29T05:59:59Z")) == "mira"
    assert roster.who("watch", at("2026-03-29T06:00:00Z")) == "tomas"
    assert roster.who("watch", at("2026-03-28T06:59:59Z")) == "tomas"
    assert roster.who("watch", at("2026-03-28T07:00:00Z")) == "mira"


def test_the_demonstration_tells_somebody_of_everything_at_any_time() -> None:
    roster = OnCall(load_oncall(Settings().oncall_file))
    start = datetime(2026, 3, 20, tzinfo=UTC)
    kinds: list[dict[str, Any]] = [
        {},
        {"level": "low"},
        {"exercise": True},
        {"level": "high", "families": ["cyber_detection"]},
    ]
    policies = [roster.route(state(**changes)).policy for changes in kinds]
    assert policies == ["critical", "watch-first", "drill", "cyber"]
    for hours in range(0, 24 * 21, 5):
        for changes in kinds:
            assert roster.preview(state(**changes), start + timedelta(hours=hours))
