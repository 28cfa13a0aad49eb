"""``tocsin rules check``: everything that is wrong, in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.rules_cli import app
from schemas.settings import Settings

runner = CliRunner()
RULE = """title: {0}
name: {0}
logsource: {{product: {1}, category: tip_report}}
detection: {{s: {{{2}}}, condition: s}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yml").write_text("---\n".join(RULE.format(name, "tocsin", "txt: a") for name in ("one", "two")))
    (tmp_path / "b.yml").write_text(RULE.format("three", "tocsin", "'text|re': '(?<!a)[b]'"))
    (tmp_path / "c.yml").write_text("title: [")
    (tmp_path / "d.yml").write_text(RULE.format("five", "windows", "CommandLine: x"))
    return tmp_path


def test_every_error_of_every_file_is_told(folder: Path) -> None:
    result = runner.invoke(app, ["check", str(folder), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert not told["ok"]
    assert sorted((Path(each["path"]).name, each["line"]) for each in told["errors"]) == [
        ("a.yml", 1),
        ("a.yml", 6),
        ("c.yml", 2),
        ("d.yml", 1),
    ]
    assert all(each["reason"] for each in told["errors"])
    assert told["detections"] == 1
    assert any(each["rule"].endswith("b.yml:1") and "linear" in each["note"] for each in told["notes"])


def test_people_read_the_same(folder: Path) -> None:
    result = runner.invoke(app, ["check", str(folder)])
    assert result.exit_code == 1
    assert result.output.count("refused") == 4
    assert "(?<!a)[b]" in result.output.replace("\n", "")
    assert "4 wrong; 1 detections, 0 correlations" in result.output


def test_rules_of_other_products_pass_when_asked_for(folder: Path) -> None:
    wanted = [str(folder / name) for name in ("a.yml", "b.yml", "d.yml")]
    result = runner.invoke(app, ["check", *wanted, "--ignore-logsource", "--json"])
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert (told["ok"], told["detections"], told["errors"]) == (True, 4, [])
    assert len(told["version"]) == 12


def test_what_does_not_exist_is_an_error(tmp_path: Path) -> None:
    result = runner.invoke(app, ["check", str(tmp_path / "none"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)["reason"] == "no such file or folder"


def test_correlations_are_listed_and_shown() -> None:
    rules = ["--rules", str(Settings().rules_path), "--json"]
    listed = json.loads(runner.invoke(app, ["list", *rules]).output)
    assert {"detection", "value_count"} <= {each["type"] for each in listed}
    shown = json.loads(runner.invoke(app, ["show", "document_two_continents", *rules]).output)
    assert shown["families"] == ["border_crossing"]
    assert shown["condition"] == "value_count(geo.continent) gte 2 within 7200 s"
    base = json.loads(runner.invoke(app, ["show", "entry_with_document", *rules]).output)
    assert base["condition"] == "direction: ENTRY and document_number|exists: true"
