"""What messages say, and what none may say outside."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.notify.message import LISTED, Message, compose
from schemas.alerts import TLP_ORDER
from schemas.lifecycle import AlertState
from tests.processors.notify.samples import DESK, notification, state

HIDDEN = ("AMBER", "AMBER_STRICT", "RED", "amber", "SECRET", "")
KINDS = ("first", "update", "escalation", "reopened", "resolved", "assigned")


def message(*states: AlertState, outside: bool = True, zone: str = "UTC", **changes: Any) -> Message:
    asked = notification(**({"alert_ids": [each.alert_id for each in states]} | changes))
    return compose(asked, states, desk_url=DESK, outside=outside, time_zone=zone)


def test_one_message_answers_what_a_watch_officer_asks() -> None:
    told = message(state(), zone="Europe/Berlin")
    assert told.subject == "[P1] Alert: One document in two countries, Berlin, Nairobi"
    assert told.text.splitlines() == [
        "P1 critical: One document in two countries",
        "What:       Document X1234567 was shown in Germany and in Kenya.",
        "Where:      Berlin, Nairobi / DE, KE",
        "When:       2026-03-01 11:30:00 UTC (12:30 in Europe/Berlin) until 2026-03-01 11:45:00 UTC",
        "Concerned:  bpol-de, hub-ke",
        "About:      document_number X1234567",
        "How sure:   confidence 80 of 100, 2 pieces of evidence",
        "Why urgent: level is critical; seen by 2 partners",
        "What to do: Call the duty officers of both services.",
        "State:      open",
        "Handling:   TLP:GREEN",
        "Look:       http://127.0.0.1:8500/alerts/a1",
    ]
    assert told.fields["alerts"][0]["story"] == state().story
    assert told.fields["alerts"][0]["url"] == "http://127.0.0.1:8500/alerts/a1"
    assert not told.redacted


def test_an_exercise_is_said_first() -> None:
    for tlp in ("GREEN", "RED"):
        told = message(state(exercise=True, tlp=tlp))
        assert told.subject.startswith("EXERCISE ")
        assert told.text.startswith("EXERCISE EXERCISE EXERCISE: this is a drill.")
        assert told.fields["exercise"]
    assert not message(state(), state("a2", exercise=True)).subject.startswith("EXERCISE")
    assert "EXERCISE P1 critical" in message(state(), state("a2", exercise=True)).text


def test_of_many_alerts_ten_are_told_in_their_order_and_the_rest_is_counted() -> None:
    many = [state("worst", priority="P1")] + [state(f"id-{number:02}", priority="P3") for number in range(14)]
    told = message(*many)
    assert told.text.count("What:") == LISTED
    assert told.text.startswith("1 of 15. P1 critical")
    assert "and 5 more: http://127.0.0.1:8500/" in told.text
    assert told.subject.endswith("(and 14 more)")
    assert (told.fields["alerts_total"], len(told.fields["alerts"])) == (15, LISTED)
    hidden = message(*many, state("secret", tlp="RED"))
    assert hidden.text.count("/alerts/") == LISTED
    assert "and 6 more" in hidden.text


def test_what_is_new_comes_first_and_is_marked() -> None:
    known = [state(f"id-{number:02}") for number in range(12)]
    told = message(state("late", rule_title="A ship without a name", priority="P3"), *known, kind="update", news=1)
    assert told.subject.startswith("[P1] Update: A ship without a name")
    assert told.text.splitlines()[0] == "New or changed since the last message: 1 of 13, told first."
    assert "1 of 13. NEW P3" in told.text
    assert "2 of 13. P1" in told.text
    assert [each["new"] for each in told.fields["alerts"]] == [True] + [False] * (LISTED - 1)
    assert (told.fields["alerts_new"], told.fields["alerts_total"]) == (1, 13)
    assert "NEW" not in message(*known, kind="update", news=12).text


def test_alerts_beyond_those_that_are_named_are_counted() -> None:
    for outside, tlp in ((False, "GREEN"), (True, "RED")):
        told = message(*(state(f"id-{number:02}", tlp=tlp) for number in range(11)), more=300, outside=outside)
        assert "and 301 more" in told.text
        assert told.fields["alerts_total"] == 311


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "closed", "verdict": "false_positive", "closed_by": "sander"}, "closed as false positive by sander"),
        ({"state": "assigned", "assignee": "mira"}, "assigned, with mira"),
        ({"state": "acknowledged", "acknowledged_by": "mira"}, "acknowledged by mira"),
        ({"withdrawn": True}, "withdrawn"),
    ],
)
def test_updates_say_what_became_of_an_alert(changes: dict[str, Any], says: str) -> None:
    told = message(state(**changes), kind="update")
    assert says in told.text
    assert told.subject.startswith("[P1] Update: ")


def test_values_of_events_make_no_lines_or_headers_of_their_own() -> None:
    told = message(state(rule_title="a\r\nBcc: all@desk.example", story="b\nLook: http://evil.example/\x1b[2J\u202e"))
    assert "\n" not in told.subject
    assert "\r" not in told.subject
    assert not any(line.startswith(("Bcc", "Look: http://evil")) for line in told.text.splitlines())
    assert told.text.replace("\n", "").isprintable()


def test_inside_the_organisation_everything_is_told() -> None:
    told = message(state(tlp="AMBER_STRICT"), outside=False)
    assert "X1234567" in told.text
    assert "TLP:AMBER+STRICT" in told.text
    assert not told.redacted


def test_a_message_without_states_still_says_where_to_look() -> None:
    told = compose(notification(), [], desk_url=None, outside=True)
    assert "tocsin alerts show a1" in told.text
    assert told.subject == "[P1] Alert: an alert, see the watch desk"


def test_the_watchdog_says_what_its_silence_means() -> None:
    told = message(kind="watchdog", priority="P4")
    assert "if one fails to come" in told.text
    assert DESK in told.text


WORDS = st.text(min_size=1, max_size=6)
CONTENT = st.fixed_dictionaries(
    {
        "story": WORDS,
        "rule_title": WORDS,
        "rule_id": WORDS,
        "response": WORDS,
        "level": st.sampled_from(("low", "high", "critical")),
        "tlp": st.sampled_from(HIDDEN),
        "confidence": st.integers(0, 100),
        "group": st.dictionaries(WORDS, WORDS, max_size=3),
        "priority_reasons": st.lists(WORDS, max_size=2),
        "partners": st.lists(WORDS, max_size=3),
        "families": st.lists(WORDS, max_size=2),
        "countries": st.lists(WORDS, max_size=2),
        "places": st.lists(WORDS, max_size=2),
        "tags": st.lists(WORDS, max_size=2),
        "lat": st.none() | st.floats(-90, 90),
        "evidence_total": st.integers(1, 99),
        "raised_at": st.datetimes(timezones=st.just(UTC)),
        "state": st.sampled_from(("open", "assigned", "closed")),
        "assignee": st.none() | WORDS,
        "group_key": WORDS,
    }
)


@settings(max_examples=50)
@given(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3), st.sampled_from(KINDS), st.tuples(WORDS, WORDS))
def test_outside_a_message_above_green_is_the_same_whatever_its_alerts_say(
    pairs: list[tuple[dict[str, Any], dict[str, Any]]], kind: str, keys: tuple[str, str]
) -> None:
    def composed(which: int) -> Message:
        states = [state(f"id-{number}", **pair[which]) for number, pair in enumerate(pairs)]
        return message(*states, kind=kind, group_key=keys[which])

    told = composed(0)
    assert told.redacted
    assert told == composed(1)


MARK = st.text("qxzjk", min_size=6, max_size=12).map(lambda text: f"Ω{text}")


@given(
    st.lists(st.sampled_from(TLP_ORDER), max_size=3),
    st.sampled_from(("AMBER", "AMBER_STRICT", "RED")),
    st.sampled_from(KINDS),
    st.data(),
)
def test_outside_no_text_of_any_alert_leaves_when_one_is_above_green(
    others: list[str], above: str, kind: str, data: st.DataObject
) -> None:
    states = []
    for number, tlp in enumerate([*others, above]):
        texts = {name: data.draw(MARK) for name in ("story", "rule_title", "rule_id", "response", "group_key")}
        lists = {name: [data.draw(MARK)] for name in ("partners", "places", "countries", "tags", "priority_reasons")}
        group = {data.draw(MARK): data.draw(MARK)}
        states.append(state(f"id-{number}", tlp=tlp, group=group, **texts, **lists))
    told = message(*states, kind=kind, notification_id=f"Ω/{states[0].group_key}", thread=states[0].group_key)
    assert told.redacted
    assert "Ω" not in told.subject + told.text + orjson.dumps(told.fields).decode()


@given(st.lists(st.sampled_from(("CLEAR", "GREEN")), min_size=1, max_size=5))
def test_green_and_clear_are_told_everywhere(labels: list[str]) -> None:
    told = message(*(state(f"id-{number}", tlp=tlp) for number, tlp in enumerate(labels)))
    assert not told.redacted
    assert "X1234567" in told.text


def test_who_is_assigned_an_alert_is_told_by_whom() -> None:
    made = message(state("a", assignee="tomas", state="assigned"), outside=False, kind="assigned", by="mira\nX: 1")
    assert made.subject.startswith("[P1] Assigned to you: ")
    assert "mira X: 1 assigned it to you." in made.text
    outside = message(state("a", tlp="RED"), kind="assigned", by="mira")
    assert "Assigned to you: there is an alert" in outside.text
    assert "mira" not in outside.text
