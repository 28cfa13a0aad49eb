"""The ``tocsin`` command where it needs no platform."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import LATER, app
from deploy.lazy import Later
from deploy.report import percentiles
from deploy.rules_cli import LATER as RULES_LATER
from schemas.settings import PACKAGE_ROOT, Settings

RULES = str(Settings().rules_path)
runner = CliRunner()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["up"],
        ["publish"],
        ["rules", "check"],
        ["alerts", "list"],
        ["quarantine", "replay"],
        ["schemas", "check"],
        ["dashboards", "check"],
        ["bench"],
        ["doctor"],
        ["topics"],
        ["accounts", "add"],
        ["partners", "grant"],
        ["migrate"],
    ],
)
def test_every_command_has_help(words: list[str]) -> None:
    result = runner.invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(("name", "later"), [*LATER.items(), *RULES_LATER.items()])
def test_the_list_of_commands_says_of_each_what_it_says_of_itself(name: str, later: Later) -> None:
    assert inspect.cleandoc(later.load(name).help).split("\n\n")[0].replace("\n", " ") == later.help


def test_the_list_of_commands_needs_no_command() -> None:
    code = "import sys, deploy.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "deploy.lazy" in loaded
    assert not loaded & {"numpy", "pyarrow", "scipy", "faust", "nicegui", *(each.module for each in LATER.values())}


def test_the_shipped_rules_pass_the_check() -> None:
    result = runner.invoke(app, ["rules", "check", RULES, "--json"])
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["ok"]
    assert found["correlations"] >= 8


def test_a_broken_rule_is_refused_with_its_place(tmp_path: Path) -> None:
    rule = tmp_path / "rule.yml"
    rule.write_text("title: x\nlogsource: {product: tocsin, category: tip_report}\ndetection: {s: {txt: a}}\n")
    result = runner.invoke(app, ["rules", "check", str(rule), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert (found["path"], found["line"]) == (str(rule), 1)
    assert "condition" in found["reason"]


def test_rules_are_listed_and_shown_by_name_or_id() -> None:
    listed = json.loads(runner.invoke(app, ["rules", "list", "--rules", RULES, "--json"]).output)
    assert len(listed) >= 12
    one = listed[0]
    shown = json.loads(runner.invoke(app, ["rules", "show", one["id"], "--rules", RULES, "--json"]).output)
    assert shown == one
    assert runner.invoke(app, ["rules", "show", "no-such-rule", "--rules", RULES]).exit_code == 1


def test_an_unknown_peer_is_refused_before_anything_starts() -> None:
    result = runner.invoke(app, ["bench", "--peer", "nobody"])
    assert result.exit_code == 2


def test_a_platform_that_does_not_run_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = runner.invoke(app, ["alerts", "list", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {"p50": None, "p95": None, "p99": None}),
        ([5.0], {"p50": 5, "p95": 5, "p99": 5}),
        ([float(n) for n in range(1, 101)], {"p50": 50, "p95": 95, "p99": 99}),
    ],
)
def test_percentiles_are_by_nearest_rank(values: list[float], expected: dict[str, float | None]) -> None:
    assert percentiles(values) == expected
