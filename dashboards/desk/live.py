"""What the log says now: alert states, silences, notifications and the latest actions, in memory and kept fresh.

A thread follows ``lifecycle-state.v1`` and ``actions.v1`` from the beginning (no consumer group, nothing committed) and
hands over what it read to the event loop, where everything below lives: readers there need no lock. Times are UTC.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic import BaseModel, ValidationError

from schemas.lifecycle import ACTIONS_TOPIC, LIFECYCLE_TOPIC, Action, AlertState, Notification, Silence
from schemas.settings import Settings
from streams.kafka import client_config

Keys = dict[str, None]
"""Keys in the order of their first change; the values say nothing."""
Subscriber = Callable[[str, Keys], None]
"""Called on the event loop with a kind (``alert``, ``silence``, ``notification``, ``action``, ``standing``) and the
keys of it that changed; others are given the same object."""

MAX_ACTIONS: Final = 5_000
COALESCE_S: Final = 0.1
LOOK_S: Final = 1.0
RETRY_S: Final = 1.0
MAX_RECORD: Final = 12 * 1024 * 1024
LIFECYCLE: Final = TopicPartition(LIFECYCLE_TOPIC, 0)
ACTIONS: Final = TopicPartition(ACTIONS_TOPIC, 0)
_MODELS: Final[dict[str, type[BaseModel]]] = {"alert": AlertState, "silence": Silence, "notification": Notification}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far this process is behind the log. ``behind`` counts records that are there and not yet read; with
    ``connected`` off it is what was known last. ``loaded`` says that what lay there at the start has been read."""

    connected: bool = False
    loaded: bool = False
    behind: int = 0

    @property
    def text(self) -> str:
        """For people: ``live``, or what is wrong."""
        if not self.connected:
            return "no connection to Kafka: what is shown may be old"
        if not self.loaded:
            return f"reading the log, {self.behind:,} records to go"
        return f"{self.behind:,} records behind" if self.behind > 100 else "live"


@dataclass(frozen=True, slots=True)
class Change:
    """One record read: ``value`` is ``None`` where the key was forgotten. ``position`` is the record's offset."""

    kind: str
    key: str
    value: Any
    position: int


def change_of(topic: str, key: bytes | None, value: bytes | None, position: int) -> Change | None:
    """A record as a change; ``None`` where it is nothing that the desk shows (groups, the watchdog, unreadable)."""
    if topic == ACTIONS_TOPIC:
        kind, name, model = "action", (key or b"").decode(errors="replace"), Action
    else:
        kind, _, name = (key or b"").decode(errors="replace").partition("/")
        if kind not in _MODELS:
            return None
        model = _MODELS[kind]  # type: ignore[assignment]
    if value is None:
        return None if kind == "action" else Change(kind, name, None, position)
    try:
        return Change(kind, name, model.model_validate_json(value), position)
    except ValidationError as error:
        log.error("%s at offset %d is no %s: %s", topic, position, model.__name__, error)
        return None


