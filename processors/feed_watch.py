"""Tells feed alerts and the watchdog: the tasks around :mod:`processors.feeds`, beside the lifecycle."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from typing import Protocol

from clickhouse_connect.driver.client import Client

from processors.feeds import FEED_SILENT, FeedReader, Known, Reading, feed_alerts, known_alerts
from processors.lifecycle.engine import Lifecycle
from processors.reloaded import Reloaded
from processors.sink import alert_rows
from processors.watchdog import FIRES_EVERY_S, watchdog_alert
from schemas.alerts import ALERTS_TOPIC, Alert
from schemas.partners import load_partners
from schemas.settings import Settings
from streams.metrics import LifecycleMetrics
from streams.outbox import Outbox
from streams.store import Store, connect

log = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0


class Host(Protocol):
    """The worker beside which this runs; ``engine`` is None while it owns nothing."""

    metrics: LifecycleMetrics
    outbox: Outbox
    store: Store

    @property
    def engine(self) -> Lifecycle | None: ...


class FeedWatch:
    """``idle`` says that all alerts told so far have come through the lifecycle."""

    def __init__(self, settings: Settings, host: Host, idle: Callable[[], bool]) -> None:
        self._settings, self._host, self._idle = settings, host, idle
        refused = host.metrics.config_refused.labels(settings.partners_file.name)
        self._partners = Reloaded(settings.partners_file, load_partners, refused.inc)
        self._reader = FeedReader()
        self._client: Client | None = None
        self._told: dict[str, Alert] = {}
        self._caught_up_with: Lifecycle | None = None

    async def watch_feeds(self) -> None:
        """For ever; a store that is away is asked again at the next look."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            engine = self._host.engine
            # Told before a restart and not yet taken in, an alert would be told a second time under another start.
            if engine is None or not self._has_caught_up(engine):
                continue
            now, known = dt.datetime.now(dt.UTC), self._known(engine)
            silent = {each.partner for each in known if each.rule_id == FEED_SILENT and not each.withdrawn}
            try:
                reading = await asyncio.to_thread(self._read, now, silent)
            except Exception as error:  # network, server and client errors have no common type
                self._client = None
                log.warning("cannot look at the feeds: %s", error)
                continue
            found = feed_alerts(reading, self._partners.content, now, known)
            if found and self._host.engine is engine:
                await self._tell(found)

    def _has_caught_up(self, engine: Lifecycle) -> bool:
        if self._caught_up_with is not engine and self._idle():
            self._caught_up_with = engine
        return self._caught_up_with is engine

    def _read(self, now: dt.datetime, silent: set[str]) -> Reading:
        self._partners.refresh()
        self._client = self._client or connect(self._settings, reader=True)
        return self._reader.read(self._client, now, self._partners.content, silent)

    def _known(self, engine: Lifecycle) -> list[Known]:
        states = [each for each in engine.states.values() if each.kind == "platform"]
        taken_in = {each.alert_id: each.alert_version for each in states}
        self._told = {key: each for key, each in self._told.items() if taken_in.get(key, -1) < each.version}
        return known_alerts(states, self._told.values())

    async def _tell(self, alerts: list[Alert]) -> None:
        records = [each.model_dump_json() for each in alerts]
        await self._host.store.insert([("alerts", alert_rows(alerts, records))])
        for alert, record in zip(alerts, records, strict=True):
            self._host.outbox.send(ALERTS_TOPIC, record.encode(), key=alert.alert_id)
            self._host.metrics.alerts.labels(alert.rule.id).inc()
            self._told[alert.alert_id] = alert
            log.info("%s: %s", alert.status, alert.story)

    async def fire_watchdog(self) -> None:
        """For ever: the alert that says that alerts get through. It stays out of the table of alerts."""
        while True:
            if self._host.engine is not None:
                alert = watchdog_alert(dt.datetime.now(dt.UTC))
                self._host.outbox.send(ALERTS_TOPIC, alert.model_dump_json().encode(), key=alert.alert_id)
            await asyncio.sleep(FIRES_EVERY_S if self._host.engine is not None else 1.0)
