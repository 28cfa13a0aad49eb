"""Bringing one notification to one person: attempts with backoff and full jitter, then the person's next channel.

The next person is the business of processors/lifecycle, which hears ``failed``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from processors.notify.channels import Envelope, SendError, Senders
from processors.notify.limits import TokenBucket
from processors.notify.message import Message, compose, opaque, trial_message
from schemas.channels import Channel
from schemas.lifecycle import PRIORITIES, AlertState, Delivery, Notification
from schemas.oncall import OnCallPolicy

log = logging.getLogger(__name__)

Outcome = Literal["sent", "retry", "failed", "rate_limited"]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retry:
    """``attempts`` on one channel. Before the next one passes a random share of ``base_s``, doubled with each attempt
    up to ``cap_s``; a receiver's Retry-After is honoured up to ``longest_s``, beyond that the channel has failed."""

    attempts: int = 4
    base_s: float = 1.0
    cap_s: float = 20.0
    longest_s: float = 60.0


@dataclass(slots=True)
class _Log:
    """The rows of one notification. ``attempt`` goes on from attempts made before a restart."""

    notification: Notification
    now: datetime
    clock: Callable[[], float]
    started: float
    rows: list[Delivery] = field(default_factory=list)

    def at(self) -> datetime:
        return self.now + timedelta(seconds=self.clock() - self.started)

    def add(self, channel: Channel | None, outcome: Outcome, error: str, began: float, redacted: bool) -> None:
        asked = self.notification
        attempt = asked.attempts + len(self.rows) + 1
        at = self.now + timedelta(seconds=began - self.started)
        self.rows.append(
            Delivery(
                delivery_id=opaque(f"{asked.notification_id}\x1f{attempt}\x1f{at.isoformat()}"),
                notification_id=asked.notification_id,
                attempt=attempt,
                at=at,
                kind=asked.kind,
                person=asked.person,
                channel=channel.kind if channel else "none",
                address=channel.address if channel else "",
                outcome=outcome,
                error=error,
                took_ms=round((self.clock() - began) * 1000),
                group_key=asked.group_key,
                alert_ids=asked.alert_ids,
                redacted=redacted,
            )
        )


class Buckets(dict[Channel, TokenBucket]):
    """The rate of each channel; one whose settings change is another channel."""


class Deliverer:
    """Delivers by one policy. Keeps each channel's rate over all calls, so use one for all; calls may run at the same
    time, and should: one that waits for a slow receiver or for its turn must not hold back the others.

    ``buckets`` keep the rates over several deliverers, as when the policy is read anew. ``clock`` gives seconds
    (monotonic), ``sleep`` waits for them, ``chance`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        policy: OnCallPolicy,
        *,
        desk_url: str | None,
        senders: Senders | None = None,
        retry: Retry = Retry(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        buckets: Buckets | None = None,
    ) -> None:
        self._policy, self._desk_url, self._retry = policy, desk_url, retry
        self._senders = senders or Senders()
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._buckets = Buckets() if buckets is None else buckets

    async def deliver(
        self, notification: Notification, states: Sequence[AlertState], now: datetime
    ) -> tuple[Literal["sent", "failed"], list[Delivery]]:
        """Try the person's channels in order until one takes the message; gives a row for every attempt, and one for
        each channel that was left out since its rate was used up. Such a channel is waited for when the others fail.

        Never raises. The same notification again makes the same message under the same idempotency key.
        """
        rows = _Log(notification, now, self._clock, self._clock())
        try:
            sent = await self._deliver(notification, states, rows)
        except Exception as error:  # a notification that cannot be made must not end the others
            log.exception("notification %s cannot be delivered", notification.notification_id)
            rows.add(None, "failed", f"{type(error).__name__}: see the log of the worker", self._clock(), False)
            sent = False
        return ("sent" if sent else "failed"), rows.rows

    async def test(self, person: str, now: datetime) -> list[Delivery]:
        """Send a test message through every channel of a person; the rows are not meant for the delivery log."""
        asked = Notification(
            notification_id=f"test {person} {uuid.uuid4()}",
            thread="",
            kind="watchdog",
            person=person,
            policy="",
            step=0,
            group_key="",
            alert_ids=[],
            priority="P4",
            due_at=now,
        )
        asked = asked.model_copy(update={"thread": asked.notification_id})
        rows = _Log(asked, now, self._clock, self._clock())
        for channel in self._policy.channels_of(person):
            await self._through(channel, trial_message(person, self._desk_url), rows)
        return rows.rows

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._senders.aclose()

    async def _deliver(self, notification: Notification, states: Sequence[AlertState], rows: _Log) -> bool:
        channels = self._policy.channels_of(notification.person)
        if not channels:
            rows.add(None, "failed", "the on-call policy has no such person", self._clock(), False)
            return False
        person = self._policy.person(notification.person)
        messages = {
            outside: compose(
                notification,
                states,
                desk_url=self._desk_url,
                outside=outside,
                time_zone=person.time_zone if person else "UTC",
            )
            for outside in {channel.outside for channel in channels}
        }
        left_out: list[Channel] = []
        for channel in channels:
            message = messages[channel.outside]
            if not self._bucket(channel).try_take():
                rows.add(channel, "rate_limited", _LIMITED, self._clock(), message.redacted)
                left_out.append(channel)
            elif await self._through(channel, message, rows):
                return True
        for channel in left_out:
            await self._bucket(channel).take(PRIORITIES.index(notification.priority))
            if await self._through(channel, messages[channel.outside], rows):
                return True
        return False

    async def _through(self, channel: Channel, message: Message, rows: _Log) -> bool:
        """Attempts on one channel; the first one's token is taken."""
        asked = rows.notification
        for number in range(self._retry.attempts):
            began = self._clock()
            try:
                await self._senders.send(channel, Envelope(message, asked.notification_id, asked.thread, rows.at()))
            except Exception as error:
                pause = self._pause(number, error)
                rows.add(channel, "failed" if pause is None else "retry", _said(error), began, message.redacted)
                if pause is None:
                    return False
                await self._sleep(pause)
                await self._bucket(channel).take(PRIORITIES.index(asked.priority))
            else:
                rows.add(channel, "sent", "", began, message.redacted)
                return True
        return False

    def _pause(self, number: int, error: Exception) -> float | None:
        """Seconds until the next attempt; ``None`` when there is to be none."""
        if not isinstance(error, SendError) or not error.again:
            return None
        if number + 1 >= self._retry.attempts or (error.after_s or 0.0) > self._retry.longest_s:
            return None
        jitter = self._chance() * min(self._retry.cap_s, self._retry.base_s * 2.0**number)
        return max(jitter, error.after_s or 0.0)

    def _bucket(self, channel: Channel) -> TokenBucket:
        bucket = self._buckets.get(channel)
        if bucket is None:
            bucket = self._buckets[channel] = TokenBucket(channel.rate_limit, self._clock, self._sleep)
        return bucket


def _said(error: Exception) -> str:
    if isinstance(error, SendError):
        return str(error)
    # An error that nobody foresaw may have an address with a token in its text: only its place is logged.
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("a channel failed with %s at\n%s", type(error).__name__, place)
    return f"{type(error).__name__}: see the log of the worker"


_LIMITED: Final = "the channel's rate is used up"
