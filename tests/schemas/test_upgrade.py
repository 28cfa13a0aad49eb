"""From any released version to the newest: tables keep their rows, and contracts read what was written by old ones."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract_check import RELEASED_DIR, released_versions
from schemas.migrations import load_migrations
from schemas.registry import AVRO_DIR, FAMILIES, load_schema
from tests.schemas.engine_process import report_of
from tests.schemas.event_strategies import records

UPGRADES = """
import json, shutil, sys, tempfile
from pathlib import Path
from schemas.migrations import load_migrations, migrate
from tests.schemas.memory_engine import client


def value(kind, mark):
    if kind.startswith("DateTime"):
        return "now64(3)"
    if kind in ("String", "LowCardinality(String)"):
        return f"concat('{mark}', toString(number))"
    return "number + 1" if kind.startswith(("UInt", "Int", "Float")) else None

def columns(table):
    return client.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND default_kind = '' "
        f"AND table = '{table}' ORDER BY position").result_rows

def tables():
    return [row[0] for row in client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
        "AND name != 'schema_migrations' AND engine NOT LIKE 'Aggregating%' ORDER BY name").result_rows]

def fill(mark):
    for table in tables():
        given = {name: value(kind, mark) for name, kind in columns(table)}
        given = {name: each for name, each in given.items() if each}
        names = ", ".join(f"`{name}`" for name in given)
        client.command(f"INSERT INTO {table} ({names}) SELECT {', '.join(given.values())} FROM numbers(3)")

def rows(shape):
    return {table: client.query(f"SELECT {', '.join(f'`{name}`' for name in names)} FROM {table} "
                                "ORDER BY ALL").result_rows for table, names in shape.items()}

report = {}
for count in range(1, len(load_migrations()) + 1):
    with tempfile.TemporaryDirectory() as folder:
        for each in load_migrations()[:count]:
            shutil.copy(each.path, folder)
        client.command(f"CREATE DATABASE from_{count}")
        client.command(f"USE from_{count}")
        migrate(client, Path(folder))
    fill("old")
    shape = {table: [name for name, _ in columns(table)] for table in tables()}
    before = rows(shape)
    applied = [each.version for each in migrate(client)]
    kept = rows(shape) == before
    fill("new")
    counted = "SELECT uniqMerge(events) FROM feed_minutes WHERE partner LIKE "
    report[count] = {
        "applied": applied,
        "kept": kept,
        "held": {table: len(each) for table, each in before.items()},
        "after": {table: len(each) for table, each in rows(shape).items()},
        "counted": [client.query(f"{counted} '{mark}%'").result_rows[0][0] for mark in ("old", "new")],
    }
print(json.dumps(report))
"""


def test_every_upgrade_keeps_all_rows_and_the_rollups_count_on() -> None:
    report = report_of(UPGRADES)
    newest = len(load_migrations())
    assert list(report) == [str(number) for number in range(1, newest + 1)]
    for number, found in report.items():
        assert found["applied"] == list(range(int(number) + 1, newest + 1))
        assert found["kept"], f"rows changed on the way from {number}"
        assert {"events", "quarantine", "signals", "alerts", "alert_evidence"} <= set(found["held"])
        assert set(found["held"].values()) == {3}
        assert set(found["after"].values()) == {6}
        # A view counts what is inserted from its making on.
        assert [int(each) for each in found["counted"]] == [0 if number == "1" else 3, 3]


@cache
def parsed(family: str, folder: Path = AVRO_DIR) -> Any:
    return fastavro.parse_schema(load_schema(family, folder))


@pytest.mark.parametrize("version", released_versions())
@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_the_newest_contract_reads_what_a_released_one_wrote(family: str, version: int, data: st.DataObject) -> None:
    folder = RELEASED_DIR / str(version)
    released, newest = parsed(family, folder), parsed(family)
    record = data.draw(records(family, folder))
    written = io.BytesIO()
    fastavro.schemaless_writer(written, released, record)
    written.seek(0)
    found = fastavro.schemaless_reader(written, released, newest)
    assert isinstance(found, dict)
    assert {name: found[name] for name in record if name != "header"} == {
        name: value for name, value in record.items() if name != "header"
    }
    assert found["header"].items() >= record["header"].items()
    assert set(found) == {field["name"] for field in load_schema(family)["fields"]}
