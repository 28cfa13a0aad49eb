"""Words for times, values and conditions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboards import explain
from schemas.alerts import Alert
from tests.dashboards.engine import alert, evidence

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.42, "420 ms"),
        (0.9999, "1 s"),
        (12.34, "12.3 s"),
        (59.99, "1 min"),
        (61, "1 min 1 s"),
        (599.6, "10 min"),
        (3599, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "1 d"),
        (3 * 86_400 + 4 * 3600, "3 d 4 h"),
        (-2, "−2 s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert explain.duration(seconds) == text


@pytest.mark.parametrize(
    ("delta", "text"),
    [(timedelta(seconds=-5), "0 s"), (timedelta(seconds=59), "59 s"), (timedelta(hours=25), "1 d")],
)
def test_age(delta: timedelta, text: str) -> None:
    assert explain.age(NOW - delta, NOW) == text


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (["a", 2], "a, 2"), (2.0, "2"), (2.5, "2.5"), (True, "true"), (None, "null")]
)
def test_values_as_text(value: object, text: str) -> None:
    assert explain.as_text(value) == text


def test_account_names_condition_counts_and_window() -> None:
    account = dict(explain.account_of(Alert.model_validate(alert("a"))))
    assert account == {
        "Condition": "value_count of location.country gte 2 within 7200 s",
        "Observed": "4 (needed: at least 2)",
        "Window": "2 h",
        "Met by": "4 × A document is shown at a border",
    }


def test_account_keeps_what_it_does_not_know() -> None:
    record = alert("a", explain={"new": {"deep": [1, 2], "list": [{"x": 1}]}})
    pairs = dict(explain.account_of(Alert.model_validate(record)))
    assert pairs["new.deep"] == "1, 2"
    assert pairs["new.list[1].x"] == "1"


def test_steps_run_from_the_first_event_to_the_alert() -> None:
    steps = explain.steps_of(Alert.model_validate(alert("a")))
    assert [name for name, _, _ in steps] == [
        "First event happened",
        "Last event happened",
        "Last event published",
        "Last event ingested",
        "Alert raised",
    ]
    assert [took for _, _, took in steps] == ["", "21 min", "900 ms", "340 ms", "1 s"]


def test_steps_of_one_event_name_it_once() -> None:
    steps = explain.steps_of(Alert.model_validate(alert("a", evidence=[evidence(0)])))
    assert [name for name, _, _ in steps] == ["Event happened", "Event published", "Event ingested", "Alert raised"]


def test_printable_shows_control_characters() -> None:
    assert explain.printable("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec\nd"
    assert explain.printable("Görlitz 東京") == "Görlitz 東京"
