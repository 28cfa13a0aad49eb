"""Rollups hold what the events themselves say, however often and in whatever slices the events are written."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.dashboards.engine import EngineClient, alert, iso, put_alerts

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
KEYS = "partner, family, exercise, geo_continent"


def events(count: int) -> list[dict[str, Any]]:
    """Events of three days in random order, with all that the rollups look at."""
    chance = random.Random(7)
    rows = []
    for number in range(count):
        occurred = NOW - timedelta(seconds=chance.randrange(3 * 86_400))
        published = occurred + timedelta(milliseconds=chance.randrange(60_000))
        rows.append(
            {
                "event_id": f"e{number}",
                "partner": chance.choice(["bpol-de", "fiu-nl"]),
                "family": chance.choice(["border_crossing", "watchlist_entry"]),
                "occurred_at": iso(occurred),
                "published_at": iso(published),
                "ingested_at": iso(published + timedelta(milliseconds=chance.randrange(900))),
                "exercise": chance.random() < 0.2,
                "late": chance.random() < 0.1,
                "geo_continent": chance.choice(["EU", "AF", ""]),
                "schema_id": chance.choice([3, 4]),
                "retain_days": 365,
                "offset": number,
            }
        )
    return rows


@pytest.fixture
def filled(engine: EngineClient) -> EngineClient:
    """An engine with events, half of which came twice and in other slices."""
    rows = events(2000)
    for start in range(0, 2000, 500):
        engine.insert("events", rows[start : start + 500])
    engine.insert("events", rows[250:1250])
    return engine


@pytest.mark.parametrize(
    ("rollup", "raw"),
    [
        (
            f"SELECT minute, {KEYS}, schema_id, uniqMerge(events), uniqIfMerge(late), max(last_event) "
            f"FROM feed_minutes GROUP BY minute, {KEYS}, schema_id ORDER BY ALL",
            f"SELECT toStartOfMinute(ingested_at) AS minute, {KEYS}, schema_id, count(), countIf(late), "
            f"max(occurred_at) FROM events FINAL GROUP BY minute, {KEYS}, schema_id ORDER BY ALL",
        ),
        (
            f"SELECT hour, {KEYS}, uniqMerge(events) FROM feed_hours GROUP BY hour, {KEYS} ORDER BY ALL",
            f"SELECT toStartOfHour(ingested_at) AS hour, {KEYS}, count() FROM events FINAL "
            f"GROUP BY hour, {KEYS} ORDER BY ALL",
        ),
    ],
    ids=["feed_minutes", "feed_hours"],
)
@pytest.mark.parametrize("merged", [False, True], ids=["as inserted", "merged"])
def test_counts_are_those_of_the_events(filled: EngineClient, rollup: str, raw: str, merged: bool) -> None:
    if merged:
        for table in ("feed_minutes", "feed_hours"):
            filled.query(f"OPTIMIZE TABLE {table} FINAL")
    expected = filled.query(raw).result_rows
    assert len(expected) > 500
    assert filled.query(rollup).result_rows == expected


@pytest.mark.parametrize(
    ("column", "start", "end"),
    [("delay_ms", "occurred_at", "published_at"), ("latency_ms", "published_at", "ingested_at")],
)
def test_latencies_are_those_of_the_events(filled: EngineClient, column: str, start: str, end: str) -> None:
    rollup = filled.query(f"SELECT quantilesTDigestMerge(0.5, 0.95, 0.99)({column}) FROM feed_minutes").result_rows
    # A distribution, unlike a count, takes in what comes again; the half that did here is like the other.
    raw = filled.query(f"SELECT quantilesExact(0.5, 0.95, 0.99)(dateDiff('millisecond', {start}, {end})) FROM events")
    assert rollup[0][0] == pytest.approx(raw.result_rows[0][0], rel=0.03)


def test_time_until_stored_is_that_of_the_insert(engine: EngineClient) -> None:
    published = datetime.now(UTC) - timedelta(seconds=20)
    row = events(1)[0] | {"published_at": iso(published), "ingested_at": iso(published + timedelta(seconds=1))}
    engine.insert("events", [row])
    put_alerts(engine, alert("a1", published_at=iso(published)), alert("a2", published_at=iso(published)))
    put_alerts(engine, alert("a1", published_at=iso(published)), alert("a3", status="superseded"))
    upper = (datetime.now(UTC) - published).total_seconds() * 1000
    for table in ("feed_minutes", "alert_minutes"):
        found = engine.query(f"SELECT quantilesTDigestMerge(0.5, 0.95, 0.99)(stored_ms) FROM {table}").result_rows
        assert all(20_000 <= each <= upper for each in found[0][0]), table
    assert engine.query("SELECT uniqMerge(alerts) FROM alert_minutes").result_rows == [[2]]


def test_events_of_a_time_are_found_without_a_look_at_the_others(engine: EngineClient) -> None:
    now = datetime.now(UTC)
    engine.query(
        "INSERT INTO events (event_id, family, partner, occurred_at, ingested_at, retain_days) "
        f"SELECT toString(1000000 + number), 'tip_report', 'tipline-uk', at, at, 365 FROM "
        f"(SELECT number, toDateTime64({int(now.timestamp())} - 100000 + number, 3) AS at FROM numbers(100000))"
    )
    for column in ("occurred_at", "ingested_at"):
        plan = engine.query(f"EXPLAIN ESTIMATE SELECT count() FROM events WHERE {column} > now() - 600").result_rows
        assert sum(int(row[3]) for row in plan) <= 3 * 8192, plan
