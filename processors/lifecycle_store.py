"""What the lifecycle did, on its way to ClickHouse: noted beside the state in Kafka first, stored later, never lost.

States can be written anew from ``lifecycle-state.v1``, lines of history and delivery cannot. So they lie on that topic
too, under ``outbox/<number>``, until ClickHouse has them (a transactional outbox). An outage of ClickHouse therefore
holds up neither alerts nor notifications, and whoever takes over finds what is still to be stored.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from processors.lifecycle_rows import action_rows, delivery_rows, silence_rows, state_rows
from schemas.lifecycle import LIFECYCLE_TOPIC, Action, AlertState, Delivery, Silence
from streams.outbox import Outbox
from streams.state import StateError
from streams.store import Store

log = logging.getLogger(__name__)

OUTBOX_PREFIX = "outbox/"
MAX_WAITING = 50_000
"""Rows that may wait for ClickHouse before the worker takes in no more alerts."""


MOST_LINES = 1_000
"""Of one note: a record has to fit into a message."""


class Note(BaseModel):
    """The value of an ``outbox/`` record: lines to store, and ids of what else has changed."""

    model_config = ConfigDict(extra="forbid")

    actions: list[Action] = []
    deliveries: list[Delivery] = []
    alerts: list[str] = []
    silences: list[str] = []

    def __len__(self) -> int:
        return len(self.actions) + len(self.deliveries) + len(self.alerts) + len(self.silences)


@dataclass
class _Waiting:
    states: dict[str, AlertState] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.states) + len(self.silences) + len(self.actions) + len(self.deliveries)


class RowWriter:
    """Stores in the background, in order; one instance serves one event loop."""

    def __init__(self, store: Store, outbox: Outbox, number: Callable[[], int] = time.time_ns) -> None:
        self._store, self._outbox = store, outbox
        self._numbers = itertools.count(number())
        self._waiting, self._storing = _Waiting(), _Waiting()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Rows that ClickHouse does not have yet."""
        return len(self._waiting) + len(self._storing)

    def note(self, note: Note) -> list[str]:
        """Queue a note for ``lifecycle-state.v1``, a large one in parts; their keys, for :meth:`add`.

        Order counts: lines that nobody asks for again go before the states that they led to, answers to commands behind
        them, for they are given again when the command comes again.
        """
        if not len(note):
            return []
        keys = []
        for part in _split(note):
            keys.append(f"{OUTBOX_PREFIX}{next(self._numbers)}")
            self._outbox.send(LIFECYCLE_TOPIC, part.model_dump_json().encode(), key=keys[-1], partition=0)
        return keys

    def add(
        self,
        states: Iterable[AlertState] = (),
        silences: Iterable[Silence] = (),
        actions: Iterable[Action] = (),
        deliveries: Iterable[Delivery] = (),
        keys: Iterable[str] = (),
    ) -> None:
        """Have rows stored soon; call it once the notes about them, those with ``keys``, are in Kafka."""
        waiting = self._waiting
        waiting.keys += keys
        waiting.states.update((each.alert_id, each) for each in states)
        waiting.silences.update((each.silence_id, each) for each in silences)
        waiting.actions.update((each.action_id, each) for each in actions)
        waiting.deliveries.update((each.delivery_id, each) for each in deliveries)
        self._changed.set()

    def restore(
        self, notes: Mapping[str, bytes], states: Mapping[str, AlertState], silences: Mapping[str, Silence]
    ) -> list[Action]:
        """Take up what the last owner may not have stored; the actions, which it may not have told either.

        A note that this version cannot read is named in the log and stays on the topic for one that can.
        """
        actions: list[Action] = []
        for key, value in notes.items():
            try:
                note = Note.model_validate_json(value)
            except ValidationError as error:
                why = StateError(LIFECYCLE_TOPIC, key, error)
                log.error("%s. The record is kept; until it is read, its history is not in ClickHouse", why)
                continue
            actions += note.actions
            self.add(
                [states[each] for each in note.alerts if each in states],
                [silences[each] for each in note.silences if each in silences],
                note.actions,
                note.deliveries,
                [key],
            )
        return actions

    async def room(self) -> None:
        """Wait while more than ``MAX_WAITING`` rows wait."""
        while len(self) > MAX_WAITING:
            await asyncio.sleep(0.1)

    async def run(self) -> None:
        """Store what waits, for ever; waits out outages of ClickHouse."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._storing, self._waiting = self._waiting, _Waiting()
            now = dt.datetime.now(dt.UTC)
            await self._store.insert(
                [
                    ("alert_states", state_rows(list(self._storing.states.values()))),
                    ("alert_actions", action_rows(list(self._storing.actions.values()))),
                    ("silences", silence_rows(list(self._storing.silences.values()), now)),
                    ("notifications", delivery_rows(list(self._storing.deliveries.values()))),
                ]
            )
            for key in self._storing.keys:
                self._outbox.send(LIFECYCLE_TOPIC, None, key=key, partition=0)
            self._storing = _Waiting()


def _split(note: Note) -> Iterator[Note]:
    lines = [(name, each) for name in Note.model_fields for each in getattr(note, name)]
    for low in range(0, len(lines), MOST_LINES):
        part: dict[str, list[Any]] = {}
        for name, each in lines[low : low + MOST_LINES]:
            part.setdefault(name, []).append(each)
        yield Note(**part)
