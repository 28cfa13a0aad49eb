"""Nobody who has to know is left out: hand-over, acknowledgements that expire beside others, messages that failed."""

from __future__ import annotations

import datetime as dt

from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.roster import Roster
from schemas.lifecycle import Notification
from tests.processors.lifecycle.conftest import Begin
from tests.processors.lifecycle.rota import always, rota
from tests.processors.lifecycle.timeline import START, Timeline


def handed_over(after: str = "1:00:00") -> Roster:
    """Anna until an hour after the beginning, then Ben; no further step."""
    hours, minutes, seconds = map(int, after.split(":"))
    change = START + dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return rota(policies={"watch": [(lambda at: ("anna",) if at < change else ("ben",), 0.0)]})


def test_whoever_is_on_call_now_hears_of_a_new_alert_while_an_older_one_waits(begin: Begin) -> None:
    line = begin(roster=handed_over())
    line.at("0:00").alert("a")
    line.at("1:10:00").alert("b")
    line.at("1:20:00")
    assert line.got() == ["anna first a", "anna update a,b", "ben first a,b"]
    line.alert("c")
    line.at("1:30:00")
    assert line.got("1:20:01", "1:30:00") == ["anna update a,b,c", "ben update a,b,c"]
    line.at("4:00:29")
    assert line.got("1:30:01", "4:00:29") == [], "the timers of escalation are left alone"


