"""Timelines of assigning: the person is told once, whatever happens in between."""

from __future__ import annotations

import datetime as dt

from processors.lifecycle.engine import Lifecycle
from schemas.lifecycle import Command
from tests.processors.lifecycle.conftest import Begin
from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.timeline import START, make_alert


def test_who_is_assigned_an_alert_is_told_at_once_and_hears_the_rest(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", by="mira", assignee="sander")
    assert line.at("1:00").got("0:31") == ["sander assigned a"]
    line.at("1:30").alert("a", partners=["customs-a", "police-b"])
    line.at("20:00").does("close", "a", by="sander", verdict="benign")
    line.at("1:00:00")
    assert line.got("1:01", "20:00", person="sander") == ["sander update a"]
    assert line.got("20:01", person="sander") == ["sander resolved a"]
    assert len({each.thread for _, each in line.sent if each.person == "sander"}) == 1


def test_who_takes_an_alert_is_not_told_what_they_know(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", by="sander", assignee="sander")
    line.at("1:00:00")
    assert line.got("0:31") == []


def test_each_assignment_is_told_once(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", assignee="sander")
    line.at("2:00").does("assign", "a", by="sander", assignee="tomas")
    line.at("3:00").does("assign", "a", by="tomas", assignee="sander")
    line.at("1:00:00")
    assert line.got("0:31") == ["sander assigned a", "tomas assigned a", "sander assigned a"]


def test_a_silence_does_not_keep_an_assignment_from_its_person(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "2:00:00", rule_id="rule-1").alert("a")
    line.at("1:00").does("assign", "a", assignee="sander")
    line.at("1:00:00")
    assert line.got() == ["sander assigned a"]


def test_an_assignment_that_cannot_be_delivered_is_tried_again(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").unreachable_are("sander")
    line.at("1:00").does("assign", "a", assignee="sander").at("4:00").unreachable_are()
    line.at("8:59").at("9:00").at("1:00:00")
    assert line.got("0:31") == ["sander assigned a"]
    assert line.got("9:00", "9:00") == ["sander assigned a"], "a group interval after it failed"


def test_who_is_not_in_the_policy_cannot_be_told_which_is_noted(begin: Begin) -> None:
    line = begin(roster=rota(strangers=frozenset({"guest"})))
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", assignee="guest")
    line.at("1:00:00")
    assert line.got("0:31") == []
    noted = {(each.delivery_id, each.kind, each.person, each.error) for each in line.unheard}
    assert [each[1:] for each in noted] == [("assigned", "guest", "the on-call policy has no such person")]


def test_a_crash_between_any_two_records_tells_once() -> None:
    """The command comes again, as its offset was not committed."""
    engine, later = Lifecycle(rota()), START + dt.timedelta(minutes=1)
    records = dict(engine.on_alert(make_alert("a"), START).records) | dict(engine.tick(later).records)
    command = Command(command_id="c", verb="assign", alert_id="a", assignee="sander", by="mira", via="desk", at=later)
    written = list(engine.on_command(command, later).records.items())
    (group,) = engine._memory.groups
    for length in range(len(written) + 1):
        torn = Lifecycle(rota())
        torn.restore({key: value for key, value in [*records.items(), *written[:length]] if value is not None})
        torn.on_command(command, later + dt.timedelta(seconds=5))
        assert torn.notifications.keys() == engine.notifications.keys(), written[:length]
        assert torn._memory.groups[group].recipients == engine._memory.groups[group].recipients
