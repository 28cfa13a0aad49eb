"""``tocsin alerts`` over the real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dashboards.alerts import AlertFilter, Store, StoreAwayError
from deploy import alerts_cli
from schemas.settings import Settings
from tests.dashboards.engine import EngineClient, alert, evidence, put_alerts


@pytest.fixture
def run(engine: EngineClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(alerts_cli, "open_store", lambda _data_dir: store)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(alerts_cli.app, list(arguments))

    return call


def test_list_shows_open_alerts_as_a_table_and_as_json(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("aaaa-1"), alert("bbbb-2", status="superseded", superseded_by="aaaa-1", level="low"))
    table = run("list").output
    assert "aaaa-1" in table
    assert "bbbb-2" not in table
    assert "EXERCISE" in table
    assert "Document X1234567 was shown" in table
    listed = json.loads(run("list", "--json", "--all").output)
    assert {each["alert_id"] for each in listed} == {"aaaa-1", "bbbb-2"}
    assert listed[0]["first_event_at"] == "2026-03-01T11:30:00.000000Z"


def test_list_filters(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("drill", level="high"), alert("live", level="low", exercise=False))
    ids = lambda *options: {each["alert_id"] for each in json.loads(run("list", "--json", *options).output)}  # noqa: E731
    assert ids("--live") == {"live"}
    assert ids("--exercise") == {"drill"}
    assert ids("--level", "medium") == {"drill"}
    assert ids("--partner", "nobody") == set()
    assert len(ids("--limit", "1")) == 1


def test_list_says_when_there_is_nothing_and_when_a_level_is_wrong(run: Any) -> None:
    assert "No alert to show" in run("list").output
    wrong = run("list", "--level", "urgent")
    assert wrong.exit_code == 2
    assert "is not a level" in wrong.output


def test_show_gives_story_and_evidence(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("aaaa-1", evidence=[evidence(1), evidence(0)], evidence_total=3))
    text = run("show", "aaaa-1").output
    for shown in (
        "Document X1234567 was shown in Germany and in Kenya",
        "2026-03-01 11:30:00",
        "document_number = X1234567",
        "events.border_crossing.v1 [0] @ 1000",
        "1 more events counted",
    ):
        assert shown in text
    assert text.index("[0] @ 1000") < text.index("[1] @ 1001")
    assert json.loads(run("show", "aaaa-1", "--json").output)["evidence_total"] == 3


def test_explain_tells_rule_version_condition_values_and_times(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("aaaa-1"))
    text = run("explain", "aaaa").output
    for shown in (
        "1f3a9c",
        "value_count of location.country gte 2 within 7200 s",
        "4 (needed: at least 2)",
        "2 h",
        "met the rule 'A document is shown at a border' with",
        "direction = entry",
        "published 900 ms after it happened, ingested 340 ms later, the alert was raised 1 s later",
        "Alert raised",
        "events.tip_report.v1 [3] @ 1003",
    ):
        assert shown in text


def test_ids_may_be_shortened_while_they_are_unique(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("abc-1"), alert("abc-2"), alert("abc-1-more"), alert("xyz"))
    assert run("show", "x").exit_code == 0
    assert run("show", "abc-1").exit_code == 0
    several = run("show", "abc")
    assert several.exit_code == 1
    assert "more than one" in several.stderr
    unknown = run("explain", "nope")
    assert unknown.exit_code == 1
    assert "No alert has an id that starts with 'nope'" in unknown.stderr
    assert run("show", "").exit_code == 1


def test_partners_words_are_neither_markup_nor_control_codes(engine: EngineClient, run: Any) -> None:
    hostile = "[red]x[/] \x1b]0;owned\x07 [/nonsense]"
    put_alerts(engine, alert("a", story=hostile, evidence=[evidence(0, summary=hostile, matched={"f": hostile})]))
    for command in (("list",), ("show", "a"), ("explain", "a")):
        result = run(*command)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "[red]x[/]" in result.output


def test_without_a_store_the_message_says_what_to_do(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, clickhouse_url="http://127.0.0.1:9")
    monkeypatch.setattr(alerts_cli, "open_store", lambda _data_dir: Store(settings))
    result = run("list")
    assert result.exit_code == 2
    assert (
        "ClickHouse at http://127.0.0.1:9 does not answer as expected ([Errno 111] Connection refused)" in result.stderr
    )
    assert "tocsin up" in result.stderr
    with pytest.raises(StoreAwayError):
        Store(settings).alerts(AlertFilter())
