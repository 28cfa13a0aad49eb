"""The real Kafka, registry and ClickHouse: one run that is used, disturbed and killed, and the next on its data."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from deploy.embedded import CommittedProgress, PartFailedError, Platform, Silent, State, supervisor
from deploy.embedded.cache import Cache, cache_dir
from deploy.embedded.checks import admin, kafka_serves, registry_serves
from deploy.embedded.ports import is_free
from schemas.settings import PACKAGE_ROOT, Settings
from tests.embedded.test_launcher import gone, within

pytestmark = pytest.mark.stack

SUBJECT = "events.demo.v1-value"
SCHEMA = {"type": "record", "name": "Demo", "fields": [{"name": "a", "type": "string"}]}
LARGE = os.urandom(12 << 20)
UP = """
import sys, time
from pathlib import Path
from deploy.embedded import Platform
with Platform(Path(sys.argv[1]), cache_dir=Path(sys.argv[2])) as platform, platform.signals():
    platform.start()
    print(*(part.pid for part in platform.parts.values()), flush=True)
    platform.wait(600)
"""


@dataclass
class Stack:
    platform: Platform
    data_dir: Path
    cache: Path
    schema_id: int = 0

    @property
    def settings(self) -> Settings:
        assert self.platform.settings is not None
        return self.platform.settings

    def registry(self) -> SchemaRegistryClient:
        return SchemaRegistryClient({"url": self.settings.registry_url})

    def store(self, reader: bool = False) -> clickhouse_connect.driver.Client:
        names = (
            ("clickhouse_reader_user", "clickhouse_reader_password")
            if reader
            else ("clickhouse_user", "clickhouse_password")
        )
        user, password = (getattr(self.settings, name) for name in names)
        port = int(self.settings.clickhouse_url.rsplit(":", 1)[1])
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=port, username=user, password=password, autogenerate_session_id=False
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    cache = cache_dir(folder)
    with Platform(folder / "data", cache_dir=cache) as platform:
        platform.start()
        yield Stack(platform, folder / "data", cache)


def produce(settings: Settings, topic: str, values: list[bytes]) -> None:
    problems: list[object] = []
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "acks": "all", "message.max.bytes": 16_000_000,
         "compression.type": "zstd"}
    )  # fmt: skip
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: problems.append(error) if error else None)
    assert producer.flush(30) == 0
    assert problems == []


def consume(settings: Settings, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(message.value())
    consumer.close()
    return found


def create_topic(settings: Settings, name: str, partitions: int = 1, **config: str) -> None:
    client = admin(settings)
    client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)
    assert within(5, lambda: name in client.list_topics(timeout=5).topics)


def test_kafka_carries_small_and_large_messages(stack: Stack) -> None:
    create_topic(stack.settings, "first")
    produce(stack.settings, "first", [b"small", LARGE])
    assert consume(stack.settings, "first", 2) == [b"small", LARGE]


def test_kafka_makes_no_topic_by_itself(stack: Stack) -> None:
    client = admin(stack.settings)
    assert client.list_topics("mistyped", timeout=5).topics["mistyped"].error is not None
    assert "mistyped" not in client.list_topics(timeout=5).topics


def test_the_registry_refuses_an_incompatible_schema(stack: Stack) -> None:
    client = stack.registry()
    stack.schema_id = client.register_schema(SUBJECT, Schema(json.dumps(SCHEMA), "AVRO"))
    client.set_compatibility(SUBJECT, "FULL_TRANSITIVE")
    fields = [*SCHEMA["fields"], {"name": "b", "type": "int"}]
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(SUBJECT, Schema(json.dumps({**SCHEMA, "fields": fields}), "AVRO"))
    assert caught.value.http_status_code == 409
    fields[-1] = {"name": "b", "type": ["null", "int"], "default": None}
    assert client.register_schema(SUBJECT, Schema(json.dumps({**SCHEMA, "fields": fields}), "AVRO")) != stack.schema_id


def test_clickhouse_serves_both_users(stack: Stack) -> None:
    writer = stack.store()
    writer.command("CREATE TABLE kept (n UInt32) ENGINE = MergeTree ORDER BY n")
    writer.insert("kept", [[1], [2]], column_names=["n"])
    reader = stack.store(reader=True)
    assert reader.query("SELECT sum(n) FROM kept").result_rows == [(3,)]
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError):
        reader.command("INSERT INTO kept VALUES (3)")


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    found = set()
    for handle in stack.platform.parts.values():
        assert handle.pid is not None
        root = psutil.Process(handle.pid)
        for process in (root, *root.children(recursive=True)):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM:
                    assert connection.laddr.ip.removeprefix("::ffff:") in ("127.0.0.1", "::1"), (
                        handle.name,
                        connection,
                    )
                    found.add(connection.laddr.port)
    assert {stack.platform.port(name, 0) for name in ("kafka", "kafka-controller", "registry", "clickhouse")} <= found


def test_memory_is_about_a_gigabyte(stack: Stack) -> None:
    memory = stack.platform.memory_bytes()
    assert set(memory) == {"platform", "kafka", "registry", "clickhouse"}
    assert sum(value for name, value in memory.items() if name != "platform") < 1_300_000_000


def test_committed_progress_tells_a_stalled_group_from_a_busy_and_an_idle_one(stack: Stack) -> None:
    settings, now = stack.settings, [0.0]
    create_topic(settings, "watched", partitions=2)
    check = CommittedProgress(settings, "workers", ["watched", "no-such"], 45, clock=lambda: now[0])
    assert check() is True, "nothing to do"
    produce(settings, "watched", [b"x"] * 10)
    assert check() is True
    now[0] = 50
    answer = check()
    assert isinstance(answer, str), "a group that never committed"
    assert "workers is 10 events behind and has committed nothing for 50 s" in answer
    check.reset()
    ends = {key: end for key, (_, end) in check.read().items()}
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "workers"})
    consumer.commit(
        offsets=[TopicPartition(topic, number, end) for (topic, number), end in ends.items()], asynchronous=False
    )
    assert check.read() == {key: (end, end) for key, end in ends.items()}
    now[0] = 500
    assert check() is True, "all done, however long ago"
    consumer.close()


def test_parts_that_are_killed_come_back_with_their_data(stack: Stack) -> None:
    before = (stack.settings.kafka_bootstrap, stack.settings.registry_url)
    for handle in stack.platform.parts.values():
        handle.kill()
    assert within(60, lambda: all(h.restarts == 1 and h.state is State.READY for h in stack.platform.parts.values()))
    assert before == (stack.settings.kafka_bootstrap, stack.settings.registry_url)
    assert consume(stack.settings, "first", 2) == [b"small", LARGE]
    assert stack.registry().get_latest_version(SUBJECT).version == 2
    assert stack.registry().lookup_schema(SUBJECT, Schema(json.dumps(SCHEMA), "AVRO")).schema_id == stack.schema_id
    assert stack.store().query("SELECT sum(n) FROM kept").result_rows == [(3,)]


def test_kill_9_of_the_platform_leaves_nothing_and_the_next_start_has_everything(stack: Stack) -> None:
    pids = [handle.pid for handle in stack.platform.parts.values()]
    stack.platform.stop()
    assert all(pid is not None and gone(pid) for pid in pids)
    old = stack.settings
    registry_port = int(old.registry_url.split(":")[2].split("/")[0])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", registry_port))
        squatter.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", UP, str(stack.data_dir), str(stack.cache)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
        )
        assert process.stdout is not None
        children = [int(pid) for pid in process.stdout.readline().split()]
        moved = Settings.load(stack.data_dir)
        assert moved.kafka_bootstrap == old.kafka_bootstrap
        assert moved.registry_url != old.registry_url, "its port was taken"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert within(6, lambda: all(gone(pid) for pid in children))
        kafka_port = int(old.kafka_bootstrap.rsplit(":", 1)[1])
        assert is_free(kafka_port)

    with Platform(stack.data_dir, cache_dir=stack.cache) as platform:
        platform.start()
        again = Stack(platform, stack.data_dir, stack.cache)
        assert platform.ready_seconds is not None
        assert platform.ready_seconds < 40
        assert again.settings.kafka_bootstrap == old.kafka_bootstrap
        assert again.settings.registry_url == moved.registry_url, "the new port is kept"
        assert again.settings.clickhouse_password == old.clickhouse_password
        assert consume(again.settings, "first", 2) == [b"small", LARGE]
        assert again.registry().lookup_schema(SUBJECT, Schema(json.dumps(SCHEMA), "AVRO")).schema_id == stack.schema_id
        new = {"type": "record", "name": "Other", "fields": []}
        assert again.registry().register_schema("other", Schema(json.dumps(new), "AVRO")) > stack.schema_id + 1
        assert again.store().query("SELECT sum(n) FROM kept").result_rows == [(3,)]


def test_a_broker_whose_data_is_foreign_names_itself_its_log_and_what_to_do(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_START_TRIES", 1)
    Cache(stack.cache, Silent()).ensure()
    (tmp_path / "data/kafka/data").mkdir(parents=True)
    meta = "cluster.id=AAAAAAAAAAAAAAAAAAAAAA\nnode.id=7\nversion=1\ndirectory.id=BBBBBBBBBBBBBBBBBBBBBA\n"
    (tmp_path / "data/kafka/data/meta.properties").write_text(meta)
    with (
        pytest.raises(PartFailedError) as caught,
        Platform(tmp_path / "data", cache_dir=stack.cache, infrastructure=["kafka"]) as platform,
    ):
        platform.start()
    assert caught.value.name == "kafka"
    assert str(tmp_path / "data/logs/kafka.log") in str(caught.value)
    assert "the data belongs to another cluster" in str(caught.value)


def test_checks_tell_what_is_wrong() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
    assert kafka_serves(f"127.0.0.1:{port}", "x")() == f"127.0.0.1:{port} does not accept connections"
    with pytest.raises(ConnectionRefusedError):
        registry_serves(f"http://127.0.0.1:{port}")()
