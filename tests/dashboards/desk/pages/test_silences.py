"""The page of silences: what is listed, what each covers, and which new ones are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboards.desk.dialogs import matchers_of, strays
from dashboards.desk.pages.silences import Line, cells, lines, scope_of
from schemas.lifecycle import Matcher, Silence
from tests.dashboards.desk.states import NOW, state

HOSTILE = "<img src=x onerror=alert(1)>"


def silence(name: str, begins_h: float, ends_h: float, **changes: Any) -> Silence:
    values: dict[str, Any] = {
        "silence_id": name,
        "matchers": [Matcher(field="rule_id", value="c0ffee")],
        "author": "anna",
        "reason": "known test",
        "starts_at": NOW + timedelta(hours=begins_h),
        "ends_at": NOW + timedelta(hours=ends_h),
        "created_at": NOW,
    }
    return Silence.model_validate(values | changes)


def test_what_holds_and_what_is_to_come_with_what_each_covers() -> None:
    silences = [silence("later", 2, 9), silence("holds", -1, 4), silence("over", -9, -1)]
    states = [
        state("held", silences=["holds"]),
        state("first", silences=["holds"], priority="P1"),
        state("other", rule_id="other"),
        state("closed", silences=["holds"], state="closed"),
    ]
    found = [
        (each.silence.silence_id, [alert.alert_id for alert in each.covered]) for each in lines(silences, states, NOW)
    ]
    assert found == [("holds", ["first", "held"]), ("later", ["first", "held"])]


def test_a_row_says_who_why_how_long_and_what() -> None:
    held = silence("s", -1, 4, reason=HOSTILE, author=HOSTILE, partner="hub-ke")
    covered = tuple(state(f"a{number}", rule_title=HOSTILE) for number in range(5))
    said = cells(Line(held, covered), {"c0ffee": "Two borders"}, {"hub-ke": HOSTILE}, NOW)
    assert all("<img" not in each for each in said)
    assert "rule_id = c0ffee (Two borders)" in said[0]
    assert "for 4 h" in said[3]
    assert "5 alerts (5 P2)" in said[4]
    assert "and 2 more" in said[4]
    coming = cells(Line(silence("s", 2, 4), covered[:1]), {}, {}, NOW)
    assert "begins in 2 h" in coming[3]
    assert "would cover 1 alert (1 P2)" in coming[4]
    assert cells(Line(held, ()), {}, {}, NOW)[4] == "nothing"


@pytest.mark.parametrize(
    ("written", "partner", "said"),
    [
        ("", "", "every alert would go silent"),
        ("exercise=false", "hub-ke", "add a narrower one"),
        ("level=low\n\nnonsense", "", "Condition 3: must be FIELD=VALUE"),
        ("level=loud", "", "Condition 1: level is one of"),
        ("partners=~(", "", "Condition 1"),
        ("group.=x", "", "Condition 1"),
        ("rule_id=", "", "add a narrower one"),
    ],
)
def test_what_is_wrong_with_a_scope_is_said(written: str, partner: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scope_of(written, partner)


def test_a_scope_of_conditions_and_of_a_maintenance_window() -> None:
    low, live = Matcher(field="level", value="low"), Matcher(field="exercise", value="false")
    assert scope_of("level=low\n\nexercise=false", "") == ([low, live], None)
    assert scope_of("", "hub-ke") == ([], "hub-ke")


def test_a_silence_of_an_alert_keeps_its_rule_or_its_group() -> None:
    rule, group, live = matchers_of(state("a"))
    assert strays([rule, live]) == strays([group]) == ""
    assert "Keep the rule or a part of the group" in strays([live])
    assert strays([])
