"""Each decision by itself: transitions, matchers, priority, silences, inhibition."""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args

import pytest

from processors.lifecycle.inhibition import Inhibition
from processors.lifecycle.machine import TRANSITIONS, allowed, refusal
from processors.lifecycle.matchers import MatcherError, check, matches
from processors.lifecycle.priority import priority
from processors.lifecycle.roster import InhibitRule
from processors.lifecycle.silences import covers, refused
from schemas.lifecycle import AlertState, Matcher, Silence, State
from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.timeline import START, Timeline


def state(name: str = "a", **fields: Any) -> AlertState:
    return Timeline(rota()).alert(name, **fields).state(name)


def test_every_state_takes_notes_and_has_a_row() -> None:
    assert set(TRANSITIONS) == set(get_args(State))
    assert all("note" in verbs for verbs in TRANSITIONS.values())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "closed"}, "the alert is closed; allowed: reopen, note"),
        ({"withdrawn": True}, "the alert is withdrawn; allowed: note"),
        ({"superseded_by": "b"}, "the alert is superseded by b; allowed: note"),
        (
            {"state": "assigned"},
            "the alert is assigned; allowed: unacknowledge, assign, start, close, note, merge",
        ),
        (
            {"merged_into": "b"},
            "the alert is open, merged into b; allowed: acknowledge, assign, start, close, note, split",
        ),
    ],
)
def test_a_refusal_names_the_state_and_what_is_allowed(fields: dict[str, Any], text: str) -> None:
    assert refusal(state().model_copy(update=fields)) == text


def test_allowed_knows_states_by_name_too() -> None:
    assert allowed("closed") == ("reopen", "note")


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("level", "=", "high", True),
        ("level", "!=", "high", False),
        ("level", "=~", "hi", False),
        ("level", "=~", "hi.*|low", True),
        ("level", "!~", "hi.*", False),
        ("partners", "=", "police-b", True),
        ("partners", "!=", "police-b", False),
        ("partners", "!=", "navy-c", True),
        ("group.place", "=", "Northport", True),
        ("group.missing", "=", "", True),
        ("exercise", "=", "false", True),
        ("lat", "=", "", True),
    ],
)
def test_matchers(field: str, op: Any, value: str, expected: bool) -> None:
    found = state(partners=["customs-a", "police-b"])
    assert matches([Matcher(field=field, op=op, value=value)], found) is expected


@pytest.mark.parametrize(
    ("field", "value", "text"), [("levle", "x", "'levle' is no field"), ("level", "(", "no regular expression")]
)
def test_a_matcher_that_is_wrong_says_why(field: str, value: str, text: str) -> None:
    with pytest.raises(MatcherError, match=text):
        check([Matcher(field=field, op="=~", value=value)])


@pytest.mark.parametrize(
    ("level", "confidence", "partners", "families", "tags", "expected"),
    [
        ("critical", 50, 1, [], [], "P1"),
        ("critical", 20, 1, [], [], "P2"),
        ("high", 50, 1, [], [], "P2"),
        ("high", 50, 3, [], [], "P1"),
        ("high", 50, 1, ["watchlist_entry"], [], "P1"),
        ("medium", 90, 2, [], [], "P2"),
        ("medium", 50, 2, [], [], "P3"),
        ("medium", 50, 3, [], ["tocsin.watchlist"], "P1"),
        ("low", 50, 1, [], [], "P4"),
        ("informational", 10, 1, [], [], "P4"),
    ],
)
def test_priority(
    level: str, confidence: int, partners: int, families: list[str], tags: list[str], expected: str
) -> None:
    names = [f"p{number}" for number in range(partners)]
    assert priority(level, confidence, names, families, tags, False)[0] == expected
    drill, reasons = priority(level, confidence, names, families, tags, True)
    assert drill == "P4"
    assert reasons[0] == f"exercise: it would be {expected} if it were live"


def test_priority_says_why_in_words() -> None:
    _, reasons = priority("medium", 20, ["a", "b", "c"], ["watchlist_entry"], [], False)
    assert reasons == [
        "level medium",
        "raised: seen by 3 partners",
        "raised: a watchlist hit",
        "lowered: confidence 20 is below 30",
    ]


def silence(**fields: Any) -> Silence:
    common = {"silence_id": "s", "author": "mira", "reason": "planned", "created_at": START, "matchers": []}
    return Silence(**{**common, "starts_at": START, "ends_at": START + dt.timedelta(hours=1), **fields})


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (silence(), "would hide everything"),
        (silence(matchers=[Matcher(field="nope", value="x")]), "is no field"),
        (silence(partner="a", ends_at=START), "not after it begins"),
        (silence(partner="a", starts_at=START - dt.timedelta(2), ends_at=START - dt.timedelta(1)), "is past"),
        (None, "needs a silence"),
        (silence(partner="a"), ""),
    ],
)
def test_silences_that_are_refused(made: Silence | None, text: str) -> None:
    reason = refused(made, None, START)
    assert text in reason
    assert bool(reason) == bool(text)


def test_a_maintenance_window_covers_feed_alerts_and_what_its_matchers_say() -> None:
    window = silence(partner="customs-a", matchers=[Matcher(field="level", value="low")])
    assert covers(window, state(kind="platform", group={"partner": "customs-a"}))
    assert not covers(window, state(kind="platform", group={"partner": "police-b"}))
    assert not covers(window, state())
    assert covers(window, state(level="low"))


RULE = InhibitRule(
    "r", (Matcher(field="level", value="critical"),), (Matcher(field="kind", value="correlation"),), (), 10, 600
)


def inhibitor(rule: InhibitRule, source: dict[str, Any], target: dict[str, Any]) -> str | None:
    states = {"source": state("source", **source), "target": state("target", **target)}
    return Inhibition((rule,), states).inhibitor(states["target"])


HERE = {"lat": 52.0, "lon": 4.0}
LATER = {"first_event_at": START + dt.timedelta(seconds=601), "last_event_at": START + dt.timedelta(hours=1)}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ({"level": "critical", **HERE}, HERE, "source"),
        ({"level": "high", **HERE}, HERE, None),
        ({"level": "critical", **HERE}, {"lat": 52.08, "lon": 4.0}, "source"),
        ({"level": "critical", **HERE}, {"lat": 52.1, "lon": 4.0}, None),
        ({"level": "critical", **HERE}, {}, None),
        ({"level": "critical", **HERE}, {**HERE, **LATER}, None),
        ({"level": "critical", **HERE}, {**HERE, **LATER, "first_event_at": START}, "source"),
        ({"level": "critical", "exercise": True, **HERE}, HERE, None),
        ({"level": "critical", **HERE}, {"level": "critical", **HERE}, None),
    ],
)
def test_inhibition_needs_both_sides_close_in_place_and_time(
    source: dict[str, Any], target: dict[str, Any], expected: str | None
) -> None:
    assert inhibitor(RULE, source, target) == expected


def test_inhibition_needs_equal_fields_and_takes_a_missing_one_for_empty() -> None:
    rule = InhibitRule("r", RULE.source, RULE.target, ("group.place", "group.none"), None, 600)
    assert inhibitor(rule, {"level": "critical"}, {}) == "source"
    assert inhibitor(rule, {"level": "critical"}, {"group": {"place": "Southport"}}) is None


def test_an_alert_never_inhibits_itself() -> None:
    states = {"a": state("a", level="critical", **HERE)}
    assert Inhibition((RULE,), states).inhibitor(states["a"]) is None
