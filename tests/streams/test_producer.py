"""PartnerProducer against librdkafka's own mock broker: what is sent, refused, held back and reported."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.events import FinancialTransaction
from schemas.partners import UnknownPartner
from schemas.registry import FAMILIES, RegistryError, UnknownFamily, load_schema
from schemas.settings import Settings
from schemas.wire import unframe
from streams.async_producer import AsyncPartnerProducer
from streams.producer import BrokerUnreachable, DeliveryFailed, InvalidEvent, NotAllowed, PartnerProducer, QueueFull

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = {family: number for number, family in enumerate(FAMILIES, 1)}
TOPIC = "events.financial_transaction.v1"
MOCK = {"test.mock.num.brokers": 1}
AWAY = {"bootstrap.servers": "127.0.0.1:9", "message.timeout.ms": 600}
PAYMENT: dict[str, Any] = {
    "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "occurred_at": "2026-03-01T11:00:00Z",
    "tlp": "AMBER",
    "kind": "CARD",
    "entities": [{"type": "account", "value": "NL1"}],
}


def producer(kafka_config: dict[str, Any] | None = None, **options: Any) -> PartnerProducer:
    return PartnerProducer(
        "fiu-nl",
        settings=Settings(),
        schema_ids=IDS,
        kafka_config=MOCK if kafka_config is None else kafka_config,
        now=lambda: NOW,
        **options,
    )


def consumed(sender: PartnerProducer, topic: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Key and record of what the mock broker has."""
    metadata = sender._producer.list_topics(topic, timeout=10)
    brokers = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
    family = topic.split(".")[1]
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "t", "auto.offset.reset": "earliest"})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in metadata.topics[topic].partitions])
        found: list[tuple[str, dict[str, Any]]] = []
        deadline = time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                schema_id, body = unframe(message.value())
                assert schema_id == IDS[family]
                record = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(load_schema(family)), None)
                found.append((message.key().decode(), record))
        return found
    finally:
        consumer.close()


def test_events_arrive_as_published_with_their_natural_key() -> None:
    with producer(source_system="goaml") as sender:
        first = sender.publish("financial_transaction", PAYMENT)
        second = sender.publish("financial_transaction", sender.event("financial_transaction", tlp="RED", kind="CARD"))
        third = sender.publish("financial_transaction", PAYMENT, key="mine")
        sender.flush()
        assert (sender.stats.published, sender.stats.delivered, sender.stats.queued) == (3, 3, 0)
        found = consumed(sender, TOPIC, 3)
    assert first == third == PAYMENT["event_id"]
    assert {key for key, _ in found} == {"NL1", second, "mine"}
    for _, record in found:
        header = record["header"]
        assert (header["partner"], header["source_system"], header["published_at"]) == ("fiu-nl", "goaml", NOW)


def test_published_at_is_stamped_when_published() -> None:
    old = FinancialTransaction.model_validate(
        {
            "header": {
                "event_id": PAYMENT["event_id"],
                "occurred_at": NOW - timedelta(days=2),
                "published_at": NOW - timedelta(days=1),
                "partner": "fiu-nl",
                "handling": {"tlp": "AMBER"},
            },
            "kind": "CARD",
        }
    )
    with producer() as sender:
        sender.publish("financial_transaction", old)
        ((_, record),) = consumed(sender, TOPIC, 1)
    assert record["header"]["published_at"] == NOW
    assert old.header.published_at == NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"kind": "card"}, "kind", "must be one of 'TRANSFER'"),
        ({"occurred_at": "2026-03-01T11:00:00"}, "header.occurred_at", "has no time zone"),
        ({"partner": "cert-fr"}, "header.partner", "must be 'fiu-nl', the partner of this producer"),
        ({"header": {"handling": {"tlp": "RED"}}}, "header.handling.tlp", "found two values; give it once"),
        ({"purpose_text": "x" * 1_100_000}, "event", "must be at most 1048576 bytes as Avro"),
        ({"summary": "\ud800"}, "header.summary", "unpaired surrogates"),
    ],
)
def test_nothing_invalid_is_sent(changes: dict[str, Any], field: str, says: str) -> None:
    sender = producer()
    with pytest.raises(InvalidEvent) as caught:
        sender.publish("financial_transaction", {**PAYMENT, **changes})
    assert [problem.field for problem in caught.value.problems] == [field]
    assert says in str(caught.value)
    assert PAYMENT["event_id"] in str(caught.value)
    assert (sender.stats.published, sender.stats.refused) == (0, 1)
    sender.close()


def test_a_first_event_that_lacks_something_says_what() -> None:
    with producer() as sender, pytest.raises(InvalidEvent, match=r"header\.handling: missing"):
        sender.event("financial_transaction", kind="CARD")


