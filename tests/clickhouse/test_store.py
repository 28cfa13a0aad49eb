"""Rows that the sink makes arrive in ClickHouse as they are, whatever the batches were that they came in."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from deploy.demo.world import background
from processors.ingest import Ingest
from processors.rulebook import Rulebook
from processors.validate import Limits
from schemas.migrations import MigrationError, migrate, migrate_platform
from schemas.partners import load_partners
from schemas.registry import RegisteredSchema, load_schema, schema_text, subject_of, topic_of
from schemas.settings import Settings
from schemas.wire import encode
from streams import store as module
from streams.batching import PartitionBatch
from streams.store import Store
from streams.watermarks import Watermarks
from tests.clickhouse.conftest import FULL, Server
from tests.tls import tls_before

NOW = dt.datetime.now(dt.UTC)
FAMILIES = {"travel_booking": "platform-ie", "border_crossing": "bpol-de"}


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    name = "stored"
    with server.client() as client:
        client.command(f"CREATE DATABASE {name}")
    with server.client() as client:
        client.database = name
        migrate(client)
    yield name
    server.query(f"DROP DATABASE {name}")


def stored_rows(count: int) -> pa.Table:
    """``count`` events of each of two families as rows of ``events``, in batches of a few."""
    schemas = {
        number: RegisteredSchema(number, schema_text(family), (subject_of(family),))
        for number, family in enumerate(FAMILIES, 1)
    }
    limits = Limits(load_partners(Settings().partners_file), 300)
    ingest = Ingest(Rulebook((), ()), limits, Watermarks(), schemas.get, 1 << 20, 3600)
    tables = []
    for number, (family, partner) in enumerate(FAMILIES.items(), 1):
        events = background(partner, [family], 5, lambda: NOW)
        values = [encode(number, load_schema(family), next(events)[1]) for _ in range(count)]
        records = [
            SimpleNamespace(offset=offset, timestamp=0, timestamp_type=0, value=value)
            for offset, value in enumerate(values)
        ]
        for start in range(0, count, 7):
            batch = PartitionBatch(records[start : start + 7], topic_of(family), 0)
            tables.append(ingest.process(batch, NOW).tables["events"])
    return pa.concat_tables(tables)


@pytest.mark.parametrize("combined_bytes", [1 << 30, 0])
def test_events_are_stored_as_the_sink_made_them(
    server: Server, database: str, combined_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMBINED_BYTES", combined_bytes)
    rows = stored_rows(60)
    asyncio.run(Store(_settings(server, database)).insert([("events", rows), ("events", rows.slice(0, 0))]))
    names = ", ".join(f"`{name}`" for name in rows.column_names)
    with server.client() as client:
        found = client.query_arrow(
            f"SELECT {names} FROM {database}.events ORDER BY topic DESC, offset",
            use_strings=True,
            settings={"output_format_arrow_low_cardinality_as_dictionary": 0},
        )
    assert [_plain(row) for row in found.to_pylist()] == [_plain(row) for row in rows.to_pylist()]


def test_nulls_are_stored_as_nothing_and_the_others_said_to_be_none(server: Server, database: str) -> None:
    """ClickHouse reads what may be null at twice the price, so a stream says of each column whether it is."""
    rows = stored_rows(8)
    count, lists = rows.num_rows, rows.column("entities.value").to_pylist()
    holes: dict[str, pa.Array] = {
        "summary": pa.array([None, "seen"] * (count // 2)),
        "confidence": pa.array([None, 7] * (count // 2), pa.uint8()),
        "entities.value": pa.array([[None] * len(values) for values in lists], pa.list_(pa.string())),
        "precision_m": pa.array([None, 50] * (count // 2), pa.uint32()),
    }
    for name, values in holes.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    schema = pa.ipc.open_stream(module._ipc(rows)).schema
    nullable = {name for name in rows.column_names if rows.column(name).null_count}
    assert {field.name for field in schema if field.nullable} == nullable < set(rows.column_names)
    items = {field.name: field.type.value_field.nullable for field in schema if pa.types.is_list(field.type)}
    assert items == {"releasable_to": False, "entities.type": False, "entities.role": False, "entities.value": True}

    asyncio.run(Store(_settings(server, database)).insert([("events", rows)]))
    with server.client() as client:
        found = client.query(
            "SELECT summary, confidence, precision_m, arrayAll(empty, entities.value), count(),"
            f" sum(length(entities.value)) FROM {database}.events GROUP BY 1, 2, 3, 4 ORDER BY summary"
        ).result_rows
    halves = [sum(map(len, lists[first::2])) for first in (0, 1)]
    assert found == [("", 0, None, 1, count // 2, halves[0]), ("seen", 7, 50, 1, count // 2, halves[1])]
    assert all(halves)


def test_events_that_cannot_be_stored_are_tried_again_until_they_can(
    server: Server, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = stored_rows(8)
    server.query(f"ALTER TABLE {database}.events ADD CONSTRAINT shut CHECK offset < 0")
    found: list[str] = []

    def on_retry() -> None:
        found.append(server.query(f"SELECT count() FROM {database}.events"))
        if len(found) == 2:
            server.query(f"ALTER TABLE {database}.events DROP CONSTRAINT shut")

    asyncio.run(Store(_settings(server, database), on_retry).insert([("events", rows)]))
    assert found == ["0\n", "0\n"]
    assert server.query(f"SELECT count() FROM {database}.events") == f"{rows.num_rows}\n"
    reasons = [record.getMessage() for record in caplog.records if record.name == module.log.name]
    assert len(reasons) == 2
    assert all("insert of 16 rows into events failed" in reason and "`shut`" in reason for reason in reasons)


def test_lists_of_different_lengths_are_not_lost_in_silence(
    server: Server, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = stored_rows(4)
    longer = pa.array([[*values, "one more"] for values in rows.column("entities.value").to_pylist()])
    damaged = rows.set_column(rows.column_names.index("entities.value"), "entities.value", longer)

    async def attempt() -> None:
        refused = asyncio.Event()
        inserting = asyncio.create_task(Store(_settings(server, database), refused.set).insert([("events", damaged)]))
        await asyncio.wait_for(refused.wait(), 20)
        inserting.cancel()

    asyncio.run(attempt())
    assert "SIZES_OF_ARRAYS_DONT_MATCH" in caplog.text
    assert server.query(f"SELECT count() FROM {database}.events") == "0\n"


def _settings(server: Server, database: str) -> Settings:
    return Settings(
        clickhouse_url=server.url,
        clickhouse_user=FULL[0],
        clickhouse_password=FULL[1],
        clickhouse_database=database,
    )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what ClickHouse spells in another way: a type for times, numbers for booleans."""
    return {
        name: value.replace(tzinfo=None) if isinstance(value, dt.datetime) else int(value) if value is True else value
        for name, value in row.items()
    }


def test_the_store_is_reached_by_tls_where_its_authority_is_known(server: Server, tmp_path: Path) -> None:
    with tls_before(server.port, tmp_path) as (port, ca):
        settings = Settings(
            clickhouse_url=f"https://127.0.0.1:{port}",
            clickhouse_ca_location=ca,
            clickhouse_user=FULL[0],
            clickhouse_password=FULL[1],
        )
        client = module.connect(settings)
        assert client.query("SELECT 1").result_rows == [(1,)]
        client.close()
        unknown = settings.model_copy(update={"clickhouse_ca_location": None})
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            module.connect(unknown)
        with pytest.raises(MigrationError, match=rf"127\.0\.0\.1:{port} .*CERTIFICATE_VERIFY_FAILED"):
            migrate_platform(unknown)
