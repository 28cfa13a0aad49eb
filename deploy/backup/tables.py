"""Rows of ClickHouse, to files in its Native format and back: one file each table and partition, packed with Zstandard.

Rollups are tables of their own here. They reach further back than the events that they count, so they cannot be made
anew; and their views fill them while the events are inserted, so they are emptied again before their own rows come.
ClickHouse's BACKUP is no way for this: it writes to a disk of the server's, which has to be set up for it.
Source: ClickHouse documentation, "Native" (formats) and "Backup and restore".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final

import zstandard
from clickhouse_connect.driver.client import Client

from deploy.backup.archive import Archive, BackupError, StoredTable

CHUNK: Final = 1 << 20
MIGRATIONS: Final = "schema_migrations"
_TARGET: Final = re.compile(r"^CREATE MATERIALIZED VIEW \S+ TO (?:`?\w+`?\.)?`?(\w+)`?", re.IGNORECASE)
_SETTINGS: Final = {
    "async_insert": 0,
    "max_partitions_per_insert_block": 0,
    # Rows that a merge would drop are counted, too, and that count is checked.
    "optimize_on_insert": 0,
}
Say = Callable[[str], None]
Rows = Callable[[str], int]


def tables_of(client: Client) -> list[StoredTable]:
    """The tables of the client's database without their files, each before the rollups that it fills."""
    names = client.query(
        "SELECT table, groupArray(name) FROM (SELECT table, name FROM system.columns "
        "WHERE database = currentDatabase() AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') "
        "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND engine LIKE '%MergeTree') ORDER BY table, position) GROUP BY table ORDER BY table"
    ).result_rows
    depths = _depths(client)
    found = [
        StoredTable(name=name, columns=tuple(columns), rollup=depths.get(name, 0), files=())
        for name, columns in names
        if name != MIGRATIONS
    ]
    return sorted(found, key=lambda table: table.rollup)


def _depths(client: Client) -> dict[str, int]:
    """Each rollup with the number of views on the way to it."""
    rows = client.query(
        "SELECT name, engine, create_table_query, dependencies_table FROM system.tables "
        "WHERE database = currentDatabase()"
    ).result_rows
    target = {
        name: match[1]
        for name, engine, text, _ in rows
        if engine == "MaterializedView" and (match := _TARGET.match(text))
    }
    fills = {name: [target[view] for view in views if view in target] for name, _, _, views in rows}
    depths: dict[str, int] = {}
    reached = [name for name in fills if name not in target.values()]
    for depth in range(1, len(target) + 1):
        reached = [each for name in reached for each in fills[name]]
        depths |= dict.fromkeys(reached, depth)
    return depths


def newest_migration(client: Client) -> int:
    """Number of the newest migration that the tables have; 0 without any."""
    found = client.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = {n:String}",
        parameters={"n": MIGRATIONS},
    ).result_rows
    return int(client.query(f"SELECT max(version) FROM {MIGRATIONS}").result_rows[0][0]) if found[0][0] else 0


def save(client: Client, archive: Archive, table: StoredTable, say: Say) -> StoredTable:
    """Write all rows of a table into the archive."""
    partitions = client.query(f"SELECT DISTINCT _partition_id FROM `{table.name}` ORDER BY 1").result_rows
    files = []
    for (partition,) in partitions:
        name = f"clickhouse/{table.name}/{partition}.native.zst"
        path = archive.path(name)
        columns = ", ".join(f"`{each}`" for each in table.columns)
        sql = f"SELECT {columns} FROM `{table.name}` WHERE _partition_id = {{p:String}}"
        answer: Any = client.raw_stream(sql, parameters={"p": partition}, fmt="Native")
        with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
            while chunk := answer.read(CHUNK):
                packed.write(chunk)
        rows = count_rows(path)
        stored = archive.add(name, rows)
        files.append(name)
        say(f"clickhouse {table.name} {partition}: {rows:,} rows, {stored.bytes / 1e6:.1f} MB")
    return table.model_copy(update={"files": tuple(files)})


def count_rows(path: Path) -> int:
    """Rows in a file, as the engine reads them: a count of what was written, not of what was asked for.

    Raises:
        BackupError: it cannot be read.
    """
    import chdb

    engine: Any = chdb
    quoted = str(path.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    try:
        return int(str(engine.query(f"SELECT count() FROM file('{quoted}', 'Native')", "CSV")))
    except Exception as error:  # the engine's errors have no type of their own
        raise BackupError(f"{path}: ClickHouse's engine cannot read it: {error}") from error


def restore(client: Client, folder: Path, stored: Sequence[StoredTable], rows: Rows, say: Say) -> None:
    """Insert the rows of all tables; ``rows`` says how many a file has.

    Raises:
        BackupError: fewer rows were written than a file has.
    """
    here = {table.name: table.rollup for table in tables_of(client)}
    for table in (each for each in stored if not here.get(each.name)):
        _insert(client, folder, table, rows, say)
    kept = {table.name for table in stored}
    for name, depth in here.items():
        # One that is newer than the backup stays as the rows just inserted have filled it, unless a rollup will.
        if depth and (name in kept or depth > 1):
            _truncate(client, name)
    for table in sorted((each for each in stored if here.get(each.name)), key=lambda each: here[each.name]):
        _truncate(client, table.name)
        _insert(client, folder, table, rows, say)


def _insert(client: Client, folder: Path, table: StoredTable, rows: Rows, say: Say) -> None:
    for name in table.files:
        written = client.raw_insert(
            table.name, table.columns, _unpacked(folder / name), _SETTINGS, "Native"
        ).written_rows
        # Rows that go on to a rollup by a view count as well.
        if written < rows(name):
            raise BackupError(f"{table.name}: {written:,} rows of {name} were stored, {rows(name):,} expected")
        say(f"clickhouse {name.removeprefix('clickhouse/').removesuffix('.native.zst')}: {rows(name):,} rows")


def _truncate(client: Client, name: str) -> None:
    client.command(f"TRUNCATE TABLE `{name}`")


def _unpacked(path: Path) -> Generator[bytes, None, None]:
    with path.open("rb") as file:
        yield from zstandard.ZstdDecompressor().read_to_iter(file, read_size=CHUNK, write_size=CHUNK)


def rows_held(client: Client) -> dict[str, int]:
    """Tables that are not empty, with their rows; the workers' own metrics do not count."""
    counts = {
        table.name: int(client.query(f"SELECT count() FROM `{table.name}`").result_rows[0][0])
        for table in tables_of(client)
        if table.name != "pipeline_metrics"
    }
    return {name: count for name, count in counts.items() if count}


def empty(client: Client) -> None:
    """Take every row out of every table."""
    for table in tables_of(client):
        _truncate(client, table.name)
