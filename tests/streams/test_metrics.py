"""What a worker samples for the dashboards."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from processors.ingest_worker import sample_metrics
from schemas.settings import Settings
from streams.metrics import Metrics
from streams.store import Store


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {(name, labels.get("table", "")): value for name, labels, value in metrics.samples()}


def test_a_process_tells_when_it_started() -> None:
    started = samples(Metrics())["process_start_time_seconds", ""]
    assert started == pytest.approx(psutil.Process(os.getpid()).create_time(), abs=1)


def test_inserts_are_timed_by_table_and_failed_attempts_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    store = Store(Settings(data_dir=tmp_path), metrics.store_retries.inc, metrics.inserted)
    attempts: list[str] = []

    def insert(name: str, rows: pa.Table) -> None:
        attempts.append(name)
        if len(attempts) == 1:
            raise OSError("no answer")

    monkeypatch.setattr(store, "_insert_now", insert)
    rows = pa.table({"a": [1]})
    asyncio.run(store.insert([("events", rows), ("signals", rows.slice(0, 0)), ("quarantine", rows)]))
    found = samples(metrics)
    assert attempts == ["events", "events", "quarantine"]
    assert found["tocsin_insert_seconds_count", "events"] == found["tocsin_insert_seconds_count", "quarantine"] == 1
    assert ("tocsin_insert_seconds_count", "signals") not in found
    assert found["tocsin_insert_seconds_sum", "events"] < 0.15, "the pause before the second attempt does not count"
    assert found["tocsin_store_retries_total", ""] == 1


def test_the_lag_of_a_partition_that_moved_is_sampled_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    store = Store(Settings(data_dir=tmp_path))
    sampled: list[dict[str, float]] = []

    def insert(name: str, rows: pa.Table) -> None:
        lags = [row for row in rows.to_pylist() if row["metric"] == "tocsin_consumer_lag"]
        sampled.append({dict(row["labels"])["partition"]: row["value"] for row in lags})

    monkeypatch.setattr(store, "_insert_now", insert)
    assigned: list[dict[tuple[str, int], int]] = [{("t", 0): 5, ("t", 1): 7}, {("t", 1): 6}]

    with pytest.raises(IndexError):  # it samples for ever
        asyncio.run(sample_metrics(metrics, "ingest-0", store, lambda: assigned.pop(0), 0.001))
    assert sampled == [{"0": 5, "1": 7}, {"1": 6}]