def test_an_acknowledgement_that_expires_is_told_while_another_alert_waits(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b")
    line.at("1:00").does("acknowledge", "a", for_s=1800)
    line.at("16:00")
    assert line.got("0:31", "16:00") == ["tomas escalation a,b", "aoife escalation a,b"]
    line.at("31:00")
    assert line.got("16:01", "31:00") == ["aoife escalation a,b"], "the step that escalation had come to"


def test_an_alert_that_is_given_back_is_told_while_another_one_waits(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b")
    line.at("1:00").does("assign", "a", by="sander", assignee="sander")
    line.at("2:00").does("unacknowledge", "a", by="sander")
    line.at("2:01")
    assert line.got("0:31", "2:01") == ["mira escalation a,b"]


def update_that_failed(begin: Begin) -> tuple[Timeline, Notification]:
    """Six minutes in, with an update for Mira that is to be tried again."""
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", by="sander", assignee="sander")
    line.at("2:00").alert("a", evidence_total=9).unreachable_are("mira")
    line.at("6:00")
    (failed,) = line.waiting()
    return line, failed


def test_an_update_that_failed_is_tried_again_until_it_gets_through(begin: Begin) -> None:
    line, waiting = update_that_failed(begin)
    assert (waiting.kind, waiting.status, waiting.due_at) == ("update", "pending", line.start + dt.timedelta(0, 630))
    line.unreachable_are().at("10:29").at("10:30")
    assert line.got("0:31", "10:30") == ["mira update a"]
    assert [each.notification_id for at, each in line.sent][1:] == [waiting.notification_id], "under the same id"
    assert line.waiting() == []


def test_an_outcome_that_is_known_moves_nothing_when_it_comes_again_an_hour_later(begin: Begin) -> None:
    line, failed = update_that_failed(begin)
    later = line.now + dt.timedelta(hours=1)
    assert not line.engine.settled(failed.notification_id, "failed", "log", failed.attempts, later)
    assert line.waiting() == [failed]


def test_a_later_message_of_the_thread_replaces_one_that_failed(begin: Begin) -> None:
    line, failed = update_that_failed(begin)
    line.at("7:00").does("close", "a", verdict="benign")
    line.at("11:00")
    assert [each.kind for each in line.waiting()] == ["resolved"]
    dropped = line.engine.notifications[failed.notification_id]
    assert (dropped.status, dropped.settled_at) == ("dropped", line.start + dt.timedelta(0, 630))
    line.unreachable_are().at("20:00")
    assert line.got("0:31", "20:00") == ["mira resolved a"]


def test_a_message_that_failed_for_a_day_is_given_up(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("close", "a", verdict="benign").unreachable_are("mira")
    line.at("6:00")
    (failed,) = line.waiting()
    for hour in range(1, 27):
        line.at(f"{hour}:00:00")
    assert line.engine.notifications[failed.notification_id].status == "failed"
    assert line.waiting() == []


def test_a_message_names_what_is_new_first_and_no_more_than_two_hundred(begin: Begin) -> None:
    line = begin()
    for number in range(12):
        line.at(f"0:{number:02}").alert(f"alert-{number:02}")
    line.at("1:00").alert("urgent", level="medium", partners=["a", "b", "c"]).alert("late", level="low")
    line.at("6:00")
    update = next(each for _, each in line.sent if each.kind == "update")
    assert update.alert_ids[:3] == ["urgent", "late", "alert-00"]
    assert (update.news, update.more, update.priority) == (2, 0, "P2")


def test_what_is_left_out_is_counted() -> None:
    line = Timeline(rota())
    for number in range(207):
        line.alert(f"alert-{number}")
    line.at("0:30")
    ((_, first),) = line.sent
    assert (len(first.alert_ids), first.news, first.more) == (200, 200, 7)


def test_an_update_that_replaces_another_says_what_was_new_in_that(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", by="sander", assignee="sander").unreachable_are("mira")
    line.at("2:00").alert("b", level="low").does("assign", "b", by="sander", assignee="sander")
    line.at("6:00").alert("c").does("assign", "c", by="sander", assignee="sander")
    line.unreachable_are().at("10:30")
    (update,) = [each for at, each in line.sent if each.kind == "update"]
    assert (update.alert_ids, update.news) == (["c", "b", "a"], 2)


def test_history_is_taken_in_without_telling_anybody(begin: Begin) -> None:
    line = begin()
    long_ago = line.start - dt.timedelta(hours=24, seconds=1)
    line.at("0:00").alert("old", updated_at=long_ago, created_at=long_ago)
    line.alert("older", updated_at=long_ago, group={"place": "Southport"})
    line.at("9:00:00")
    assert line.got() == []
    assert line.state("old").is_active
    line.does("acknowledge", "old", for_s=60)
    line.at("9:01:01")
    assert line.got() == ["mira escalation old"], "somebody took it on, and has not finished it"
    line.alert("older", group={"place": "Southport"})
    line.at("9:01:02")
    assert line.got("9:01:01", "9:01:02") == ["mira first older"], "it grows"


def test_a_new_alert_beside_history_is_told(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("old", updated_at=line.start - dt.timedelta(days=3))
    line.at("2:00").alert("new")
    line.at("3:00")
    assert line.got() == ["mira first new,old"]
    line.at("4:00").does("close", "new", verdict="benign")
    line.at("20:00")
    assert line.got("3:01", "20:00") == ["mira update new,old"], "nobody is called about what is history"


def test_that_nobody_is_on_call_is_said_once_a_step(begin: Begin) -> None:
    steps = [(always(), 300.0), (always("tomas"), 300.0), (always(), 0.0)]
    line = begin(roster=rota(policies={"watch": steps}))
    line.at("0:00").alert("a")
    line.at("1:00")
    (row,) = line.unheard
    assert (row.channel, row.outcome, row.error, row.person) == ("none", "failed", "nobody is on call", "")
    assert (row.alert_ids, row.kind, row.at) == (["a"], "first", line.start + dt.timedelta(seconds=30))
    line.at("6:00")
    assert len(line.unheard) == 2
    assert len({each.delivery_id for each in line.unheard}) == 2


def test_what_an_ended_group_told_is_known_after_a_crash_before_it_was_written() -> None:
    line = Timeline(rota())
    line.at("0:00").alert("a").at("1:00")
    before = line.records["told/a"]
    line.alert("a", status="retracted").at("6:00")
    again = Lifecycle(line.roster)
    again.restore({**line.records, "told/a": before})
    assert again.tick(line.now).records == {"told/a": line.records["told/a"]}
