"""Timelines of escalation, acknowledgement, failing channels, silences, inhibition and hand-over."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from processors.lifecycle.roster import InhibitRule
from schemas.lifecycle import Matcher
from tests.processors.lifecycle.conftest import Begin
from tests.processors.lifecycle.rota import always, rota

INCIDENT = InhibitRule(
    "one incident, one place",
    source=(Matcher(field="families", value="incident_report"), Matcher(field="level", value="critical")),
    target=(Matcher(field="level", op="=~", value="informational|low|medium|high"),),
    equal=(),
    within_km=25,
    within_s=7200,
)


def test_nobody_acknowledges(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("5:00:00")
    assert line.got("0:00", "0:29") == []
    assert line.got("0:30", "0:30") == ["mira first a"]
    assert line.got("0:31", "5:29") == []
    assert line.got("5:30", "5:30") == ["tomas escalation a"]
    assert line.got("15:30", "15:30") == ["aoife escalation a"]
    assert line.got("15:31", "4:15:29") == []
    assert line.got("4:15:30", "4:15:30") == ["mira escalation a"], "after the last step the policy starts over"
    assert line.got("4:20:30", "4:20:30") == ["tomas escalation a"]


def test_an_acknowledgement_stops_escalation_until_it_expires(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("0:40").does("acknowledge", "a", for_s=14 * 60 + 20)
    line.at("14:59")
    assert line.state("a").state == "acknowledged"
    assert line.got("0:31", "14:59") == []
    line.at("30:00")
    assert line.state("a").state == "open"
    assert line.got("15:00", "15:05") == ["mira escalation a"]
    assert line.got("20:00", "20:00") == ["tomas escalation a"]
    assert line.verbs("a") == ["raised", "acknowledge", "expired"]


def test_an_acknowledgement_holds_half_an_hour_unless_it_says(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("2:00").does("acknowledge", "a")
    assert line.state("a").acknowledged_until == line.now + dt.timedelta(minutes=30)


def test_acknowledging_again_begins_its_time_anew(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("acknowledge", "a", for_s=600)
    line.at("10:00").does("acknowledge", "a", by="tomas", for_s=600)
    line.at("19:59")
    assert line.state("a").acknowledged_by == "tomas"
    assert line.got("0:31", "19:59") == []
    line.at("20:00")
    assert line.got("20:00", "20:00") == ["mira escalation a"]


def test_acknowledged_is_not_silenced(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("6:00").does("acknowledge", "a", by="tomas", for_s=3600)
    line.at("7:00").alert("a", partners=["customs-a", "police-b"])
    line.at("8:00").alert("a", partners=["customs-a", "police-b"])
    line.at("10:29")
    assert line.got("6:00", "10:29") == []
    line.at("20:00")
    assert line.got("10:30", "10:30") == ["mira update a", "tomas update a"]
    assert line.got("10:31", "20:00") == []


def test_a_resolve_reaches_everybody_who_was_told(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("6:00").does("close", "a", by="tomas", verdict="benign")
    line.at("59:00")
    assert line.got("5:31", "59:00") == ["mira resolved a", "tomas resolved a"]
    threads = {each.person: each.thread for _, each in line.sent if each.kind == "resolved"}
    firsts = {each.person: each.notification_id for _, each in line.sent if each.kind != "resolved"}
    assert threads == firsts


def test_what_was_closed_before_anybody_was_told_is_told_to_nobody(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("0:20").does("close", "a", verdict="duplicate")
    line.at("2:00:00")
    assert line.got() == []
    assert not [key for key in line.records if key.startswith("group/")]


def test_the_stream_takes_an_alert_back(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").alert("a", status="retracted")
    line.at("1:00:00")
    assert line.state("a").withdrawn
    assert line.got("0:31", "1:00:00") == ["mira resolved a"]
    assert line.verbs("a") == ["raised", "withdrawn"]


def test_assigning_and_starting_stop_escalation_for_good(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", by="sander", assignee="sander")
    line.at("2:00:00").does("start", "a", by="sander")
    line.at("5:00:00")
    assert line.got("0:31", "5:00:00") == []
    assert (line.state("a").state, line.state("a").assignee) == ("in_progress", "sander")


def test_giving_an_alert_back_goes_on_with_escalation(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("6:00").does("assign", "a", by="sander", assignee="sander")
    line.at("40:00").does("unacknowledge", "a", by="sander")
    line.at("50:00")
    assert line.got("5:31", "49:59") == ["tomas escalation a"]
    assert line.got("50:00", "50:00") == ["aoife escalation a"]


def test_a_channel_that_fails_brings_in_the_next_person_at_once(begin: Begin) -> None:
    line = begin().unreachable_are("mira")
    line.at("0:00").alert("a")
    line.at("9:00")
    assert line.got("0:30", "0:30") == ["tomas escalation a"]
    assert line.got("0:31", "9:00") == []
    line.at("11:00")
    assert line.got("9:00", "11:00") == ["aoife escalation a"]


def test_when_nobody_can_be_reached_the_policy_starts_over_soon(begin: Begin) -> None:
    line = begin().unreachable_are("mira", "tomas", "aoife")
    line.at("0:00").alert("a")
    line.at("4:00").unreachable_are("mira")
    line.at("5:30")
    assert line.got() == ["tomas escalation a"]


def test_one_of_two_persons_reached_is_enough_for_a_step(begin: Begin) -> None:
    steps = [(always("mira", "sander"), 300.0), (always("tomas"), 0.0)]
    line = begin(roster=rota(policies={"watch": steps})).unreachable_are("sander")
    line.at("0:00").alert("a")
    line.at("5:29")
    assert line.got() == ["mira first a"]


def test_a_step_without_anybody_is_skipped(begin: Begin) -> None:
    steps = [(always(), 300.0), (always("tomas"), 300.0), (always("aoife"), 0.0)]
    line = begin(roster=rota(policies={"watch": steps}))
    line.at("0:00").alert("a")
    line.at("6:00")
    assert line.got() == ["tomas first a", "aoife escalation a"]


def test_alerts_of_one_group_come_as_one_message(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("0:10").alert("b")
    line.at("0:20").alert("elsewhere", group={"place": "Southport"})
    line.at("2:00").alert("c")
    line.at("6:00")
    assert line.got("0:30", "0:30") == ["mira first a,b"]
    assert line.got("0:50", "0:50") == ["mira first elsewhere"]
    assert "mira update a,b,c" in line.got("5:30", "5:30")


def test_a_new_alert_in_a_group_that_somebody_works_on_begins_at_the_first_step(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("6:00").does("assign", "a", by="tomas", assignee="tomas")
    line.at("7:00").alert("b")
    line.at("14:00")
    assert line.got("7:00", "10:30") == ["mira update a,b", "tomas update a,b"]
    line.at("15:30")
    assert line.got("10:31", "15:30") == ["tomas escalation a,b"]


def test_a_closed_alert_that_is_opened_again_is_told_in_the_same_thread(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("close", "a", verdict="benign")
    line.at("20:00").does("reopen", "a", by="tomas")
    line.at("22:00")
    assert line.got("5:00", "22:00") == ["mira resolved a", "mira reopened a"]
    assert len({each.thread for _, each in line.sent}) == 1


def test_a_closed_alert_whose_evidence_grows(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("close", "a", verdict="false_positive")
    line.at("10:00").alert("a", evidence_total=7)
    assert line.state("a").state == "closed"
    line.at("20:00").alert("a", partners=["customs-a", "police-b"])
    assert line.state("a").state == "open"
    assert line.state("a").verdict is None
    line.at("21:00")
    assert line.got("6:00", "21:00") == ["mira reopened a"]
    assert line.verbs("a") == ["raised", "close", "updated", "reopen"]


def test_an_alert_that_becomes_critical_brings_in_its_policy(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("acknowledge", "a", for_s=3600)
    line.at("2:00").alert("a", level="critical")
    line.at("30:00")
    assert line.got("0:31", "30:00") == ["lead first a", "mira update a"]
    assert line.state("a").priority == "P1"


def test_a_silence_begins_and_ends(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "60:00", rule_id="rule-1")
    line.at("1:00").alert("a")
    line.at("59:59")
    assert line.got() == []
    assert len(line.state("a").silences) == 1
    line.at("60:01")
    assert line.got() == ["mira first a"]
    assert line.state("a").silences == []
    assert line.verbs("a") == ["raised", "silenced", "unsilenced"]


def test_a_silence_over_what_is_over_when_it_ends_is_told_to_nobody(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "60:00", rule_id="rule-1")
    line.at("1:00").alert("a")
    line.at("30:00").alert("a", status="retracted")
    line.at("3:00:00")
    assert line.got() == []


def test_a_silence_stops_escalation_and_holds_updates_back(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").silence("2:00", "60:00", rule_id="rule-1")
    line.at("10:00").alert("a", evidence_total=5)
    line.at("59:59")
    assert line.got("0:31", "59:59") == []
    line.at("61:00")
    assert line.got("60:00", "61:00") == ["mira escalation a", "mira update a"]


def test_a_silence_ended_by_hand(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "60:00", rule_id="rule-1")
    line.at("1:00").alert("a")
    line.at("10:00").does("expire_silence", silence_id="silence-0")
    line.at("10:01")
    assert line.got() == ["mira first a"]


def test_that_it_is_over_is_told_in_spite_of_a_silence(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").silence("1:00", "60:00", rule_id="rule-1")
    line.at("2:00").does("close", "a", verdict="benign")
    line.at("10:00")
    assert line.got("0:31", "10:00") == ["mira resolved a"]


def test_a_maintenance_window_of_a_partner(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "60:00", partner="customs-a")
    line.at("1:00").alert("feed", kind="platform", group={"partner": "customs-a"})
    line.at("1:00").alert("other", kind="platform", group={"partner": "police-b"})
    line.at("1:00").alert("border", partners=["customs-a"])
    line.at("3:00")
    assert sorted(line.got()) == ["mira first border", "mira first other"]
    assert line.state("feed").silences


def test_an_incident_inhibits_lesser_alerts_around_it(begin: Begin) -> None:
    line = begin(roster=rota(inhibit_rules=(INCIDENT,)))
    line.at("0:00").alert("near", lat=52.0, lon=4.0)
    line.at("0:05").alert("far", lat=53.0, lon=4.0, group={"place": "Far"})
    line.at("0:10").alert("incident", level="critical", families=["incident_report"], lat=52.1, lon=4.0, rule="rule-2")
    line.at("20:00")
    assert line.state("near").inhibited_by == "incident"
    assert line.state("far").inhibited_by is None
    assert line.state("incident").inhibited_by is None
    assert not [each for each in line.got() if "near" in each]
    line.does("close", "incident", verdict="true_positive")
    line.at("21:00")
    assert line.got("20:00", "20:01") == ["mira first near"]
    assert line.verbs("near") == ["raised", "inhibited", "uninhibited"]


def test_hand_over_when_the_clocks_go_forward(begin: Begin) -> None:
    """In Berlin it is 01:30 at the beginning; at 02:00 it becomes 03:00, and at 03:30 Tomas takes over, 1 h later."""
    berlin = ZoneInfo("Europe/Berlin")

    def watch(at: dt.datetime) -> tuple[str, ...]:
        return ("mira",) if at.astimezone(berlin).time() < dt.time(3, 30) else ("tomas",)

    steps = [(watch, 1800.0), (watch, 1800.0), (watch, 1800.0)]
    start = dt.datetime(2026, 3, 29, 1, 30, tzinfo=berlin).astimezone(dt.UTC)
    line = begin(roster=rota(policies={"watch": steps}), start=start)
    line.at("0:00").alert("a")
    line.at("3:00:00")
    assert line.got("0:30", "0:30") == ["mira first a"]
    assert line.got("30:30", "30:30") == ["mira escalation a"], "it is 03:00:30 in Berlin"
    assert line.got("1:00:30", "1:00:30") == ["tomas escalation a"], "it is 03:30:30 in Berlin"


def test_hand_over_when_the_clocks_go_back(begin: Begin) -> None:
    """In Berlin it is 02:30 at the beginning and, an hour later, again; Tomas takes over at 03:00."""
    berlin = ZoneInfo("Europe/Berlin")

    def watch(at: dt.datetime) -> tuple[str, ...]:
        return ("mira",) if at.astimezone(berlin).time() < dt.time(3) else ("tomas",)

    steps = [(watch, 3000.0), (watch, 3000.0), (watch, 1800.0)]
    start = dt.datetime(2026, 10, 25, 2, 30, tzinfo=berlin).astimezone(dt.UTC)
    line = begin(roster=rota(policies={"watch": steps}), start=start)
    line.at("0:00").alert("a")
    line.at("3:00:00")
    assert line.got("50:30", "50:30") == ["mira escalation a"], "it is 02:20:30 for the second time"
    assert line.got("1:40:30", "1:40:30") == ["tomas escalation a"]


def test_exercise_and_live_never_share_a_message(begin: Begin) -> None:
    line = begin(roster=rota(routes=[]))
    line.at("0:00").alert("live")
    line.at("0:01").alert("drill", exercise=True)
    line.at("1:00")
    assert sorted(line.got()) == ["mira first drill", "mira first live"]
    assert line.state("drill").priority == "P4"


def test_the_watchdog_is_told_to_nobody(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("dog", kind="platform", level="informational", tags=["platform.watchdog"])
    line.at("5:00:00")
    assert line.got() == []
