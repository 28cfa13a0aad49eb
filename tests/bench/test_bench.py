"""The whole bench on few events: the shape of what it prints, and that all systems find the same matches."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from deploy.bench import workload
from deploy.bench.peers import missing
from deploy.bench.run import Plan, bench
from deploy.bench_cli import bench as command
from deploy.bench_cli import show

FIGURES = {"events_per_s", "events_per_cpu_s", "peak_rss_mb", "latency_ms"}
INSTALLED = tuple(name for name in ("plain-faust", "quix") if not missing(name))


@pytest.fixture(autouse=True)
def _few_events_to_draw_rules_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rules do not need sixty thousand, which take ten seconds to make."""
    monkeypatch.setattr(workload, "SAMPLE", 6_000)


def test_the_bench_measures_tocsin_beside_its_peers() -> None:
    said: list[str] = []
    result = bench(Plan(events=3_000, rules=(10,), peers=INSTALLED, latency=False), said.append)
    assert result["workload"]["events"] == 3_000
    assert result["workload"]["rules"] == 10
    assert 0 < result["workload"]["events_matched"] < 300
    assert result["tocsin"].keys() >= FIGURES
    assert result["tocsin"]["events_per_s"] > 0
    assert set(result["tocsin"]["processes"]) == {"ingest-0", "correlate-0"}
    assert set(result["limits"]) == {"fastavro_decode_per_s", "getmany_per_s"}
    assert set(result["peers"]) == set(INSTALLED)
    for figures in result["peers"].values():
        assert figures.keys() >= FIGURES
        assert figures["events_matched"] == result["workload"]["events_matched"]
    assert any("measuring Tocsin" in each for each in said)
    text = StringIO()
    show(Console(file=text, width=120), json.loads(json.dumps(result)))
    assert "plain-faust" in text.getvalue()


def test_the_bench_runs_without_the_store_and_with_two_workers() -> None:
    plan = Plan(events=3_000, rules=(10,), partitions=2, workers=2, store=False)
    result = bench(plan, lambda _: None)
    assert result["tocsin"]["events_per_s"] > 0
    assert set(result["tocsin"]["processes"]) == {"ingest-0", "ingest-1", "correlate-0"}
    assert result["tocsin"]["latency_ms"] == {}
    assert 0 < result["tocsin"]["events_matched"] < 300
    assert "alerts" not in result["tocsin"]
    assert result["peers"] == {}


def test_rules_are_numbers() -> None:
    app = typer.Typer()
    app.command()(command)
    for wrong in ("ten", "0,10", "10,"):
        assert CliRunner().invoke(app, ["--rules", wrong]).exit_code == 2
