"""Looking at a running platform through its store, as a reader would: counts by partner, alerts as they appear."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from clickhouse_connect.driver.client import Client

from schemas.settings import Settings
from streams.store import connect

POLL_S = 0.1
OVERLAP = dt.timedelta(seconds=10)


@dataclass(frozen=True)
class Seen:
    """An alert version and the time (epoch seconds) at which a reader could first see it."""

    record: dict[str, Any]
    version: int
    status: str
    seen_at: float

    @property
    def latency_ms(self) -> float:
        """From the publication of its latest evidence to being readable, in milliseconds."""
        published = dt.datetime.fromisoformat(self.record["published_at"])
        return (self.seen_at - published.timestamp()) * 1000


class AlertWatch:
    """Polls the alerts table in a thread.

    ``alerts`` holds the newest version of each alert whose events were published at ``since`` or later. What the
    platform says of its own feeds is not among them: it is in ``about_feeds``.
    """

    def __init__(self, settings: Settings, since: dt.datetime) -> None:
        self._settings, self._since = settings, since
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alert-watch", daemon=True)
        self.alerts: dict[str, Seen] = {}
        self.about_feeds: dict[str, Seen] = {}
        self.latencies_ms: list[float] = []

    def __enter__(self) -> AlertWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        client: Client | None = None
        newest = self._since
        while not self._stop.is_set():
            try:
                client = client or connect(self._settings, reader=True)
                newest = max(newest, self._poll(client, newest - OVERLAP))
            except Exception:  # the store may be restarting; the next round asks again
                client = None
                self._stop.wait(1.0)
            self._stop.wait(POLL_S)

    def _poll(self, client: Client, since: dt.datetime) -> dt.datetime:
        rows = client.query(
            "SELECT alert_id, version, status, record, updated_at FROM alerts "
            "WHERE updated_at >= {since:DateTime64(3)}",
            parameters={"since": since},
        ).result_rows
        now = time.time()
        newest = since
        for alert_id, version, status, record, updated_at in rows:
            newest = max(newest, updated_at.replace(tzinfo=dt.UTC))
            known = self.alerts.get(alert_id) or self.about_feeds.get(alert_id)
            if known is not None and known.version >= version:
                continue
            seen = Seen(json.loads(record), version, status, now)
            if seen.record["kind"] == "platform":
                self.about_feeds[alert_id] = seen
                continue
            # A restarted worker may tell older alerts again, or for the first time.
            if dt.datetime.fromisoformat(seen.record["published_at"]) < self._since:
                continue
            self.alerts[alert_id] = seen
            if status == "open":
                self.latencies_ms.append(seen.latency_ms)
        return newest


@dataclass
class PartnerCounts:
    """Of one partner since the start: records accepted and refused, and accepted per second of late."""

    accepted: int = 0
    refused: int = 0
    rate: float = 0.0
    last_event: dt.datetime | None = None


@dataclass
class Totals:
    """Of the whole platform since the start."""

    stored: int = 0
    quarantined: int = 0
    signals: int = 0
    notifications: int = 0
    lag: int = 0
    partners: dict[str, PartnerCounts] = field(default_factory=dict)


RATE_WINDOW_S = 10


def totals(client: Client, since: dt.datetime) -> Totals:
    """Counts of everything ingested at or after ``since``; each event counts once."""
    parameters = {"since": since}
    found = Totals()
    for partner, stored, recent, last in client.query(
        "SELECT partner, uniqExact(event_id), "
        f"uniqExactIf(event_id, ingested_at > now64(3) - {RATE_WINDOW_S}) / {RATE_WINDOW_S}, max(ingested_at) "
        "FROM events WHERE ingested_at >= {since:DateTime64(3)} GROUP BY partner",
        parameters=parameters,
    ).result_rows:
        found.partners[partner] = PartnerCounts(stored, 0, recent, last)
        found.stored += stored
    for partner, refused in client.query(
        "SELECT partner, uniqExact(topic, partition, offset) FROM quarantine "
        "WHERE quarantined_at >= {since:DateTime64(3)} GROUP BY partner",
        parameters=parameters,
    ).result_rows:
        found.partners.setdefault(partner or "(unknown)", PartnerCounts()).refused += refused
        found.quarantined += refused
    found.signals = client.query(
        "SELECT count() FROM signals FINAL WHERE ingested_at >= {since:DateTime64(3)}", parameters=parameters
    ).result_rows[0][0]
    found.notifications = client.query(
        "SELECT uniqExact(notification_id) FROM notifications WHERE outcome = 'sent' AND kind != 'watchdog' "
        "AND at >= {since:DateTime64(3)}",
        parameters=parameters,
    ).result_rows[0][0]
    found.lag = int(
        client.query(
            "SELECT sum(lag) FROM (SELECT argMax(value, sampled_at) AS lag FROM pipeline_metrics "
            "WHERE metric = 'tocsin_consumer_lag' AND sampled_at >= {since:DateTime64(3)} GROUP BY worker, labels)",
            parameters=parameters,
        ).result_rows[0][0]
    )
    return found
