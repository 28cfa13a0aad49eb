"""Rows on their way to ClickHouse: noted in Kafka before, forgotten there only after."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from processors.lifecycle_rows import action_rows, delivery_rows, silence_rows, state_rows
from processors.lifecycle_store import Note, RowWriter
from processors.notifier import Notifier, Outcome
from schemas.lifecycle import Action, AlertState, Delivery, Matcher, Notification, Silence

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def state(alert_id: str, **changes: Any) -> AlertState:
    fields: dict[str, Any] = {
        "alert_id": alert_id,
        "revision": 1,
        "state": "open",
        "priority": "P2",
        "priority_reasons": ["level high"],
        "group_key": "g",
        "alert_version": 1,
        "rule_id": "r",
        "rule_title": "R",
        "rule_version": "1",
        "kind": "correlation",
        "level": "high",
        "exercise": False,
        "tlp": "AMBER",
        "confidence": 50,
        "group": {},
        "story": "Seen.",
        "tags": [],
        "partners": ["north"],
        "families": [],
        "countries": [],
        "places": [],
        "evidence_total": 1,
        "first_event_at": NOW,
        "last_event_at": NOW,
        "published_at": NOW,
        "raised_at": NOW,
        "updated_at": NOW,
    }
    return AlertState.model_validate(fields | changes)


def action(number: int) -> Action:
    return Action(action_id=f"a{number}", alert_id="x", verb="raised", by="stream", via="stream", at=NOW)


def notification(number: int, person: str = "ana", thread: str = "") -> Notification:
    return Notification(
        notification_id=f"n{number}",
        thread=thread or f"t{number}",
        kind="first",
        person=person,
        policy="all",
        step=0,
        group_key="g",
        alert_ids=["x"],
        priority="P2",
        due_at=NOW,
    )


class Topic:
    """Stands for a compacted topic: what a reader finds there."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def send(self, topic: str, value: bytes | None, *, key: str, partition: int) -> None:
        if value is None:
            self.records.pop(key, None)
        else:
            self.records[key] = value