class Live:
    """The state of everything, and who wants to know of changes.

    Use from the event loop only. ``positions`` are offsets in ``lifecycle-state.v1`` of each alert's latest state, in
    their order.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._next: dict[str, int] = {}
        self._subscribers: dict[int, tuple[Subscriber, tuple[str, ...]]] = {}
        self._changed: dict[str, Keys] = {}
        self._flush_due = False
        self._expected: dict[str, asyncio.Future[Action]] = {}
        self.states: dict[str, AlertState] = {}
        self.silences: dict[str, Silence] = {}
        self.notifications: dict[str, Notification] = {}
        self.actions: deque[Action] = deque(maxlen=MAX_ACTIONS)
        self.positions: dict[str, int] = {}
        self.standing = Standing()
        self._kept: dict[str, dict[str, Any]] = {
            "alert": self.states,
            "silence": self.silences,
            "notification": self.notifications,
        }

    def start(self) -> None:
        """Follow the log from here on; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Let go of the log."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def subscribe(self, callback: Subscriber, *kinds: str) -> Callable[[], None]:
        """Tell ``callback`` of changes of these kinds, of each kind once in ``COALESCE_S`` seconds: a storm changes
        hundreds of alerts in that time, before hundreds of pages. Call what is returned to end it; doing so twice is
        harmless."""
        number = max(self._subscribers, default=0) + 1
        self._subscribers[number] = (callback, kinds)

        def unsubscribe() -> None:
            self._subscribers.pop(number, None)

        return unsubscribe

    def expect(self, command_id: str) -> asyncio.Future[Action]:
        """The action that will answer the command. Ask before sending; cancel it when it is no longer waited for."""
        future: asyncio.Future[Action] = asyncio.get_running_loop().create_future()
        self._expected[command_id] = future
        future.add_done_callback(lambda _: self._expected.pop(command_id, None))
        return future

    def changed_since(self, position: int) -> list[tuple[int, AlertState]]:
        """Alerts whose latest state lies behind ``position`` in the log, with their positions, in order."""
        found: list[tuple[int, AlertState]] = []
        for alert_id, at in reversed(self.positions.items()):
            if at <= position:
                break
            found.append((at, self.states[alert_id]))
        return found[::-1]

    @property
    def end(self) -> int:
        """Position of the latest change of an alert; -1 with none."""
        return next(reversed(self.positions.values()), -1)

    def feed(self, changes: Iterable[Change]) -> None:
        """Take in changes; on the event loop."""
        for change in changes:
            self._take(change)
            self._note(change.kind, change.key)
        self._flush_later()

    def _take(self, change: Change) -> None:
        if change.kind == "action":
            self.actions.append(change.value)
            future = self._expected.get(change.value.command_id)
            if future is not None and not future.done():
                future.set_result(change.value)
            return
        kept = self._kept[change.kind]
        if change.kind == "alert":
            self.positions.pop(change.key, None)
        if change.value is None:
            kept.pop(change.key, None)
            return
        kept[change.key] = change.value
        if change.kind == "alert":
            self.positions[change.key] = change.position

    def _note(self, kind: str, key: str) -> None:
        self._changed.setdefault(kind, {})[key] = None

    def _flush_later(self) -> None:
        if self._changed and not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(COALESCE_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        changed, self._changed = self._changed, {}
        for callback, kinds in list(self._subscribers.values()):
            for kind in kinds:
                if not (keys := changed.get(kind)):
                    continue
                try:
                    callback(kind, keys)
                except Exception:  # one page's fault must not keep the others from hearing
                    log.exception("a subscriber failed on %s %s", kind, list(keys)[:10])

    def stand(self, standing: Standing) -> None:
        """Note how far behind this process is; on the event loop."""
        if standing == self.standing:
            return
        if standing.text != self.standing.text:
            self._note("standing", "")
        self.standing = standing
        self._flush_later()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:  # whatever it was, a desk that stays behind unnoticed would be worse
                reason = error.args[0].str() if isinstance(error, KafkaException) else repr(error)
                log.warning("cannot follow the lifecycle's topics, trying again: %s", reason)
                self._hand_over(self.stand, replace(self.standing, connected=False))
                self._stop.wait(RETRY_S)

    def _follow(self) -> None:
        consumer = Consumer(
            {
                **client_config(self._settings),
                "group.id": "tocsin-desk",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": MAX_RECORD,
                "fetch.queue.backoff.ms": 5,
                "allow.auto.create.topics": False,
                "log_level": 2,
            }
        )
        try:
            self._assign(consumer)
            look_at = 0.0
            goal = self._ends(consumer)
            while not self._stop.is_set():
                if changes := [change for message in _batch(consumer) if (change := self._read(message)) is not None]:
                    self._hand_over(self.feed, changes)
                loaded = all(self._next[topic] >= end for topic, end in goal.items())
                if time.monotonic() >= look_at or (loaded and not self.standing.loaded):
                    look_at = time.monotonic() + LOOK_S
                    self._look(consumer, loaded)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        begins = {each.topic: consumer.get_watermark_offsets(each, timeout=5) for each in (LIFECYCLE, ACTIONS)}
        self._next.setdefault(LIFECYCLE_TOPIC, begins[LIFECYCLE_TOPIC][0])
        low, high = begins[ACTIONS_TOPIC]
        self._next.setdefault(ACTIONS_TOPIC, max(low, high - MAX_ACTIONS))
        consumer.assign([TopicPartition(topic, 0, position) for topic, position in self._next.items()])

    def _read(self, message: Message) -> Change | None:
        topic, offset = str(message.topic()), int(message.offset() or 0)
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return None
            raise KafkaException(error)
        self._next[topic] = offset + 1
        key = message.key()
        return change_of(topic, key.encode() if isinstance(key, str) else key, message.value(), offset)

    def _ends(self, consumer: Consumer) -> dict[str, int]:
        return {each.topic: int(consumer.get_watermark_offsets(each, timeout=5)[1]) for each in (LIFECYCLE, ACTIONS)}

    def _look(self, consumer: Consumer, loaded: bool) -> None:
        try:
            ends = self._ends(consumer)
        except KafkaException:
            self._hand_over(self.stand, replace(self.standing, connected=False))
            return
        behind = sum(max(0, end - self._next[topic]) for topic, end in ends.items())
        self._hand_over(self.stand, Standing(True, loaded, behind))

    def _hand_over(self, call: Callable[[Any], None], what: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, what)
        except RuntimeError:  # the loop is closed: the process ends
            self._stop.set()


def _batch(consumer: Consumer) -> Iterator[Message]:
    """What is there, after waiting for the first at most a quarter of a second."""
    if (first := consumer.poll(0.25)) is None:
        return
    yield first
    yield from consumer.consume(500, timeout=0)
