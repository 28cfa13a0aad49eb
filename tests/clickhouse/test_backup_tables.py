"""Tables to files and back over HTTP: every row once, and rollups neither lost nor counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.backup import tables
from deploy.backup.archive import Archive
from tests.clickhouse.conftest import Server

# Sums, which show what counting an event once by its id would hide.
MINUTES = (
    "CREATE TABLE a_hours (hour DateTime('UTC'), n UInt64) ENGINE = SummingMergeTree ORDER BY hour",
    "CREATE TABLE b_minutes (minute DateTime('UTC'), n UInt64, ids AggregateFunction(uniq, String)) "
    "ENGINE = AggregatingMergeTree ORDER BY (minute, n)",
    "CREATE TABLE c_events (at DateTime64(3, 'UTC'), id String, tags Array(LowCardinality(String)), "
    "groups Map(String, String), twice UInt8 MATERIALIZED 2) ENGINE = ReplacingMergeTree "
    "PARTITION BY toYYYYMM(at) ORDER BY id",
    "CREATE MATERIALIZED VIEW v_minutes TO b_minutes AS SELECT toStartOfMinute(at) AS minute, count() AS n, "
    "uniqState(id) AS ids FROM c_events GROUP BY minute",
    "CREATE MATERIALIZED VIEW v_hours TO a_hours AS SELECT toStartOfHour(minute) AS hour, sum(n) AS n FROM b_minutes "
    "GROUP BY hour",
)
ROWS = "SELECT at, id, tags, groups, twice FROM c_events ORDER BY ALL"
SUMS = ("SELECT sum(n) FROM a_hours", "SELECT sum(n), uniqMerge(ids) FROM b_minutes")


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with server.client() as client:
        client.command("CREATE DATABASE copied")
        client.database = "copied"
        for statement in MINUTES:
            client.command(statement)
        client.command(
            "INSERT INTO c_events (at, id, tags, groups) SELECT toDateTime64('2026-01-31 23:00:00', 3) + number * 20, "
            "toString(number), [concat('tag ', toString(number % 3))], map('k', toString(number)) FROM numbers(1000)"
        )
        yield client
        client.command("DROP DATABASE copied")


def held(client: Any) -> list[Any]:
    return [client.query(sql).result_rows for sql in (ROWS, *SUMS)]


def test_rows_and_rollups_come_back_once(client: Any, tmp_path: Path) -> None:
    client.command("TRUNCATE TABLE a_hours")
    client.command("INSERT INTO a_hours VALUES ('2020-01-01 00:00:00', 7)")  # older than what it was made from
    before, archive, said = held(client), Archive(tmp_path / "backup"), list[str]()
    stored = [tables.save(client, archive, each, said.append) for each in tables.tables_of(client)]
    assert [(each.name, each.rollup) for each in stored] == [("c_events", 0), ("b_minutes", 1), ("a_hours", 2)]
    assert stored[0].files == (
        "clickhouse/c_events/202601.native.zst",
        "clickhouse/c_events/202602.native.zst",
    )
    assert sum(archive.files[name].items for name in stored[0].files) == 1000
    tables.empty(client)
    assert tables.rows_held(client) == {}

    tables.restore(client, archive.folder, stored, lambda name: archive.files[name].items, said.append)
    assert held(client) == before


def test_a_rollup_that_the_backup_does_not_have_is_filled_once(client: Any, tmp_path: Path) -> None:
    before, archive = held(client), Archive(tmp_path / "backup")
    stored = [tables.save(client, archive, each, str) for each in tables.tables_of(client) if each.name != "a_hours"]
    tables.empty(client)
    tables.restore(client, archive.folder, stored, lambda name: archive.files[name].items, str)
    assert held(client) == before


def test_a_file_that_is_cut_short_is_no_backup(client: Any, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "backup")
    (stored,) = [tables.save(client, archive, each, str) for each in tables.tables_of(client)][:1]
    path = archive.folder / stored.files[0]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(tables.BackupError, match=r"202601\.native\.zst: ClickHouse's engine cannot read it"):
        tables.count_rows(path)
