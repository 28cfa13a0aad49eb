"""What the tables say of feeds: when each was last heard, what was refused, and since when ingest has listened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from processors.feeds import Feed, FeedReader, feed_alerts
from schemas.migrations import migrate
from tests.clickhouse.conftest import Server
from tests.processors.test_feeds import partners

NOW = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(minutes=2)
AGREED = partners("north", "south", "east", "west")
"""Each with an interval of 60 s."""


@pytest.fixture
def client(start: Callable[..., Server]) -> Iterator[Any]:
    found = start().client()
    migrate(found)
    yield found
    found.close()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def stored(client: Any, partner: str, *seconds_ago: float) -> None:
    """Events of a partner that were stored so long ago."""
    rows = [[f"{partner}-{each}", partner, "tip_report", ago(86_400), ago(each), 30] for each in seconds_ago]
    client.insert("events", rows, ["event_id", "partner", "family", "occurred_at", "ingested_at", "retain_days"])


def refused(client: Any, partner: str, count: int, seconds_ago: float) -> None:
    columns = ["quarantined_at", "kafka_at", "partner", "topic", "partition", "offset"]
    rows = [
        [ago(seconds_ago), ago(seconds_ago), partner, f"t.{partner}.{seconds_ago}", 0, each] for each in range(count)
    ]
    client.insert("quarantine", rows, columns)


def sampled(client: Any, *seconds_ago: float) -> None:
    rows = [[ago(each), "ingest-0", "tocsin_checkpoint_records_total", 1.0] for each in seconds_ago]
    client.insert("pipeline_metrics", rows, ["sampled_at", "worker", "metric", "value"])


def test_feeds_as_the_tables_have_them(client: Any) -> None:
    reader = FeedReader()
    assert reader.read(client, NOW, AGREED).listening_since is None
    stored(client, "north", 4000, 3601, 95, 91.5)
    stored(client, "south", 200, 70, 20)
    stored(client, "unknown", 10)
    refused(client, "south", 7, 40)
    refused(client, "south", 100, 3600)
    refused(client, "east", 25, 40)
    sampled(client, *range(0, 600, 5))

    reading = reader.read(client, NOW, AGREED)
    feeds = {each.partner: each for each in reading.feeds}
    assert feeds["north"] == Feed("north", ago(91.5), 2, 0), "the exact time, for it may be silent"
    assert (feeds["south"].accepted, feeds["south"].refused) == (3, 7)
    assert feeds["east"] == Feed("east", None, 0, 25)
    assert "west" not in feeds
    assert reading.listening_since is not None
    assert reading.listening_since <= ago(60)
    told = {(each.rule.title, each.partners[0]) for each in feed_alerts(reading, AGREED, NOW)}
    assert told == {("Feed silent", "north"), ("Partner error rate", "east")}

    later = NOW + timedelta(minutes=3)
    again = {each.partner: each for each in reader.read(client, later, AGREED).feeds}
    assert again["north"].heard_at == ago(91.5)
    stored(client, "north", -170)
    back = {each.partner: each for each in reader.read(client, later, AGREED).feeds}
    assert back["north"].heard_at is not None
    assert back["north"].heard_at > ago(0), "it has spoken again"


def test_a_gap_in_what_ingest_says_of_itself_begins_the_time_anew(client: Any) -> None:
    reader = FeedReader()
    sampled(client, *range(100, 180, 5), *range(0, 45, 5))
    assert reader.read(client, NOW, AGREED).listening_since == ago(40)
    assert reader.read(client, NOW + timedelta(seconds=31), AGREED).listening_since is None


def test_one_that_speaks_again_in_the_minute_in_which_it_fell_silent_is_heard(client: Any) -> None:
    reader = FeedReader()
    stored(client, "north", 25, 5)
    assert reader.read(client, NOW, AGREED).feeds[0].heard_at == ago(30), "the minute, as long as nobody misses it"
    assert reader.read(client, NOW, AGREED, {"north"}).feeds[0].heard_at == ago(5)
