"""The partner's side against the real broker and registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from deploy.publish_cli import publish
from schemas.contract_check import check_registry
from schemas.partners import load_partners
from schemas.registry import FAMILIES, Registry, register_all, subject_of, topic_of
from schemas.settings import Settings
from schemas.wire import unframe
from streams.async_producer import AsyncPartnerProducer
from streams.partner_access import PartnerAccess, PartnerAccessError
from streams.producer import PartnerProducer
from streams.topics import MIB, TopicSpec, ensure_topics, topic_specs

pytestmark = pytest.mark.stack
GED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ucdp_ged_sample.csv"


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """End offset by partition."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "tests-ends"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    finally:
        consumer.close()


def since(settings: Settings, topic: str, begin: dict[int, int], count: int) -> list[Any]:
    """``count`` messages after ``begin``."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "tests-since"})
    try:
        consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in begin.items()])
        found: list[Any] = []
        for _ in range(100):
            found += consumer.consume(count - len(found), timeout=0.3)
            if len(found) >= count:
                break
        return found
    finally:
        consumer.close()


def test_registration_is_idempotent_and_found_by_id(stack: Any) -> None:
    ids = register_all(stack.settings)
    assert register_all(stack.settings) == ids
    with Registry.of(stack.settings) as registry:
        for family in FAMILIES:
            assert registry.lookup(family) == ids[family]
            assert subject_of(family) in registry.fetch(ids[family]).subjects
        assert [result for result in check_registry(registry) if not result.compatible] == []


def test_topics_exist_and_a_second_run_changes_nothing(stack: Any) -> None:
    changes = ensure_topics(stack.settings)
    assert [change.topic for change in changes] == [spec.name for spec in topic_specs(stack.settings)]
    assert {change.action for change in ensure_topics(stack.settings)} == {"unchanged"}


def test_topics_grow_never_shrink_and_settings_are_corrected(stack: Any) -> None:
    name = f"tests.{uuid4().hex[:12]}.v1"
    small = TopicSpec(name, 1, {"max.message.bytes": str(MIB)})
    (made,) = ensure_topics(stack.settings, [small])
    assert (made.action, made.partitions) == ("created", 1)
    (grown,) = ensure_topics(stack.settings, [TopicSpec(name, 3, {"max.message.bytes": str(2 * MIB)})])
    assert (grown.action, grown.partitions) == ("changed", 3)
    assert "partitions 1 -> 3" in grown.detail
    assert f"max.message.bytes {MIB} -> {2 * MIB}" in grown.detail
    (kept,) = ensure_topics(stack.settings, [TopicSpec(name, 2, {})])
    assert (kept.action, kept.partitions) == ("unchanged", 3)
    assert "never taken away" in kept.detail


def test_publish_to_the_real_broker(stack: Any) -> None:
    topic = topic_of("tip_report")
    begin = ends(stack.settings, topic)
    with PartnerProducer("tipline-uk", settings=stack.settings) as producer:
        event = producer.event("tip_report", tlp="AMBER", text="A parked van.", exercise=True)
        for _ in range(200):
            producer.publish("tip_report", event, key="same")
    assert (producer.stats.delivered, producer.stats.failed) == (200, 0)
    messages = [m for m in since(stack.settings, topic, begin, 200) if m.key() == b"same"]
    assert len(messages) == 200
    assert len({message.partition() for message in messages}) == 1
    assert unframe(messages[0].value())[0] == register_all(stack.settings)["tip_report"]


async def test_async_publish_to_the_real_broker(stack: Any) -> None:
    async with AsyncPartnerProducer("tipline-uk", settings=stack.settings) as producer:
        event = producer.event("tip_report", tlp="AMBER", text="Another van.", exercise=True)
        assert await producer.publish("tip_report", event, confirm=True) == event.header.event_id
    assert producer.stats.delivered == 1


@pytest.mark.skipif(not GED.is_file(), reason=f"UCDP GED sample is not at {GED}")
def test_publish_command_sends_the_ged_sample(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_KAFKA_BOOTSTRAP", stack.settings.kafka_bootstrap)
    monkeypatch.setenv("TOCSIN_REGISTRY_URL", stack.settings.registry_url)
    app = typer.Typer()
    app.command()(publish)
    args = [str(GED), "--partner", "hub-ke", "--family", "incident_report", "--format", "ucdp-ged", "--json"]
    result = CliRunner().invoke(app, [*args, "--data-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["read"], report["delivered"], report["refused"]) == (1000, 1000, 0)


def test_a_broker_that_checks_nobodys_rights_is_told_what_it_lacks(stack: Any) -> None:
    with pytest.raises(PartnerAccessError, match=r"checks nobody's rights: set authorizer\.class\.name="):
        PartnerAccess(stack.settings).grant(load_partners(stack.settings.partners_file).get("fiu-nl"))