class Tables:
    """Stands for ClickHouse, which may be away."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.rows: dict[str, list[str]] = {}

    async def insert(self, tables: Sequence[tuple[str, pa.Table]]) -> float:
        await self.open.wait()
        for name, table in tables:
            self.rows.setdefault(name, []).extend(str(each) for each in table.column(0).to_pylist())
        return 0.0


def writer(tables: Tables, topic: Topic) -> RowWriter:
    return RowWriter(tables, topic, lambda: 1)  # type: ignore[arg-type]


async def run_for_a_while(rows: RowWriter) -> None:
    running = asyncio.create_task(rows.run())
    await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_note_goes_once_its_rows_are_stored_and_not_before() -> None:
    topic, tables = Topic(), Tables()
    rows = writer(tables, topic)
    first = rows.note(Note(actions=[action(1)], alerts=["x"]))
    rows.add([state("x")], actions=[action(1)], keys=first)
    second = rows.note(Note(actions=[action(2)]))
    await run_for_a_while(rows)
    assert list(topic.records) == [*first, *second]
    assert tables.rows == {}

    tables.open.set()
    rows = writer(tables, topic)
    rows.add([state("x")], actions=[action(1)], keys=first)
    await run_for_a_while(rows)
    assert list(topic.records) == second, "its rows were not given yet"
    assert tables.rows["alert_states"] == ["x"]
    assert len(rows) == 0


async def test_whoever_takes_over_stores_what_was_noted_and_tells_it() -> None:
    topic, tables = Topic(), Tables()
    killed = writer(tables, topic)
    killed.note(Note(actions=[action(1)], alerts=["x", "forgotten"], silences=["s"]))
    killed.note(Note())
    tables.open.set()
    heir = writer(tables, topic)
    assert heir.restore(topic.records, {"x": state("x")}, {}) == [action(1)]
    await run_for_a_while(heir)
    assert topic.records == {}
    assert tables.rows["alert_states"] == ["x"]
    assert len(tables.rows["alert_actions"]) == 1


async def test_a_note_of_a_newer_version_is_kept_and_named(caplog: pytest.LogCaptureFixture) -> None:
    topic, tables = Topic(), Tables()
    newer = b'{"actions":[],"escalations":["e1"]}'
    topic.records["outbox/0"] = newer
    writer(tables, topic).note(Note(actions=[action(1)]))
    tables.open.set()
    heir = writer(tables, topic)
    assert heir.restore(topic.records, {}, {}) == [action(1)]
    await run_for_a_while(heir)
    assert topic.records == {"outbox/0": newer}
    (logged,) = caplog.messages
    assert "lifecycle-state.v1: this version of Tocsin cannot read outbox/0" in logged
    assert "If a newer one wrote it, run that one" in logged
    assert "The record is kept" in logged


def test_a_large_note_is_split() -> None:
    topic = Topic()
    keys = writer(Tables(), topic).note(
        Note(actions=[action(number) for number in range(1500)], alerts=[f"a{number}" for number in range(700)])
    )
    notes = [Note.model_validate_json(topic.records[key]) for key in keys]
    assert [len(each) for each in notes] == [1000, 1000, 200]
    assert [each.action_id for note in notes for each in note.actions] == [f"a{number}" for number in range(1500)]
    assert [each for note in notes for each in note.alerts] == [f"a{number}" for number in range(700)]


def test_rows_have_the_columns_of_their_tables() -> None:
    silence = Silence(
        silence_id="s",
        matchers=[Matcher(field="level", value="low")],
        author="ana",
        reason="works",
        starts_at=NOW,
        ends_at=NOW,
        created_at=NOW,
        partner="north",
    )
    (row,) = state_rows([state("x", silences=["s"], closed_at=NOW)]).to_pylist()
    assert (row["silenced"], row["closed_at"], row["assignee"], row["acknowledged_until"]) == (True, NOW, "", None)
    assert AlertState.model_validate_json(row["record"]) == state("x", silences=["s"], closed_at=NOW)
    (row,) = silence_rows([silence], NOW).to_pylist()
    assert (row["partner"], row["version"]) == ("north", int(NOW.timestamp()) * 1000)
    assert row["matchers"] == '[{"field":"level","op":"=","value":"low"}]'
    (row,) = action_rows([action(1)]).to_pylist()
    assert (row["before"], row["details"]) == ("", "{}")
    assert delivery_rows([]).num_rows == 0


class Slow:
    """Takes a message when it is let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = asyncio.Event()

    async def deliver(
        self, notification: Notification, states: Sequence[AlertState], now: dt.datetime
    ) -> tuple[Outcome, list[Delivery]]:
        self.begun.append(notification.notification_id)
        await self.may_end.wait()
        if notification.notification_id == "n1":
            raise ValueError("a channel's own mistake")
        return "sent", []


async def test_one_persons_slow_channel_holds_up_nobody_else() -> None:
    slow = Slow()
    notifier = Notifier(lambda: None, at_a_time=4, per_person=2)
    pending = [
        notification(0),
        notification(1),
        notification(2),
        notification(3, "bo"),
        *map(notification, range(4, 9)),
    ]
    for _ in range(2):
        notifier.send(pending, {}, slow, lambda: NOW)
        await asyncio.sleep(0)
    assert slow.begun == ["n0", "n1", "n3"], "each once, two to a person"
    slow.may_end.set()
    await asyncio.sleep(0.01)
    settled = notifier.settled()
    assert {each.notification.notification_id: each.outcome for each in settled} == {
        "n0": "sent",
        "n1": "failed",
        "n3": "sent",
    }
    notifier.send(pending, {}, slow, lambda: NOW)
    await asyncio.sleep(0)
    assert slow.begun[3:] == ["n2", "n4"], "what is not recorded yet is not sent again"
    await notifier.drain(1)
    notifier.recorded(settled)
    notifier.send(pending, {}, slow, lambda: NOW)
    assert len(slow.begun) == 5, "nothing is begun any more"
