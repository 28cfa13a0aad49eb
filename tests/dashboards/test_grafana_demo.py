"""Every query of dashboards and alert rules over an hour of the demo: rows where it has some, and the right ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

import pytest

from dashboards.grafana import check
from dashboards.grafana.build import boards
from dashboards.grafana.macros import Plugin, Window, expand
from dashboards.grafana.model import Dashboard
from schemas.lifecycle import PRIORITIES
from tests.dashboards import demo
from tests.dashboards.engine import EngineClient, apply_schema

HOUR = timedelta(hours=1)
ALL = {"exercise": "all"}


@cache
def now() -> datetime:
    """When the demo is made, not when the tests are collected: some panels ask for the last minutes."""
    return datetime.now(UTC)


@cache
def end() -> datetime:
    """Behind it and behind its storing, which may be in the next minute."""
    return datetime.now(UTC) + timedelta(seconds=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    client = EngineClient(tmp_path_factory.mktemp("demo"))
    try:
        apply_schema(client)
        demo.fill(client, tmp_path_factory.mktemp("tables"), now())
        yield client
    finally:
        client.close()


def rows(store: EngineClient, title: str, **values: str | list[str]) -> list[dict[str, Any]]:
    """What the panel shows, by column."""
    board, query = next(
        (board, query) for board in boards() for query in check.panel_queries(board) if f"'{title}'" in query.where
    )
    window = Window(end() - HOUR, end(), timedelta(minutes=1))
    opening, _ = check.opening_values(store, board, window)
    answer = store.query(expand(query.sql, window, opening | ALL | values))
    return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def one(store: EngineClient, sql: str) -> Any:
    return store.query(sql).result_rows[0][0]


@pytest.mark.parametrize("plugin", get_args(Plugin))
def test_every_query_shows_what_the_demo_has(store: EngineClient, plugin: Plugin) -> None:
    # The one that opens by itself is the newest, which may be of a place alone and name nobody.
    phone = one(store, "SELECT any(alert_id) FROM alerts FINAL WHERE rule_title LIKE 'One phone number reported%'")
    outcomes = check.check(store, now=end(), values=ALL | {"alert": phone}, span=HOUR, expect_rows=True, plugin=plugin)
    assert {each.where: each.errors for each in outcomes if each.errors} == {}
    asked = sum(len(panel.targets) for board in boards() for panel in board.panels)
    asked += sum(variable.kind == "query" for board in boards() for variable in board.variables)
    assert len(outcomes) == asked + len(check.alert_queries())


@pytest.mark.parametrize(
    ("found", "put", "says"),
    [
        ("rule_title", "rule_titel", "rule_titel"),
        ("$__timeFilter(", "$__timeFliter(", "not a macro"),
        ("${exercise}", "${exercize}", "not a variable"),
        ("AS priority", "AS prioritee", "prioritee"),
    ],
)
def test_a_broken_column_macro_or_variable_makes_it_fail(store: EngineClient, found: str, put: str, says: str) -> None:
    def broken(board: Dashboard) -> Dashboard:
        panels = [
            replace(panel, targets=tuple(replace(each, sql=each.sql.replace(found, put)) for each in panel.targets))
            for panel in board.panels
        ]
        return replace(board, panels=tuple(panels))

    touched = [board for board in boards() if any(found in query.sql for query in check.panel_queries(board))]
    assert touched
    for board in touched:
        errors = [
            error
            for each in check.check(store, now=end(), values=ALL, span=HOUR, among=[broken(board)])
            for error in each.errors
        ]
        assert any(says in error for error in errors), errors


def test_exercises_show_only_when_chosen(store: EngineClient) -> None:
    assert rows(store, "Open alerts", exercise="live") == []
    assert len(rows(store, "Open alerts")) == one(store, "SELECT countIf(state != 'closed') FROM alert_states FINAL")


def test_response_is_of_the_chosen_partners_families_and_regions(store: EngineClient) -> None:
    def raised(**values: list[str]) -> int:
        return sum(int(row["alerts"]) for row in rows(store, "Alerts by rule", **values))

    everything = raised()
    for chosen in ({"partner": ["bpol-de"]}, {"family": ["tip_report"]}, {"region": ["AF"]}):
        assert 0 < raised(**chosen) < everything, chosen
        assert raised(**{name: ["nobody"] for name in chosen}) == 0


def test_the_floor_counts_what_is_open(store: EngineClient) -> None:
    (priorities,) = rows(store, "Open by priority")
    (now,) = rows(store, "Now")
    everything = rows(store, "Open alerts")
    held = [each for each in everything if each["shown_state"] == "held back"]
    assert len(held) == int(now["held_back"]) > 0, "the silence holds none back"
    open_ones = len(everything) - len(held)
    assert sum(int(priorities[each]) for each in PRIORITIES) == open_ones
    assert sum(int(row[each]) for row in rows(store, "Open by priority and age") for each in PRIORITIES) == open_ones
    assert sum(int(row[each]) for row in rows(store, "Who has it") for each in PRIORITIES) == open_ones
    burning = rows(store, "On fire: nobody has taken these")
    assert len(burning) == int(now["on_fire"]) > 0
    assert {each["level"] for each in burning} == {"critical"}
    assert {each["who"] for each in rows(store, "Who has it")} == {"nobody", "mira"}


def test_the_selectors_narrow_the_floor(store: EngineClient) -> None:
    everything = rows(store, "Open alerts")
    for name, value, column in (("partner", "bpol-de", "partners_text"), ("level", "critical", "level")):
        chosen = {each["alert_id"] for each in rows(store, "Open alerts", **{name: [value]})}
        assert chosen == {each["alert_id"] for each in everything if value in each[column].split(", ")}
        assert 0 < len(chosen) < len(everything)
    by_region = {code: len(rows(store, "Open alerts", region=[code])) for code in ("EU", "AF", "OC")}
    assert by_region["EU"] > by_region["AF"] > by_region["OC"] == 0
    assert {each["continent"] for each in rows(store, "Alerts raised, by region", region=["AF"])} >= {"Africa"}


def test_an_alert_is_shown_by_its_id_or_the_newest(store: EngineClient) -> None:
    newest = one(store, "SELECT alert_id FROM alerts FINAL WHERE length(partners) > 1 ORDER BY created_at DESC LIMIT 1")
    (state,) = rows(store, "State")
    assert one(store, f"SELECT length(partners) FROM alerts FINAL WHERE alert_id = '{state['alert_id']}'") > 1
    assert state["raised_at"] == one(store, f"SELECT created_at FROM alerts FINAL WHERE alert_id = '{newest}'")
    closed = one(store, "SELECT alert_id FROM alert_states FINAL WHERE verdict = 'false_positive'")
    (state,) = rows(store, "State", alert=closed)
    assert (state["alert_id"], state["state"], state["verdict"]) == (closed, "closed", "false_positive")
    words = {each["what"]: each["words"] for each in rows(store, "Story", alert=closed)}
    assert words["Story"].endswith(".")
    done = [each["verb"] for each in rows(store, "What was done", alert=closed)]
    assert done == ["close", "acknowledge", "raised"]
    assert "Twins with one surname." in {each["words"] for each in rows(store, "What was done", alert=closed)}
    assert {each["person"] for each in rows(store, "Who was told", alert=closed)} == {"ines"}
    assert rows(store, "State", alert="no such alert") == []


def test_lines_of_the_graph_lead_from_partners_to_entities_that_are_there(store: EngineClient) -> None:
    board, nodes, edges = next(
        (board, *(target.sql for target in panel.targets))
        for board in boards()
        for panel in board.panels
        if panel.kind == "nodeGraph"
    )
    window = Window(end() - HOUR, end())
    opening, _ = check.opening_values(store, board, window)
    drawn = 0
    for (alert_id,) in store.query("SELECT alert_id FROM alerts FINAL").result_rows:
        chosen = opening | {"alert": alert_id}
        ids = [row[0] for row in store.query(expand(nodes, window, chosen)).result_rows]
        drawn += bool(ids)
        assert len(ids) == len(set(ids))
        lines = store.query(expand(edges, window, chosen)).result_rows
        assert {end for line in lines for end in line[1:3]} == set(ids)
    assert drawn > 5


def test_responses_are_counted_and_timed(store: EngineClient) -> None:
    (summary,) = rows(store, "Response")
    raised = one(store, "SELECT count() FROM alert_states FINAL")
    assert int(summary["raised"]) == raised
    # Taken in minute 25, five minutes after the exercise of minute 20; closed ten minutes later.
    assert summary["take_median"] == pytest.approx(300, abs=1)
    assert summary["close_median"] == pytest.approx(900, abs=1)
    assert summary["false_positives"] == pytest.approx(1 / 4)
    verdicts = {each["verdict"]: int(each["alerts"]) for each in rows(store, "Verdicts")}
    assert verdicts == {"true_positive": 1, "false_positive": 1, "benign": 1, "exercise": 1}
    rules = rows(store, "Rules")
    assert sum(int(each["raised"]) for each in rules) == raised
    assert [each["false_share"] for each in rules if int(each["false_positive"])] == [1.0]
    assert sum(int(each["alerts"]) for each in rows(store, "Alerts by rule")) == raised
    (channel,) = rows(store, "Delivery, by channel")
    assert channel["delivered"] == 1
    assert sum(int(each["sent"]) for each in rows(store, "Attempts to deliver, by outcome")) == int(channel["attempts"])
