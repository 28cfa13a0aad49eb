"""Inline tests of rules: what passes, what fails with which words, and what is wrong with the test itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from processors.rule_files import load
from processors.rule_tests import TestResult, part_of, run

BASE = {
    "title": "Tip",
    "id": "11111111-1111-4111-8111-111111111111",
    "name": "tip",
    "logsource": {"product": "tocsin", "category": "tip_report"},
    "detection": {"s": {"entity.phone|exists": True}, "condition": "s"},
}
COUNT = {
    "title": "Three partners",
    "id": "22222222-2222-4222-8222-222222222222",
    "correlation": {
        "type": "value_count",
        "rules": ["tip"],
        "group-by": ["entity.phone"],
        "timespan": "10m",
        "condition": {"field": "header.partner", "gte": 3},
    },
}


def event(at: str, partner: str, **fields: Any) -> dict[str, Any]:
    return {"at": at, "family": "tip_report", "header.partner": partner, "entity.phone": "1", **fields}


THREE = [event("0s", "a"), event("5m", "b"), event("1m", "c")]


def results(tmp_path: Path, *tests: Any, **rule: Any) -> list[TestResult]:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump_all([BASE, COUNT | {"tocsin": {"tests": list(tests)}} | rule]))
    return run(load([file]))


def test_what_is_as_expected_passes(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        {"name": "fires", "events": THREE, "alerts": 1, "evidence": [[2, 0, 1]]},
        {"events": THREE[:2], "alerts": 0},
        {"name": "apart", "events": [*THREE, event("11m", "d")], "alerts": 1, "evidence": [[0, 1, 2, 3]]},
        {"name": "two", "events": [*THREE, *(event("1d", each) for each in "abc")], "alerts": 2},
    )
    assert [(each.name, each.ok, each.message) for each in found] == [
        ("fires", True, ""),
        ("test 2", True, ""),
        ("apart", True, ""),
        ("two", True, ""),
    ]
    assert {(each.rule_id, each.rule_title) for each in found} == {(COUNT["id"], COUNT["title"])}


def test_failures_say_what_was_expected_and_what_came(tmp_path: Path) -> None:
    none, other = results(
        tmp_path,
        {"events": THREE, "alerts": 0},
        {"events": [*THREE, event("5m", "a", **{"entity.phone": "2"})], "alerts": 1, "evidence": [[0, 1]]},
    )
    assert not none.ok
    assert none.message == "expected 0 alerts; came 1; events [0, 1, 2] of entity.phone 1, 0s to 300s"
    assert other.message.startswith("expected 1 alert, events [0, 1]; came 1; events [0, 1, 2]")


def test_only_the_named_rules_are_tested_and_need_no_others(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    alone = BASE | {"id": "33333333-3333-4333-8333-333333333333", "name": "other"}
    alone["tocsin"] = {"tests": [{"events": THREE, "alerts": 3}]}
    file.write_text(yaml.safe_dump_all([BASE, alone, COUNT | {"tocsin": {"tests": [{"events": THREE, "alerts": 1}]}}]))
    book = load([file])
    assert [(each.rule_id, each.ok) for each in run(book)] == [(alone["id"], True), (COUNT["id"], True)]
    assert [each.rule_id for each in run(book, [str(COUNT["id"])])] == [COUNT["id"]]
    part = part_of(book, book.correlations[0])
    assert [each.meta.id for each in part.rules] == [BASE["id"], COUNT["id"]]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("fires", "must be a mapping"),
        ({"events": THREE}, "alerts must say"),
        ({"events": THREE, "alerts": -1}, "alerts must say"),
        ({"events": THREE, "alerts": True}, "alerts must say"),
        ({"alerts": 1}, "events must be a list"),
        ({"events": ["x"], "alerts": 1}, "event 0: must be a mapping"),
        ({"events": THREE, "alerts": 1, "expect": 1}, "unknown key expect"),
        ({"events": [event("soon", "a")], "alerts": 1}, "at must be an offset such as 0s, 5m, 2h or 1d, found 'soon'"),
        ({"events": [event("-5m", "a")], "alerts": 1}, "at must be an offset"),
        ({"events": [event("99999999w", "a")], "alerts": 1}, "at must be an offset"),
        ({"events": [event("0s", "a", family="tips")], "alerts": 1}, "family 'tips' is not known"),
        ({"events": [event("0s", "a", family=None)], "alerts": 1}, "family None is not known; this rule reads one of"),
        ({"events": [event("0s", "a", phone="1")], "alerts": 1}, "tip_report has no field 'phone'"),
        ({"events": THREE, "alerts": 1, "evidence": [[0, 3]]}, "evidence index 3 is none of the events 0 to 2"),
        ({"events": THREE, "alerts": 1, "evidence": []}, "evidence lists 0 alerts, alerts says 1"),
        ({"events": THREE, "alerts": 1, "evidence": [0]}, "evidence must be a list with one list"),
    ],
)
def test_a_test_that_is_wrong_fails_and_says_so(tmp_path: Path, test: Any, words: str) -> None:
    (found,) = results(tmp_path, test)
    assert not found.ok
    assert words in found.message


def test_tests_must_be_a_list_and_on_a_rule_that_alerts(tmp_path: Path) -> None:
    (found,) = results(tmp_path, tocsin={"tests": {"events": THREE}})
    assert "must be a list of tests" in found.message
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump_all([BASE | {"tocsin": {"tests": [{"events": THREE, "alerts": 3}]}}, COUNT]))
    (found,) = run(load([file]))
    assert "no alerts by itself" in found.message


def test_values_of_yaml_are_those_of_events(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        BASE
        | {"logsource": {"product": "tocsin", "category": "watchlist_entry"}}
        | {"detection": {"s": {"valid_from|startswith": "2026-01", "exercise": True}, "condition": "s"}}
    )
    text += (
        "tocsin: {tests: [{alerts: 1, events: [{at: 0s, family: watchlist_entry, valid_from: 2026-01-31, "
        "exercise: true}]}]}\n"
    )
    (tmp_path / "rules.yml").write_text(text)
    assert [each.message for each in run(load([tmp_path / "rules.yml"]))] == [""]
