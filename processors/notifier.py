"""Sending what the lifecycle wants sent: a bounded number at a time, each until it is settled.

A notification that was sent and whose record was lost, because the worker was killed in between, is sent again under
the same idempotency key: a receiver that keeps to it, or a mail program, shows it once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from schemas.lifecycle import AlertState, Delivery, Notification

log = logging.getLogger(__name__)

AT_A_TIME = 64
PER_PERSON = 8
"""Of the messages on their way at a time. One person's slow or rate-limited channel must not hold up the others."""
Outcome = Literal["sent", "failed"]


class Delivers(Protocol):
    """What takes a message to a person, through whichever of their channels works."""

    async def deliver(
        self, notification: Notification, states: Sequence[AlertState], now: dt.datetime
    ) -> tuple[Outcome, list[Delivery]]: ...


@dataclass(frozen=True)
class Settled:
    """What became of one notification, and every attempt."""

    notification: Notification
    outcome: Outcome
    deliveries: list[Delivery]

    @property
    def channel(self) -> str:
        """The one that took it, or the last that was tried."""
        return self.deliveries[-1].channel if self.deliveries else ""


class Notifier:
    """Sends for one event loop; ``on_settled`` is called whenever there is something for :meth:`settled`.

    Of one thread, one message is on its way at a time: an update must not arrive behind what came after it.
    """

    def __init__(
        self, on_settled: Callable[[], None], at_a_time: int = AT_A_TIME, per_person: int = PER_PERSON
    ) -> None:
        self._on_settled, self._at_a_time, self._per_person = on_settled, at_a_time, per_person
        self._to: Counter[str] = Counter()
        self._sending: dict[_Thread, asyncio.Task[Settled]] = {}
        self._settled: list[Settled] = []
        self.stopping = False

    @property
    def sending(self) -> int:
        """How many are on their way now."""
        return self._to.total()

    def send(
        self,
        pending: Iterable[Notification],
        states: Mapping[str, AlertState],
        deliverer: Delivers,
        now: Callable[[], dt.datetime],
    ) -> None:
        """Start as many as there is room for, in the order given, each thread's earliest first; those on their way
        already are passed over."""
        for notification in _earliest(pending):
            if self.stopping or self.sending >= self._at_a_time:
                return
            thread, person = _thread(notification), notification.person
            if thread not in self._sending and self._to[person] < self._per_person:
                self._to[person] += 1
                about = [states[each] for each in notification.alert_ids if each in states]
                task = asyncio.create_task(self._send(notification, about, deliverer, now))
                self._sending[thread] = task
                task.add_done_callback(partial(self._done, thread))

    async def _send(
        self,
        notification: Notification,
        states: list[AlertState],
        deliverer: Delivers,
        now: Callable[[], dt.datetime],
    ) -> Settled:
        try:
            outcome, deliveries = await deliverer.deliver(notification, states, now())
        except Exception:  # a channel's own mistake: the next person is told instead, and nobody else is held up
            log.exception("notification %s to %s", notification.notification_id, notification.person)
            outcome, deliveries = "failed", []
        return Settled(notification, outcome, deliveries)

    def _done(self, thread: _Thread, task: asyncio.Task[Settled]) -> None:
        self._to[thread[0]] -= 1
        if task.cancelled():
            del self._sending[thread]
        else:
            self._settled.append(task.result())
            self._on_settled()

    def settled(self) -> list[Settled]:
        """What was settled since the last call; it counts as on its way until :meth:`recorded`."""
        found, self._settled = self._settled, []
        return found

    def recorded(self, settled: Iterable[Settled]) -> None:
        """The engine knows now what became of these."""
        for each in settled:
            self._sending.pop(_thread(each.notification), None)

    def cancel(self) -> list[asyncio.Task[Settled]]:
        """Stop what is on its way; it is neither sent nor failed, and whoever owns it then sends it. Gives the tasks
        that come to their end by that."""
        running = [task for task in self._sending.values() if not task.done()]
        for task in running:
            task.cancel()
        return running

    async def drain(self, timeout_s: float) -> None:
        """Start nothing more, wait for what is on its way, and stop the rest."""
        self.stopping = True
        running = [task for task in self._sending.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        await asyncio.gather(*self.cancel(), return_exceptions=True)
        await asyncio.sleep(0)  # so that those that have just ended are among the settled


_Thread = tuple[str, str]


def _thread(notification: Notification) -> _Thread:
    return notification.person, notification.thread


def _earliest(pending: Iterable[Notification]) -> list[Notification]:
    """The earliest of each thread, in the order given; its first message comes before others of the same time."""
    pending, first = list(pending), dict[_Thread, Notification]()
    for each in pending:
        before = first.setdefault(_thread(each), each)
        if _age(each) < _age(before):
            first[_thread(each)] = each
    return [each for each in pending if first[_thread(each)] is each]


def _age(notification: Notification) -> tuple[dt.datetime, bool, str]:
    name = notification.notification_id
    return notification.due_at, name != notification.thread, name
