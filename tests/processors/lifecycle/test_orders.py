"""Commands: who wins, what is refused, merging and splitting; and alerts that go on under another id."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.processors.lifecycle.conftest import Begin


def test_of_two_officers_one_wins_and_the_other_is_told(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    seen = line.state("a").revision
    line.at("1:00").does("acknowledge", "a", by="mira", revision=seen)
    second = line.asks("close", "a", by="tomas", revision=seen, verdict="benign")
    assert not second.accepted
    assert second.reason == (
        "the alert has moved on since you looked (mira: acknowledge at 03:01:00 UTC); "
        "it is now acknowledged, look again"
    )
    assert line.state("a").state == "acknowledged"


def test_evidence_that_grew_is_no_reason_to_refuse(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    seen = line.state("a").revision
    line.at("0:10").alert("a", evidence_total=9)
    assert line.asks("acknowledge", "a", revision=seen).accepted


def test_a_note_is_never_too_late(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    seen = line.state("a").revision
    line.does("close", "a", verdict="benign")
    assert line.asks("note", "a", by="tomas", revision=seen, text="It was the training ship.").accepted
    assert line.state("a").notes == 1


@pytest.mark.parametrize(
    ("verb", "fields", "reason"),
    [
        ("close", {}, "close needs a verdict: true_positive, benign, false_positive, duplicate, exercise"),
        ("assign", {}, "assign needs an assignee: who is to work on it?"),
        ("note", {}, "a note needs a text"),
        ("reopen", {}, "the alert is open; allowed: acknowledge, assign, start, close, note, merge"),
        ("merge", {"target": "nobody"}, "there is no alert nobody to merge into"),
        (
            "merge",
            {"target": "a"},
            "the target is the alert itself, or is merged into it already; that would be a cycle",
        ),
        ("merge", {"target": "drill"}, "exercise and live alerts are kept apart; they cannot be merged"),
        ("merge", {"target": "done"}, "the target is closed; merge into one that is active, or reopen it first"),
        ("silence", {}, "silence needs a silence: matchers, author, reason, starts_at and ends_at"),
        ("expire_silence", {"silence_id": "x"}, "there is no silence x"),
    ],
)
def test_refusals(begin: Begin, verb: str, fields: dict[str, str], reason: str) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("drill", exercise=True).alert("done").does("close", "done", verdict="benign")
    before = line.state("a")
    action = line.asks(verb, "a", **fields)
    assert (action.accepted, action.reason) == (False, reason)
    assert line.state("a") == before


def test_an_unknown_alert_is_refused(begin: Begin) -> None:
    assert begin().asks("acknowledge", "x").reason == "there is no alert x"


def test_a_merged_alert_is_told_of_with_its_target(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b", group={"place": "Southport"})
    line.at("1:00").does("acknowledge", "a", for_s=7200)
    line.at("2:00").does("merge", "b", target="a")
    line.at("20:00")
    assert line.got("0:30", "0:30") == ["mira first a", "mira first b"]
    assert line.got("0:31", "20:00") == ["mira update a,b"], "nobody is called about b while a is worked on"
    assert line.state("b").state == "open"
    assert line.state("a").merged == ["b"]
    line.does("close", "a", verdict="true_positive")
    assert line.state("b").verdict == "true_positive"
    line.at("40:00")
    assert line.got("20:00", "40:00") == ["mira resolved a,b"]


def test_merging_never_makes_a_cycle(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b").alert("c")
    line.does("merge", "b", target="a").does("merge", "c", target="b")
    assert line.state("c").merged_into == "a"
    assert "cycle" in line.asks("merge", "a", target="c").reason


def test_a_split_alert_goes_its_own_way_again(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b", group={"place": "Southport"})
    line.at("0:10").does("merge", "b", target="a")
    line.at("1:00")
    assert line.got() == ["mira first a,b"]
    line.does("split", "b")
    assert line.state("a").merged == []
    line.at("7:00")
    assert line.state("b").group_key != line.state("a").group_key
    assert "mira update b" in line.got("1:00", "7:00")


def test_an_alert_goes_on_under_its_successor(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("note", "a", text="Known vessel.").does("assign", "a", assignee="sander")
    line.at("2:00").alert("b", version=5, supersedes=["a"]).alert(
        "a", version=6, status="superseded", superseded_by="b"
    )
    heir, gone = line.state("b"), line.state("a")
    assert (heir.state, heir.assignee, heir.notes, heir.supersedes) == ("assigned", "sander", 1, ["a"])
    assert heir.revision > 3
    assert gone.superseded_by == "b"
    line.at("30:00")
    assert line.got("0:31", "30:00") == ["mira update b", "sander assigned a", "sander update b"]
    line.does("close", "b", verdict="true_positive")
    line.at("40:00")
    assert line.got("30:01", "40:00") == ["mira resolved b", "sander resolved b"]
    assert len({(each.person, each.thread) for _, each in line.sent}) == 2, "everybody has one thread"


def test_a_successor_that_did_not_name_the_alert_inherits_when_the_alert_says_so(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("acknowledge", "a", for_s=7200)
    line.at("2:00").alert("b", version=5).alert("a", version=6, status="superseded", superseded_by="b")
    assert line.state("b").state == "acknowledged"
    line.at("1:00:00")
    assert line.got("0:31", "1:00:00") == ["mira update b"]


def test_a_successor_whose_first_version_was_compacted_away_inherits(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("acknowledge", "a", for_s=7200).does("note", "a", text="Seen.")
    line.at("2:00").alert("a", version=6, status="superseded", superseded_by="b").alert("b", version=7)
    heir = line.state("b")
    assert (heir.state, heir.notes, heir.supersedes) == ("acknowledged", 1, ["a"])
    line.at("1:00:00")
    assert line.got("0:31", "1:00:00") == ["mira update b"]
    line.at("2:02:00")
    assert line.state("b").state == "open", "the acknowledgement still has its end"


def test_a_successor_that_was_never_seen_itself_hands_on(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    line.at("1:00").does("assign", "a", assignee="sander")
    line.at("2:00").alert("a", version=6, status="superseded", superseded_by="b")
    line.alert("c", version=8, supersedes=["b"])
    assert (line.state("c").assignee, line.state("a").superseded_by) == ("sander", "c")


def test_two_situations_that_become_one_keep_the_most_advanced_state(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b", group={"place": "Southport"})
    line.at("1:00").does("start", "b", by="sander")
    line.at("2:00").alert("c", version=9, supersedes=["a", "b"])
    assert (line.state("c").state, line.state("c").assignee) == ("in_progress", "sander")
    assert line.state("a").superseded_by == line.state("b").superseded_by == "c"


def test_an_alert_that_comes_back_in_another_group_leaves_the_one_it_was_in(begin: Begin) -> None:
    line, south = begin(), {"place": "Southport"}
    line.at("0:00").alert("c", group=south).alert("a")
    line.at("1:00").alert("a", status="retracted")
    line.alert("c", status="superseded", superseded_by="a", group=south).alert("c", supersedes=["a"], group=south)
    line.at("6:00").silence("6:00", "1:00:00", level="high")
    line.at("7:00").alert("d", group=south, level="medium")
    line.at("8:00")
    assert line.got("6:01", "8:00") == ["mira first d"]


def test_closed_alerts_of_which_nobody_heard_of_one_become_one(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a", group={"place": "Southport"})
    line.at("1:00").does("close", "a", verdict="benign")
    line.at("1:00:00").alert("b").does("close", "b", verdict="benign")
    line.at("2:00:00").alert("c", supersedes=["a", "b"])
    assert (line.state("c").state, line.state("c").supersedes) == ("closed", ["a", "b"])


def test_a_command_that_names_a_superseded_alert_is_sent_to_its_successor(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b", supersedes=["a"])
    assert line.asks("acknowledge", "a").reason == "the alert is superseded by b; allowed: note"


def test_what_is_over_is_forgotten_after_thirty_days(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b")
    line.at("1:00").does("close", "a", verdict="benign").alert("b", status="retracted")
    line.at("719:59:00")
    assert "alert/a" in line.records
    line.at("1500:00:00")
    assert {key.partition("/")[0] for key in line.records} == {"command"}
    assert line.engine.next_due() is None


def test_actions_say_who_when_why_and_from_where(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a")
    action = line.at("1:00").asks("close", "a", by="tomas", verdict="benign", text="Harbour drill.")
    assert (action.by, action.via, action.at) == ("tomas", "desk", line.start + dt.timedelta(minutes=1))
    assert (action.before, action.after, action.revision) == ("open", "closed", 2)
    assert (action.text, action.details) == ("Harbour drill.", {"verdict": "benign"})
    assert len({each.action_id for each in line.actions}) == len(line.actions)


def test_closing_a_target_closes_what_was_merged_into_it(begin: Begin) -> None:
    line = begin()
    line.at("0:00").alert("a").alert("b", group={"place": "Southport"}).alert("c").alert("done")
    line.does("merge", "c", target="b").does("merge", "done", target="a").does("merge", "b", target="a")
    line.at("1:00").does("close", "done", by="tomas", verdict="duplicate")
    line.at("2:00").does("close", "a", by="tomas", verdict="benign", text="One ship.")
    for name in "abc":
        state = line.state(name)
        assert (state.state, state.verdict, state.closed_by) == ("closed", "benign", "tomas")
    assert line.state("done").verdict == "duplicate"
    closing = [each for each in line.actions if each.verb == "close" and each.alert_id in ("b", "c")]
    assert {(each.alert_id, each.by, each.text, each.details["merged_into"]) for each in closing} == {
        ("b", "tomas", "One ship.", "a"),
        ("c", "tomas", "One ship.", "a"),
    }
    line.at("3:00:00")
    assert line.got("2:00", "3:00:00") == ["mira resolved a,b,c,done"]
