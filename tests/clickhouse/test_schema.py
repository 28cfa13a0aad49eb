"""The platform's own tables: every migration runs through the server, and events arrive as Arrow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.clickhouse.conftest import Server

MIGRATIONS = sorted((Path(__file__).resolve().parent.parent.parent / "schemas" / "clickhouse").glob("*.sql"))


def statements(text: str) -> list[str]:
    """The statements of a migration, one by one; comments may hold semicolons."""
    without_comments = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [part.strip() for part in without_comments.split(";") if part.strip()]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    client = server.client()
    assert MIGRATIONS
    for file in MIGRATIONS:
        for statement in statements(file.read_text()):
            client.command(statement)
    yield client
    client.close()


def events(count: int, first: int = 0, offset: int = 0) -> pa.Table:
    """Events as the ingest job writes them, ids ``e<first>`` and up, offsets from ``offset``."""
    now = datetime.now(UTC).replace(microsecond=123_456)
    times = pa.array([now - timedelta(seconds=n) for n in range(count)], pa.timestamp("us", "UTC"))
    words = pa.array([f"w{n % 7}" for n in range(count)])
    lists = pa.array([["a", f"b{n % 3}"] for n in range(count)], pa.list_(pa.string()))
    halves = pa.array([None if n % 2 else n / 2 for n in range(count)], pa.float64())
    text = [
        "partner",
        "family",
        "occurred_precision",
        "source_system",
        "tlp",
        "purpose",
        "legal_basis",
        "place",
        "country",
        "geo_country",
        "geo_place",
        "geo_continent",
        "summary",
        "payload",
        "topic",
    ]
    columns = dict.fromkeys(text, words)
    columns["family"] = pa.array(["incident_report"] * count)
    columns["partner"] = pa.array(["fiu-nl"] * count)
    columns |= dict.fromkeys(("releasable_to", "entities.type", "entities.value", "entities.role"), lists)
    columns |= dict.fromkeys(("occurred_at", "published_at", "ingested_at"), times)
    columns |= {
        "event_id": pa.array([f"e{first + n}" for n in range(count)]),
        "retain_days": pa.array([30] * count, pa.uint32()),
        "exercise": pa.array([True] * count),
        "late": pa.array([n % 10 == 0 for n in range(count)]),
        "confidence": pa.array([n % 100 for n in range(count)], pa.uint8()),
        "lat": halves,
        "lon": halves,
        "precision_m": pa.array([None if n % 2 else n for n in range(count)], pa.uint32()),
        "h3": pa.array([n << 40 for n in range(count)], pa.uint64()),
        "schema_id": pa.array([1] * count, pa.uint32()),
        "partition": pa.array([0] * count, pa.uint32()),
        "offset": pa.array([offset + n for n in range(count)], pa.uint64()),
    }
    return pa.table(columns)


def test_migrations_can_run_again(client: Any) -> None:
    for file in MIGRATIONS:
        for statement in statements(file.read_text()):
            client.command(statement)
    names = {row[0] for row in client.query("SHOW TABLES").result_rows}
    assert {"events", "quarantine", "signals", "alerts", "feed_minutes", "feed_minutes_events"} <= names


@pytest.mark.parametrize("settings", [{}, {"optimize_on_insert": 0}])
def test_events_arrive_as_arrow_once_after_final(client: Any, settings: dict[str, int]) -> None:
    client.command("TRUNCATE TABLE events")
    client.command("TRUNCATE TABLE feed_minutes")
    batch = events(1000)
    client.insert_arrow("events", batch, settings=settings)
    client.insert_arrow("events", events(1000, offset=5000), settings=settings)
    client.insert_arrow("events", pa.concat_tables([events(10), events(10)]), settings=settings)
    assert client.command("SELECT count() FROM events FINAL") == 1000
    assert client.command("SELECT max(offset) FROM events FINAL") == 999
    row = client.query("SELECT * FROM events FINAL WHERE event_id = 'e700'").first_item
    expected = {name: batch.column(name)[700].as_py() for name in batch.column_names}
    for name in ("occurred_at", "published_at", "ingested_at"):
        expected[name] = expected[name].replace(tzinfo=None, microsecond=123_000)
        row[name] = row[name].replace(tzinfo=None)
    assert {name: row[name] for name in expected} == expected
    counted = client.query("SELECT uniqMerge(events), uniqIfMerge(late) FROM feed_minutes").first_row
    assert counted == (1000, 100)


def test_background_merges_join_parts(client: Any) -> None:
    client.command("CREATE TABLE merged (a Int64) ENGINE = ReplacingMergeTree ORDER BY a")
    for _ in range(30):
        client.command("INSERT INTO merged SELECT number FROM numbers(100)")
    deadline = time.monotonic() + 20
    parts = 30
    while parts > 12 and time.monotonic() < deadline:
        time.sleep(0.2)
        parts = client.command(
            "SELECT count() FROM system.parts WHERE active AND table = 'merged' AND database = 'tocsin'"
        )
    assert parts <= 12
    assert client.command("SELECT count() FROM merged FINAL") == 100


def test_rows_past_their_retention_go(client: Any) -> None:
    client.command(
        "CREATE TABLE expiring (a Int64, at DateTime64(3, 'UTC'), days UInt32) ENGINE = MergeTree ORDER BY a "
        "TTL toDateTime(at) + toIntervalDay(days)"
    )
    client.command(
        "INSERT INTO expiring VALUES (1, now64(3) - INTERVAL 10 DAY, 5), (2, now64(3) - INTERVAL 10 DAY, 50)"
    )
    client.command("OPTIMIZE TABLE expiring FINAL")
    assert client.query("SELECT a FROM expiring").result_rows == [(2,)]
