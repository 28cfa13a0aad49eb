"""``tocsin publish``: exit codes, the summary, and what it refuses before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from deploy.publish_cli import publish

DATA = Path(__file__).parent / "data"
GOOD = {"occurred_at": "2026-03-01T12:00:00Z", "tlp": "AMBER", "kind": "CARD"}
app = typer.Typer()
app.command()(publish)


@pytest.fixture(autouse=True)
def _nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("TOCSIN_REGISTRY_URL", "http://127.0.0.1:9")


def run(tmp_path: Path, *args: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, args), "--data-dir", str(tmp_path / "data")])


def payments(tmp_path: Path, *lines: bytes | dict[str, Any]) -> Path:
    path = tmp_path / "payments.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


FIU = ("--partner", "fiu-nl", "--family", "financial_transaction")


def test_a_dry_run_of_a_good_file_needs_no_platform(tmp_path: Path) -> None:
    result = run(tmp_path, payments(tmp_path, GOOD, GOOD), *FIU, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "2 events read, 2 valid (nothing sent), 0 refused" in result.output
    assert not (tmp_path / "data").exists()


def test_refused_lines_are_counted_shown_and_kept(tmp_path: Path) -> None:
    file = payments(
        tmp_path,
        GOOD,
        {**GOOD, "occurred_at": "2026-03-01T12:00:00"},
        {**GOOD, "lat": 91, "lon": 0},
        {**GOOD, "lat": 92, "lon": 0, "confidence": 200},
        {**GOOD, "partner": "cert-fr"},
        b'{"kind": "\xff"}',
        b"NaN",
        {**GOOD, "purpose_text": "x" * 1_200_000},
        b'{"a": "' + b"y" * 10_000_000 + b'"}',
        {"tlp": "AMBER", "kind": "CARD"},
    )
    result = run(tmp_path, file, *FIU, "--dry-run")
    assert result.exit_code == 3, result.output
    assert "10 events read, 1 valid (nothing sent), 9 refused" in result.output
    assert "  2 x less_than_equal" in result.output
    assert "    line 2: header.occurred_at: found '2026-03-01T12:00:00'; has no time zone: add Z" in result.output
    assert "(and 1 more)" in result.output
    (kept,) = (tmp_path / "data" / "refused").glob("payments-*.jsonl")
    entries = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [entry["line"] for entry in entries] == list(range(2, 11))
    assert [entry["reason"] for entry in entries] == [
        "time_naive",
        "less_than_equal",
        "less_than_equal",
        "partner_mismatch",
        "invalid_encoding",
        "invalid_json",
        "oversize",
        "line_too_long",
        "missing",
    ]
    assert entries[0]["field"] == "header.occurred_at"
    assert json.loads(entries[0]["raw"])["kind"] == "CARD"


def test_json_summary(tmp_path: Path) -> None:
    target = tmp_path / "here.jsonl"
    result = run(tmp_path, payments(tmp_path, GOOD, b"[]"), *FIU, "--dry-run", "--json", "--refused", target)
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert (report["read"], report["accepted"], report["refused"]) == (2, 1, 1)
    assert report["by_reason"] == {"not_an_object": 1}
    assert report["examples"][0]["line"] == 2
    assert report["refused_file"] == str(target)
    assert target.is_file()


def test_csv_with_its_mapping(tmp_path: Path) -> None:
    mapping = ("--mapping", DATA / "payments.yml")
    result = run(tmp_path, DATA / "payments.csv", *FIU, "--dry-run", "--json", *mapping)
    report = json.loads(result.stdout)
    assert result.exit_code == 3
    assert report["format"] == "csv"
    assert report["accepted"] == 4
    assert report["by_reason"]["string_pattern_mismatch"] == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--partner", "fiu", "--family", "tip_report"), "unknown partner 'fiu'"),
        (("--partner", "fiu-nl", "--family", "tip_report"), "fiu-nl may not publish tip_report"),
        (("--partner", "fiu-nl", "--family", "payments"), "no such family; choose one of border_crossing"),
        ((*FIU, "--tlp", "PINK"), "--tlp PINK: must be one of CLEAR, GREEN, AMBER, AMBER+STRICT, RED"),
        ((*FIU, "--format", "csv", "--dry-run"), "needs a mapping file: give --mapping FILE"),
        ((*FIU, "--format", "ucdp-ged", "--dry-run"), "use --family incident_report"),
        ((*FIU, "--format", "csv", "--mapping", "nope.yml", "--dry-run"), "nope.yml: cannot be read"),
        (FIU, "no Kafka broker answers at 127.0.0.1:9"),
    ],
)
def test_what_cannot_work_is_said_and_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], says: str
) -> None:
    import streams.producer

    start = streams.producer.PartnerProducer.start
    monkeypatch.setattr(streams.producer.PartnerProducer, "start", lambda self: start(self, timeout_s=0.3))
    result = run(tmp_path, payments(tmp_path, GOOD), *args)
    assert result.exit_code == 1
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path / "nope.jsonl", *FIU, "--dry-run")
    assert result.exit_code == 1
    assert "nope.jsonl: No such file or directory" in result.output


def test_help_teaches(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    for part in (
        "--dry-run",
        "--format ucdp-ged",
        "Exit code: 0 everything sent, 3 some lines refused",
        '"tlp": "AMBER"',
    ):
        assert part in result.output
