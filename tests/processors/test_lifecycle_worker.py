"""The worker's own decisions: when it may own the state, and what becomes of an input that the engine cannot take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import ClusterMetadata

from processors import lifecycle_worker
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle_worker import LifecycleWorker
from schemas.alerts import ALERTS_TOPIC
from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC, Action, Command
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.topics import TopicError, refuse_partitions, topic_specs
from tests.processors.lifecycle.timeline import make_alert
from tests.processors.test_lifecycle_store import NOW

POLICY = """\
people:
  - {id: mira, name: Mira Falkenrath, time_zone: UTC, channels: [{log: true}]}
escalation_policies:
  - {id: all, steps: [{targets: [mira]}]}
default_route: {policy: all}
"""


class Log:
    """Stands for Kafka: what was written, and what a reader of the compacted topic finds."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes | None]] = []
        self.reads = 0

    def send(self, topic: str, value: bytes | None, *, key: str, partition: int) -> None:
        self.sent.append((topic, key, value))

    async def delivered(self) -> None:
        pass

    def read(self, *_: Any) -> dict[bytes, bytes]:
        self.reads += 1
        latest = {key.encode(): value for topic, key, value in self.sent if topic == LIFECYCLE_TOPIC}
        return {key: value for key, value in latest.items() if value is not None}

    def actions(self) -> list[Action]:
        return [Action.model_validate_json(value) for topic, _, value in self.sent if topic == ACTIONS_TOPIC and value]


@pytest.fixture
def kafka() -> Log:
    return Log()


@pytest.fixture
def worker(tmp_path: Path, kafka: Log, monkeypatch: pytest.MonkeyPatch) -> LifecycleWorker:
    (tmp_path / "oncall.yml").write_text(POLICY)
    made = LifecycleWorker(Settings(data_dir=tmp_path, oncall_file=tmp_path / "oncall.yml"), "lifecycle-test")
    monkeypatch.setattr(lifecycle_worker, "read_partition", kafka.read)
    made.outbox = made._rows._outbox = kafka  # type: ignore[assignment]
    return made


def batch(topic: str, *values: Any) -> PartitionBatch:
    records = [
        SimpleNamespace(offset=number, timestamp=0, timestamp_type=1, key=None, value=value.model_dump_json().encode())
        for number, value in enumerate(values)
    ]
    return PartitionBatch(records, topic, 0)


def note(name: str, alert: str) -> Command:
    return Command(command_id=name, verb="note", alert_id=alert, by="mira", via="cli", at=NOW, text="Seen.")


BOTH = [(ALERTS_TOPIC, 0), (COMMANDS_TOPIC, 0)]


@pytest.mark.parametrize("others", [[(COMMANDS_TOPIC, 0)], [(ALERTS_TOPIC, 1), (COMMANDS_TOPIC, 0)], BOTH[:1]])
async def test_only_the_owner_of_both_runs_an_engine(
    worker: LifecycleWorker, kafka: Log, others: list[tuple[str, int]]
) -> None:
    acked = asyncio.Event()
    worker.partitions_assigned(others)
    handling = asyncio.create_task(worker.handle(batch(COMMANDS_TOPIC, note("c", "a")), acked.set))
    await asyncio.sleep(0.2)
    assert (worker.engine, kafka.reads, acked.is_set()) == (None, 0, False)
    worker.partitions_assigned(BOTH)
    await asyncio.wait_for(handling, 5)
    assert acked.is_set()
    assert worker.engine is not None


async def test_a_batch_that_was_taken_away_is_left_to_its_owner(worker: LifecycleWorker, kafka: Log) -> None:
    taken = batch(COMMANDS_TOPIC, note("c", "a"))
    handling = asyncio.create_task(worker.handle(taken, lambda: None))
    await asyncio.sleep(0)
    taken.end.stale = True
    await asyncio.wait_for(handling, 5)
    assert kafka.sent == []


def test_topics_of_an_older_installation_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = ClusterMetadata()
    metadata.topics = {name: SimpleNamespace(partitions=parts) for name, parts in (("a.v1", [0, 1]), ("b.v1", [0]))}
    monkeypatch.setattr("streams.topics.AdminClient", lambda _: SimpleNamespace(list_topics=lambda timeout: metadata))
    refuse_partitions(Settings(kafka_bootstrap="broker:9092"), ["b.v1", "missing.v1"])
    with pytest.raises(TopicError, match=r"a\.v1 on broker:9092 has 2 partitions.*delete.*tocsin up"):
        refuse_partitions(Settings(kafka_bootstrap="broker:9092"), ["a.v1", "b.v1"])


def test_the_state_is_compacted_within_the_hour() -> None:
    (spec,) = [each for each in topic_specs(Settings()) if each.name == LIFECYCLE_TOPIC]
    assert (spec.config["segment.bytes"], spec.config["segment.ms"]) == ("67108864", "3600000")


async def test_what_the_engine_cannot_take_is_answered_and_leaves_no_half_of_it(
    worker: LifecycleWorker, kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.partitions_assigned(BOTH)
    await worker.handle(batch(ALERTS_TOPIC, make_alert("a", at=NOW)), lambda: None)
    first, carry_out = worker.engine, Lifecycle.on_command

    def breaking(engine: Lifecycle, command: Command, now: Any) -> Any:
        effects = carry_out(engine, command, now)
        if command.command_id == "bad":
            raise ValueError("a mistake of ours")
        return effects

    monkeypatch.setattr(Lifecycle, "on_command", breaking)
    asked = [note("before", "a"), note("bad", "a"), note("after", "a")]
    await worker.handle(batch(COMMANDS_TOPIC, *asked), lambda: None)
    assert worker.engine is not None
    assert worker.engine is not first
    assert kafka.reads == 2, "the state is read anew"
    answers = {each.command_id: each for each in kafka.actions() if each.command_id}
    assert {name: each.accepted for name, each in answers.items()} == {"before": True, "bad": False, "after": True}
    assert answers["bad"].reason == "internal error: see the worker's log"
    assert worker.engine.states["a"].notes == 2
    stored = orjson.loads(kafka.read()[b"alert/a"])
    assert stored["notes"] == 2
