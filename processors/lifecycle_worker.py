"""The lifecycle worker: alerts and commands in; states, history and notifications out. One lives at a time.

Order for each step: notes and states to ``lifecycle-state.v1``, confirmed; actions to ``actions.v1``, confirmed; then
the acknowledgement. ClickHouse follows in the background from the notes (see lifecycle_store.py), so that it holds up
nobody. Whoever takes over reads the topic back and goes on from the committed offsets; what was done already has no
effect a second time. A notification is recorded once it is sent: killed in between, the worker sends it again, under
the same idempotency key.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from processors.ingest_worker import Partition, sample_metrics
from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.orders import answer_to
from processors.lifecycle_read import alerts_in, commands_in
from processors.lifecycle_store import OUTBOX_PREFIX, Note, RowWriter
from processors.notifier import Notifier, Settled
from processors.notify.channels import Senders
from processors.notify.deliver import Buckets, Deliverer
from processors.oncall import OnCall
from processors.reloaded import Reloaded
from processors.watchdog import WATCHDOG_ID, WATCHDOG_KEY, Watchdog
from schemas.alerts import ALERTS_TOPIC, Alert
from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC, Command, Delivery
from schemas.oncall import load_oncall
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.metrics import LifecycleMetrics
from streams.outbox import Outbox
from streams.records import Record
from streams.state import read_partition
from streams.store import Store

log = logging.getLogger(__name__)

TICK_S = 0.2
STEP = 200
"""Alerts that are taken in before what they brought about is written, and others have their turn."""
RELOAD_S = 3.0
DRAIN_S = 4.0
OWNED_S = 0.05


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class LifecycleWorker:
    """The engine with its state on ``lifecycle-state.v1``, while this worker owns alerts and commands."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.metrics = LifecycleMetrics()
        self._settings, self._name = settings, name
        refused = self.metrics.config_refused.labels(settings.oncall_file.name)
        self._policy = Reloaded(settings.oncall_file, load_oncall, refused.inc)
        self._roster = OnCall(self._policy.content)
        self._senders, self._buckets = Senders(), Buckets()
        self._deliverer = self._delivering()
        self.outbox = Outbox(settings, name)
        self.store = Store(settings, self.metrics.store_retries.inc, self.metrics.inserted)
        self._rows = RowWriter(self.store, self.outbox)
        self._notifier = Notifier(self._wake)
        self._engine: Lifecycle | None = None
        self._owned, self._generation = False, 0
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._watchdog, self._began_at = Watchdog(), utc_now()

    @property
    def engine(self) -> Lifecycle | None:
        """The lifecycle as this worker knows it; None while it owns none."""
        return self._engine

    def _delivering(self) -> Deliverer:
        # The senders and rates stay, for what is on its way under the policy before this one.
        return Deliverer(
            self._policy.content, desk_url=self._settings.desk_url, senders=self._senders, buckets=self._buckets
        )

    def _wake(self) -> None:
        self._woken.set()

    async def handle(self, batch: PartitionBatch, ack: Callable[[], None]) -> None:
        """Take in a batch of alerts or commands and acknowledge it once its effects are durable. Waits until this
        worker owns both topics.

        Raises:
            DeliveryFailedError: Kafka gave up on a record; the caller must stop the worker.
        """
        started = time.perf_counter()
        if batch.topic == ALERTS_TOPIC:
            await self._rows.room()
        refuse = self._refusing(batch)
        inputs = commands_in(batch, refuse) if batch.topic == COMMANDS_TOPIC else alerts_in(batch, refuse)
        while not self._owned:
            if batch.end.stale:
                return
            await asyncio.sleep(OWNED_S)
        for part in _parts(inputs, STEP):
            async with self._lock:
                engine = await self._taken_over()
                if batch.end.stale or self._engine is not engine:
                    return  # another worker may write this state by now
                effects = Effects()
                for each in part:
                    if not self._decide(engine, each, effects):
                        await self._make_durable(effects)
                        self._engine = None
                        engine, effects = await self._taken_over(), Effects()
                        if batch.end.stale or self._engine is not engine:
                            return
                await self._make_durable(effects)
        self._wake()
        self.metrics.batch_records.observe(len(batch))
        self.metrics.stage_seconds.labels(batch.topic).observe(time.perf_counter() - started)
        ack()

    def _refusing(self, batch: PartitionBatch) -> Callable[[Record, str], None]:
        def refuse(record: Record, reason: str) -> None:
            self.metrics.broken_records.labels(batch.topic).inc()
            log.error("%s/%d/%d is left out: %s", batch.topic, batch.partition, record.offset, reason)

        return refuse

    def _decide(self, engine: Lifecycle, what: Alert | Command, effects: Effects) -> bool:
        """Whether the engine could take it. If not, the engine may hold half of it and must not be used any more; a
        command is refused. One such input must not hold up all the others for ever."""
        now = utc_now()
        try:
            if isinstance(what, Command):
                effects.extend(engine.on_command(what, now))
                return True
            found = engine.on_alert(what, now)
            if what.alert_id == WATCHDOG_ID:
                found.records |= self._watchdog.heard(what, self._roster.watchdog)
                found.actions.clear()  # a line each minute would bury the history of everything else
            effects.extend(found)
        except Exception:
            topic = COMMANDS_TOPIC if isinstance(what, Command) else ALERTS_TOPIC
            self.metrics.broken_records.labels(topic).inc()
            log.exception("left out: %s", what.command_id if isinstance(what, Command) else what.alert_id)
            if isinstance(what, Command):
                reason = "internal error: see the worker's log"
                effects.actions.append(answer_to(what, now, accepted=False, reason=reason))
            return False
        return True

    async def _make_durable(self, effects: Effects, deliveries: Iterable[Delivery] = ()) -> None:
        """Write what has happened; returns once Kafka has it."""
        deliveries = [*deliveries, *effects.unheard]
        for each in effects.unheard:
            self.metrics.nobody_on_call.inc()
            log.warning("nobody is on call at %s: alerts %s", each.address, ", ".join(each.alert_ids[:5]))
        if not effects and not deliveries:
            return
        states = {each.alert_id: each for each in effects.states}
        silences = {each.silence_id: each for each in effects.silences}
        answers = [each for each in effects.actions if each.command_id]
        lines = [each for each in effects.actions if not each.command_id]
        keys = self._rows.note(Note(actions=lines, deliveries=deliveries))
        for key, value in effects.records.items():
            self.outbox.send(LIFECYCLE_TOPIC, value, key=key, partition=0)
        keys += self._rows.note(Note(actions=answers, alerts=list(states), silences=list(silences)))
        await self.outbox.delivered()
        for action in effects.actions:
            self.outbox.send(ACTIONS_TOPIC, action.model_dump_json().encode(), key=action.alert_id, partition=0)
        self._rows.add(states.values(), silences.values(), effects.actions, deliveries, keys)
        await self.outbox.delivered()
        for action in effects.actions:
            counter = self.metrics.actions if action.accepted else self.metrics.commands_refused
            counter.labels(action.verb).inc()

    async def _taken_over(self) -> Lifecycle:
        """The engine; where there is none yet, with the state that the last owner left. Holds the lock."""
        if self._engine is not None:
            return self._engine
        started, generation = time.monotonic(), self._generation
        stored = await asyncio.to_thread(read_partition, self._settings, LIFECYCLE_TOPIC, 0)
        records = {key.decode(): value for key, value in stored.items()}
        notes = {key: value for key, value in records.items() if key.startswith(OUTBOX_PREFIX)}
        engine = Lifecycle(self._roster)
        engine.restore({key: value for key, value in records.items() if key not in notes})
        untold = self._rows.restore(notes, engine.states, engine.silences)
        for action in untold:
            self.outbox.send(ACTIONS_TOPIC, action.model_dump_json().encode(), key=action.alert_id, partition=0)
        await self.outbox.delivered()
        self._watchdog = Watchdog(stored.get(WATCHDOG_KEY.encode()))
        if generation == self._generation:
            self._engine = engine
            # It may have been another policy under which the state was written.
            await self._make_durable(engine.use(self._roster, utc_now()))
        seconds = time.monotonic() - started
        log.info("%d alerts, %d notes in %.1f s", len(engine.states), len(notes), seconds)
        return engine

    async def run_clock(self) -> None:
        """For ever: what is due by the clock, what was sent, and what is to be sent next."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), TICK_S)
            self._woken.clear()
            if self._owned:
                await self._tick()

    async def _tick(self) -> None:
        async with self._lock:
            engine, now = await self._taken_over(), utc_now()
            if self._engine is not engine:
                return  # taken away meanwhile
            settled, effects = self._notifier.settled(), Effects()
            for each in settled:
                effects.extend(self._settle(engine, each, now))
            due = engine.next_due()
            if due is not None and due <= now:
                effects.extend(engine.tick(now))
            await self._make_durable(effects, [line for each in settled for line in each.deliveries])
            self._notifier.recorded(settled)
            if self._engine is engine:
                watchdog = [self._watchdog.pending] if self._watchdog.pending else []
                pending = [*watchdog, *engine.pending(now)]
                self._notifier.send(pending, engine.states, self._deliverer, utc_now)

    def _settle(self, engine: Lifecycle, each: Settled, now: dt.datetime) -> Effects:
        notification = each.notification
        self.metrics.notifications.labels(each.outcome).inc()
        for line in each.deliveries:
            self.metrics.deliveries.labels(line.channel, line.outcome).inc()
        if notification.kind == "watchdog":
            return Effects(records=self._watchdog.settled(each.outcome == "sent"))
        attempts = notification.attempts + max(len(each.deliveries), 1)
        return engine.settled(notification.notification_id, each.outcome, each.channel, attempts, now)

    async def store_rows(self) -> None:
        """For ever: what ClickHouse does not have yet."""
        await self._rows.run()

    async def reload_policy(self) -> None:
        """For ever: go over to ``oncall.yml`` as it is now, if it can be used."""
        while True:
            await asyncio.sleep(RELOAD_S)
            if await asyncio.to_thread(self._policy.refresh):
                async with self._lock:
                    self._roster = OnCall(self._policy.content)
                    self._deliverer = self._delivering()
                    if self._engine is not None:
                        await self._make_durable(self._engine.use(self._roster, utc_now()))

    def partitions_revoked(self) -> None:
        """To be called when all partitions are taken away: the state is read anew from its topic."""
        self._owned, self._engine = False, None
        self._generation += 1
        self._notifier.cancel()

    def partitions_assigned(self, partitions: Iterable[Partition]) -> None:
        """To be called with all partitions that are ours now. Only whoever has both topics may run an engine; Faust
        gives them, as they have as many partitions, to the same worker."""
        self._owned = set(partitions) >= {(ALERTS_TOPIC, 0), (COMMANDS_TOPIC, 0)}
        self._wake()

    async def sample_metrics(self, lag: Callable[[], dict[Partition, int]], every_s: float = 5.0) -> None:
        """Write the metrics to ClickHouse for ever."""

        def sampled() -> dict[Partition, int]:
            self._gauge()
            return lag()

        await sample_metrics(self.metrics, self._name, self.store, sampled, every_s)

    def _gauge(self) -> None:
        metrics, now = self.metrics, utc_now()
        metrics.rows_waiting.set(len(self._rows))
        metrics.watchdog_age_seconds.set((now - (self._watchdog.last.heard_at or self._began_at)).total_seconds())
        metrics.watchdog_notified_age_seconds.set(
            (now - (self._watchdog.last.sent_at or self._began_at)).total_seconds()
        )
        metrics.states.clear()
        if self._engine is not None:
            metrics.pending_notifications.set(len(self._engine.pending(now)))
            counts = Counter((each.state, each.priority) for each in self._engine.states.values())
            for labels, number in counts.items():
                metrics.states.labels(*labels).set(number)

    async def drain(self) -> None:
        """Before an orderly end: let what is on its way arrive, and record it."""
        await self._notifier.drain(DRAIN_S)
        if self._engine is not None:
            await self._tick()
        await self._senders.aclose()

    def close(self) -> None:
        self.outbox.close()


def _parts(inputs: Iterator[Alert] | Iterator[Command], size: int) -> Iterator[list[Alert | Command]]:
    part: list[Alert | Command] = []
    for each in inputs:
        part.append(each)
        if len(part) == size:
            yield part
            part = []
    yield part
