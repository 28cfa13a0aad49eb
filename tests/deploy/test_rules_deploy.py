"""``tocsin rules deploy`` where it needs no platform: refusals, and what a deployment changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.rules_deploy_cli import RefusedError, changes, checked, running
from processors.rule_files import load_texts
from processors.rulebook import Rulebook
from schemas.settings import Settings

runner = CliRunner()
BASE = """\
title: {title}
name: tip
id: 11111111-1111-4111-8111-111111111111
logsource: {{product: tocsin, category: tip_report}}
detection:
  words: {{text|contains: '{words}'}}
  condition: words
"""
ON_TOP = """\
title: Three tips
id: 22222222-2222-4222-8222-222222222222
correlation:
  type: event_count
  rules: [tip]
  group-by: [header.partner]
  timespan: 1h
  condition: {gte: 3}
"""
OTHER = """\
title: Another
id: 33333333-3333-4333-8333-333333333333
logsource: {product: tocsin, category: tip_report}
detection:
  words: {text|contains: lorry}
  condition: words
"""


@pytest.fixture(autouse=True)
def no_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine, these tests do not reach it."""
    monkeypatch.setenv("TOCSIN_KAFKA_BOOTSTRAP", "127.0.0.1:9")


def book(*texts: str) -> Rulebook:
    return load_texts([(Path(f"{number}.yml"), text) for number, text in enumerate(texts)])


def test_changes_name_rules_by_their_titles() -> None:
    tip, renamed = BASE.format(title="A tip", words="van"), BASE.format(title="A tip", words="vans")
    found = changes(book(tip, ON_TOP, OTHER), book(renamed, ON_TOP))
    assert found.removed == ["Another"]
    assert found.added == []
    assert "A tip" in found.changed
    assert changes(book(tip, OTHER), book(tip, OTHER)).unchanged == ["A tip", "Another"]
    assert changes(book(), book(tip)).added == ["A tip"]


def test_a_correlation_is_changed_where_what_it_stands_on_is() -> None:
    tip, renamed = BASE.format(title="A tip", words="van"), BASE.format(title="A tip", words="vans")
    assert "Three tips" in changes(book(tip, ON_TOP), book(renamed, ON_TOP)).changed


@pytest.mark.parametrize("command", ["deploy", "deployed"])
def test_there_is_help(command: str) -> None:
    result = runner.invoke(app, ["rules", command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("as_json", [True, False])
def test_broken_rules_are_refused_with_their_place_before_anything_is_asked(tmp_path: Path, as_json: bool) -> None:
    (tmp_path / "good.yml").write_text(OTHER)
    broken = tmp_path / "wrong.yml"
    broken.write_text(f"{OTHER.replace('3333', '4444')}---\n{OTHER.replace('text|', 'txt|').replace('3333', '5555')}")
    (tmp_path / "worse.yml").write_text("title: [")
    words = ["rules", "deploy", str(tmp_path), "--data-dir", str(tmp_path), *(["--json"] if as_json else [])]
    result = runner.invoke(app, words)
    assert result.exit_code == 1
    assert f"{broken}:8: " in result.stderr
    assert "txt" in result.stderr
    assert f"{tmp_path / 'worse.yml'}:2: " in result.stderr, "all that is wrong is told at once"
    if as_json:
        found = json.loads(result.stdout)
        assert not found["ok"]
        assert [each["line"] for each in found["errors"]] == [2, 8]


def test_a_folder_without_rules_is_no_rule_set(tmp_path: Path) -> None:
    result = runner.invoke(app, ["rules", "deploy", str(tmp_path), "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "no rules here" in result.stderr


def test_rules_that_fail_a_test_are_refused(tmp_path: Path) -> None:
    test = "{name: a lorry, events: [{at: 0s, family: tip_report, text: a van}], alerts: 1}"
    (tmp_path / "tip.yml").write_text(OTHER + f"tocsin: {{tests: [{test}]}}\n")
    with pytest.raises(RefusedError) as refused:
        checked([tmp_path])
    (error,) = refused.value.errors
    assert "a lorry" in error.reason
    assert "1 alert expected" in error.reason or "expected 1" in error.reason, error.reason


@pytest.mark.parametrize("words", [[], ["rules", "--version", "0123456789ab"]])
def test_either_files_or_a_version_is_deployed(words: list[str], tmp_path: Path) -> None:
    result = runner.invoke(app, ["rules", "deploy", *words, "--data-dir", str(tmp_path)])
    assert result.exit_code == 2


@pytest.mark.parametrize("command", [["deploy", str(Settings().rules_path)], ["deployed"]])
def test_a_platform_that_does_not_run_is_said_so(command: list[str], tmp_path: Path) -> None:
    result = runner.invoke(app, ["rules", *command, "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "tocsin up" in result.stderr


def test_only_workers_that_live_are_said_to_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    alive = {"pid": 1, "partitions": 4, "rules": "0123456789ab"}
    for name, content in {"a": alive, "b": alive | {"pid": 4_194_399}, "c": {"pid": 1, "partitions": 4}}.items():
        (tmp_path / "run" / f"{name}.json").write_text(json.dumps(content))
    assert running(Settings(data_dir=tmp_path)) == {"a": "0123456789ab"}
