"""``tocsin dashboards`` and the provisioned dashboards on a running platform."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards import cli
from dashboards.grafana import build, check
from tests.dashboards.engine import EngineClient


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def test_build_writes_once_and_check_notices_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PROVISIONING", tmp_path)
    missing = invoke("build", "--check")
    assert missing.exit_code == 1
    assert "tocsin dashboards build" in missing.stderr
    assert "written" in invoke("build").output
    path = tmp_path / build.JSON_FOLDER / "tocsin-feeds.json"
    assert json.loads(path.read_text())["uid"] == "tocsin-feeds"
    assert "was up to date" in invoke("build").output
    assert invoke("build", "--check").exit_code == 0
    path.write_text(path.read_text().replace("Events", "Occurrences"))
    assert invoke("build", "--check").exit_code == 1
    path.rename(path.with_name("tocsin-of-before.json"))
    assert "tocsin-of-before.json removed" in invoke("build").output.replace("\n", "")
    assert invoke("build", "--check").exit_code == 0


def test_check_prints_outcomes_and_fails_on_an_error(engine: EngineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.clickhouse, "connect", lambda _settings, *, reader: engine)
    good = invoke("check", "--json")
    assert good.exit_code == 0
    outcomes = json.loads(good.output)
    assert len(outcomes) >= sum(len(list(check.panel_queries(board))) for board in build.boards())
    assert all(outcome["errors"] == [] for outcome in outcomes)
    shown = invoke("check", "--rows", "1").output
    assert "merges" in shown
    assert "ok" in shown

    engine.query("RENAME TABLE pipeline_metrics TO hidden")
    try:
        bad = invoke("check")
    finally:
        engine.query("RENAME TABLE hidden TO pipeline_metrics")
    assert bad.exit_code == 1
    assert "pipeline_metrics" in bad.output


def test_check_without_a_store_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = invoke("check")
    assert result.exit_code == 2
    assert "tocsin up" in result.stderr


@pytest.mark.stack
def test_every_query_runs_on_the_platform(stack: Any) -> None:
    outcomes = check.check(stack.clickhouse(), now=datetime.now(UTC))
    assert {outcome.where: outcome.errors for outcome in outcomes if outcome.errors} == {}
