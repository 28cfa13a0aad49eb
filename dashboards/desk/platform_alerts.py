"""Publishes the platform alerts that come of Grafana's webhook."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import KafkaException

from dashboards.desk.live import Live
from processors.grafana_alerts import GrafanaAlert, known_alerts, platform_alerts
from processors.sink import alert_rows
from schemas.alerts import ALERTS_TOPIC, Alert
from schemas.settings import Settings
from streams.outbox import DeliveryFailedError, Outbox
from streams.store import Store

DELIVERY_S: Final = 5.0

log = logging.getLogger(__name__)


class NotPublishedError(Exception):
    """Nothing was published, or not all; the same request may be sent again. The message says why."""


class PlatformAlerts:
    """Use from the event loop. ``live`` is what the lifecycle made of what was told before."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self._settings, self._live = settings, live
        self._outbox: Outbox | None = None
        self._store = Store(settings)
        self._told: dict[str, Alert] = {}
        self._lock = asyncio.Lock()
        self._inserts: set[asyncio.Task[float]] = set()

    async def take(self, received: Sequence[GrafanaAlert]) -> list[Alert]:
        """Publish what is new in a notification, and return it once Kafka has it.

        Raises:
            NotPublishedError: the log is not read yet, so that what was told before is not known; or Kafka does not
                take it.
        """
        async with self._lock:
            if not self._live.standing.loaded:
                raise NotPublishedError(f"not ready: {self._live.standing.text}")
            states = self._live.states
            self._told = {
                key: each
                for key, each in self._told.items()
                if key not in states or states[key].alert_version < each.version
            }
            found = platform_alerts(received, known_alerts(states.values(), self._told.values()), datetime.now(UTC))
            await self._publish(found)
            self._told |= {each.alert_id: each for each in found}
        return found

    async def _publish(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        records = [each.model_dump_json() for each in alerts]
        try:
            self._outbox = self._outbox or Outbox(self._settings, "tocsin-desk", DELIVERY_S)
            for alert, record in zip(alerts, records, strict=True):
                self._outbox.send(ALERTS_TOPIC, record.encode(), key=alert.alert_id)
            await self._outbox.delivered()
        except (DeliveryFailedError, KafkaException) as error:
            raise NotPublishedError(f"Kafka does not take the alerts: {error}") from error
        for alert in alerts:
            log.info("%s: %s", alert.status, alert.story)
        # The store may be what the alert is about: nobody waits for it, and it takes the row when it is back.
        task = asyncio.create_task(self._store.insert([("alerts", alert_rows(alerts, records))]))
        self._inserts.add(task)
        task.add_done_callback(self._inserts.discard)

    async def close(self) -> None:
        """Let go; rows that ClickHouse has not taken by now are missing there, not on the desk."""
        for task in self._inserts:
            task.cancel()
        await asyncio.gather(*self._inserts, return_exceptions=True)
        if self._outbox is not None:
            await asyncio.to_thread(self._outbox.close, 1.0)
            self._outbox = None
