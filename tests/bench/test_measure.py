"""Measuring from outside, on processes that are real."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from deploy.bench.latency import MAX_RATE, levels, percentiles
from deploy.bench.measure import StalledError, measure, median, running

BUSY = "import time\nend = time.time() + 60\nwhile time.time() < end: sum(range(10_000))"


def test_rate_counts_from_the_end_of_the_warm_up(tmp_path: Path) -> None:
    with running({"busy": [sys.executable, "-c", BUSY]}, os.environ, tmp_path) as processes:
        begin = time.monotonic()
        found = measure(processes, lambda: min(int((time.monotonic() - begin) * 1000), 5000), 5000)
    assert 3_500 <= found.events <= 4_500
    assert found.per_s == pytest.approx(1000, rel=0.1)
    assert 0 < found.processes["busy"].cpu_s <= found.wall_s + 0.3
    assert found.peak_rss_mb == pytest.approx(found.processes["busy"].peak_rss_mb, abs=1)
    assert min(found.rss_mb_at) > 1


def test_the_median_of_the_runs_counts(tmp_path: Path) -> None:
    with running({"idle": [sys.executable, "-c", "input()"]}, os.environ, tmp_path, talk=True) as processes:
        runs = [measure(processes, lambda: 100, 100) for _ in range(3)]
    figures = median(runs)
    assert figures["runs"] == [each.as_json()["events_per_s"] for each in runs]
    assert figures["events_per_s"] == sorted(figures["runs"])[1]


def test_a_process_that_dies_is_said_so(tmp_path: Path) -> None:
    with (
        running({"short": [sys.executable, "-c", "raise SystemExit(3)"]}, os.environ, tmp_path) as processes,
        pytest.raises(StalledError, match="short ended with 3 after 5 of 100 events"),
    ):
        measure(processes, lambda: 5, 100)


def test_standing_still_is_said_so(tmp_path: Path) -> None:
    with (
        running({"idle": [sys.executable, "-c", "input()"]}, os.environ, tmp_path, talk=True) as processes,
        pytest.raises(StalledError, match="no progress for 1 s at 5 of 100 events"),
    ):
        measure(processes, lambda: 5, 100, patience_s=1.0)


def test_loads_are_shares_of_the_rate_up_to_what_can_be_paced() -> None:
    assert levels(1000) == {"25%": 250, "50%": 500, "80%": 800}
    assert levels(MAX_RATE * 2)["80%"] == MAX_RATE


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([n / 1000 for n in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([]) == {}
