"""The readers over ClickHouse's HTTP protocol, with the official client and the user who cannot write."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from dashboards.alerts import AlertFilter, Store
from dashboards.grafana import check
from deploy import quarantine_cli
from schemas.migrations import migrate_platform
from schemas.settings import Settings
from streams.store import connect
from tests.dashboards.engine import ROOT, Json, alert, alert_row, iso

RAW = bytes(range(256))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The embedded store on a free port, with the committed schema."""
    folder = tmp_path_factory.mktemp("store")
    users = {"tocsin": {"password": "full", "readonly": False}, "reader": {"password": "read", "readonly": True}}
    (folder / "users.json").write_text(json.dumps(users))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "deploy.clickhouse", "--path", str(folder / "data"), "--port", str(port)]
    command += ["--users-file", str(folder / "users.json")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    found = Settings(
        data_dir=folder,
        clickhouse_url=f"http://127.0.0.1:{port}",
        clickhouse_password="full",
        clickhouse_reader_password="read",
    )
    try:
        _wait(found, process, folder / "log")
        migrate_platform(found)
        yield found
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connect(settings)
        except ClickHouseError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        else:
            return


def insert(settings: Settings, table: str, rows: list[Json]) -> None:
    connect(settings).raw_insert(
        table,
        insert_block="\n".join(json.dumps(row) for row in rows).encode(),
        fmt="JSONEachRow",
        settings={"date_time_input_format": "best_effort"},
    )


def test_alerts_are_read_by_the_user_who_cannot_write(settings: Settings) -> None:
    record = alert("a-1", group={"it's": 'a "value"'}, story="Ünïcode\n and 'quotes'")
    insert(settings, "alerts", [alert_row(record), alert_row(alert("b-2", exercise=False, level="low"))])
    store = Store(settings)
    rows = store.alerts(AlertFilter(level="medium", exercise=True, partner="hub-ke"))
    assert [row.alert_id for row in rows] == ["a-1"]
    assert rows[0].group == {"it's": 'a "value"'}
    assert rows[0].story == record["story"]
    assert rows[0].exercise is True
    assert rows[0].first_event_at == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert store.resolve("a") == "a-1"
    read = store.alert("a-1")
    assert read is not None
    assert read.group == record["group"]
    assert store.alert("a' OR 1=1 --") is None
    with pytest.raises(ClickHouseError):
        connect(settings, reader=True).command("TRUNCATE TABLE alerts")


def test_refused_bytes_come_back_as_they_were(settings: Settings) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    client = connect(settings)
    client.insert(
        "quarantine",
        [[now, now, "undecodable", "events.tip_report.v1", 1, 7, len(RAW), RAW]],
        column_names=["quarantined_at", "kafka_at", "reason", "topic", "partition", "offset", "size", "raw"],
    )
    store = Store(settings)
    records = quarantine_cli.find(store, "undecodable", None, 10)
    assert [record.position for record in records] == ["events.tip_report.v1/1/7"]
    assert quarantine_cli.raw_of(store, records) == {"events.tip_report.v1/1/7": RAW}


def test_every_dashboard_query_runs_as_the_reader(settings: Settings) -> None:
    sample = {"worker": "w", "metric": "tocsin_consumer_lag", "labels": {}, "value": 1.0}
    insert(settings, "pipeline_metrics", [sample | {"sampled_at": iso(datetime.now(UTC))}])
    outcomes = check.check(connect(settings, reader=True), now=datetime.now(UTC) + timedelta(seconds=2))
    assert {outcome.where: outcome.errors for outcome in outcomes if outcome.errors} == {}
    assert outcomes
