"""The watchdog: an alert that always fires and, every so often, a message about it (a dead man's switch, as Prometheus'
``Watchdog`` is). When the message fails to come, alerts no longer reach those whom they are for.

It goes the way of every alert, through ``alerts.v1``, the lifecycle and the notifier. The lifecycle tells nobody of it
(its tag says so); what is to be sent is decided here, and ``watchdog/last`` on ``lifecycle-state.v1`` remembers it.
"""

from __future__ import annotations

import datetime as dt
import uuid

from pydantic import BaseModel, ConfigDict

from processors.alerts import NAMESPACE, platform_alert
from processors.lifecycle.groups import WATCHDOG_TAG
from processors.oncall import WatchdogDuty
from schemas.alerts import Alert, AlertRule
from schemas.lifecycle import LIFECYCLE_TOPIC, Notification
from streams.state import StateError

WATCHDOG = "tocsin.watchdog"
WATCHDOG_ID = str(uuid.uuid5(NAMESPACE, WATCHDOG))
WATCHDOG_KEY = "watchdog/last"
FIRES_EVERY_S = 60.0
_EARLY_S = 5.0
"""The alert comes every minute, and now and then a moment early: no reason to wait for the next one."""


class Last(BaseModel):
    """When the alert last came through, and when a message about it was last sent (aware UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heard_at: dt.datetime | None = None
    sent_at: dt.datetime | None = None


class Watchdog:
    """What is to be sent about the alert; no clock of its own.

    Raises:
        StateError: ``stored`` is no record of this version.
    """

    def __init__(self, stored: bytes | None = None) -> None:
        try:
            self.last = Last.model_validate_json(stored) if stored else Last()
        except ValueError as error:
            raise StateError(LIFECYCLE_TOPIC, WATCHDOG_KEY, error) from error
        self.pending: Notification | None = None

    def heard(self, alert: Alert, duty: WatchdogDuty | None) -> dict[str, bytes | None]:
        """The alert has come; what to write down. Without a duty it only shows in the metrics."""
        at = alert.updated_at
        if self.last.heard_at is not None and at <= self.last.heard_at:
            return {}
        self.last = self.last.model_copy(update={"heard_at": at})
        if duty is not None and self.pending is None and self._is_due(at, duty):
            self.pending = _notification(at, duty)
        return self.records()

    def _is_due(self, at: dt.datetime, duty: WatchdogDuty) -> bool:
        sent_at = self.last.sent_at
        return sent_at is None or (at - sent_at).total_seconds() >= duty.every_s - _EARLY_S

    def settled(self, sent: bool) -> dict[str, bytes | None]:
        """What became of the message; what to write down. One that failed is tried again when the alert next comes."""
        if sent and self.pending is not None:
            self.last = self.last.model_copy(update={"sent_at": self.pending.due_at})
        self.pending = None
        return self.records()

    def records(self) -> dict[str, bytes | None]:
        return {WATCHDOG_KEY: self.last.model_dump_json().encode()}


def _notification(at: dt.datetime, duty: WatchdogDuty) -> Notification:
    key = str(uuid.uuid5(NAMESPACE, f"{WATCHDOG}\x1f{duty.person}\x1f{int(at.timestamp())}"))
    return Notification(
        notification_id=key,
        thread=WATCHDOG,
        kind="watchdog",
        person=duty.person,
        policy="watchdog",
        step=0,
        group_key=WATCHDOG,
        alert_ids=[WATCHDOG_ID],
        priority="P4",
        due_at=at,
    )


def watchdog_alert(now: dt.datetime) -> Alert:
    """The alert that always fires; its version is the time in seconds, so that each one goes on from the last."""
    rule = AlertRule(
        id=WATCHDOG,
        title="Watchdog",
        version="1",
        level="informational",
        tags=[WATCHDOG_TAG],
        description="Always fires. When it stops coming, alerts no longer reach those whom they are for.",
        type="platform",
    )
    story = "The path of alerts works: this one always fires."
    return platform_alert(rule, WATCHDOG_ID, int(now.timestamp()), story, now, now)