def test_only_what_the_agreement_names() -> None:
    with producer() as sender:
        with pytest.raises(NotAllowed, match=r"fiu-nl may not publish tip_report; .*financial_transaction, watchlist"):
            sender.publish("tip_report", {})
        with pytest.raises(UnknownFamily):
            sender.publish("payments", {})
    with pytest.raises(UnknownPartner, match="unknown partner 'fiu'"):
        PartnerProducer("fiu", settings=Settings(), kafka_config=MOCK)


def test_a_full_queue_blocks_and_then_says_so() -> None:
    sender = producer(AWAY | {"message.timeout.ms": 60_000}, queue_max_messages=5, block_timeout_s=0.3)
    for _ in range(5):
        sender.publish("financial_transaction", PAYMENT)
    started = time.monotonic()
    with pytest.raises(QueueFull, match=r"\(5 events\) stayed full for 0.3 s: 127\.0\.0\.1:9"):
        sender.publish("financial_transaction", PAYMENT)
    assert time.monotonic() - started >= 0.3
    with pytest.raises(DeliveryFailed, match="5 still unconfirmed") as caught:
        sender.close(timeout_s=0.1)
    assert caught.value.undelivered == 5


def test_a_queue_smaller_than_the_load_still_delivers_everything() -> None:
    with producer(queue_max_messages=10) as sender:
        for _ in range(500):
            sender.publish("financial_transaction", PAYMENT)
    assert sender.stats.delivered == 500


def test_failed_deliveries_are_raised_once_with_topic_and_reason() -> None:
    sender = producer(AWAY)
    for _ in range(3):
        sender.publish("financial_transaction", PAYMENT)
    with pytest.raises(DeliveryFailed, match=rf"3 on {TOPIC}.*timed out.*Publish them again") as caught:
        sender.flush(10)
    assert sum(caught.value.failures.values()) == 3
    assert sender.stats.failed == 3
    sender.close()


def test_an_error_in_the_with_block_is_not_hidden_by_failed_deliveries() -> None:
    sender = producer(AWAY)
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012
        try:
            sender.publish("financial_transaction", PAYMENT)
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            sender.__exit__(type(error), error, error.__traceback__)
            raise
    assert any("events not delivered" in note for note in caught.value.__notes__)


def test_no_broker_is_noticed_at_the_start() -> None:
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 .*tocsin up"):
        producer(AWAY).start(timeout_s=0.5)


def test_no_registry_is_noticed_before_anything_is_sent() -> None:
    settings = Settings(registry_url="http://127.0.0.1:9")
    sender = PartnerProducer("fiu-nl", settings=settings, kafka_config=MOCK)
    with pytest.raises(RegistryError, match="tocsin up"):
        sender.publish("financial_transaction", PAYMENT)
    assert sender.stats.published == 0
    sender.close()


def test_closed_means_closed() -> None:
    sender = producer()
    sender.close()
    sender.close()
    with pytest.raises(RuntimeError, match="closed"):
        sender.publish("financial_transaction", PAYMENT)


def test_heartbeats_count_what_was_done() -> None:
    with producer(heartbeat_every_s=0.05) as sender:
        sender.publish("financial_transaction", PAYMENT)
        with pytest.raises(InvalidEvent):
            sender.publish("financial_transaction", {"kind": "CARD"})
        beats = consumed(sender, "events.heartbeat.v1", 4)
    assert {key for key, _ in beats} == {"fiu-nl"}
    records = [record for _, record in beats]
    assert [record["sequence"] for record in records] == [0, 1, 2, 3]
    assert records[-1]["refused_total"] == 1
    assert records[-1]["published_total"] >= 1
    assert sender._heartbeat is not None
    assert not sender._heartbeat.is_alive()


@pytest.fixture
def async_options() -> dict[str, Any]:
    return {"settings": Settings(), "schema_ids": IDS, "now": lambda: NOW}


async def test_async_publishing(async_options: dict[str, Any]) -> None:
    async with AsyncPartnerProducer("fiu-nl", kafka_config=MOCK, queue_max_messages=10, **async_options) as sender:
        for _ in range(200):
            assert await sender.publish("financial_transaction", PAYMENT) == PAYMENT["event_id"]
        await sender.publish("financial_transaction", PAYMENT, confirm=True)
        with pytest.raises(InvalidEvent):
            await sender.publish("financial_transaction", {"kind": "CARD"})
    assert (sender.stats.published, sender.stats.delivered, sender.stats.refused) == (201, 201, 1)


async def test_async_confirm_raises_what_failed_and_close_does_not_repeat_it(async_options: dict[str, Any]) -> None:
    sender = AsyncPartnerProducer("fiu-nl", kafka_config=AWAY, **async_options)
    with pytest.raises(BrokerUnreachable):
        await sender.start(timeout_s=0.3)
    with pytest.raises(DeliveryFailed, match=rf"1 on {TOPIC}.*timed out"):
        await sender.publish("financial_transaction", PAYMENT, confirm=True)
    await sender.close()
    assert (sender.stats.delivered, sender.stats.failed) == (0, 1)
