"""The topic of the rule sets on a real broker."""

from __future__ import annotations

from uuid import uuid4

import pytest
from confluent_kafka import KafkaException

from schemas.settings import Settings
from streams import rulesets
from streams.rulesets import CURRENT, End, PublishError, publish, read, version_key
from streams.topics import MAX_RULES_BYTES, TopicSpec, ensure_topics, topic_specs
from tests.stack import Stack

NOBODY = Settings(kafka_bootstrap="127.0.0.1:9")


@pytest.fixture
def broker(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a broker on which the topic of the rule sets has yet to be made, under another name."""
    name = f"tests.rules-{uuid4().hex[:8]}.v1"
    for module in (rulesets,):
        monkeypatch.setattr(module, "RULES_TOPIC", name)
    return stack.settings


def make_topic(stack: Stack) -> None:
    (spec,) = [each for each in topic_specs(stack.settings) if each.name == "rules.v1"]
    assert (spec.partitions, spec.config["cleanup.policy"]) == (1, "compact")
    ensure_topics(stack.settings, [TopicSpec(rulesets.RULES_TOPIC, 1, spec.config)])


def test_a_topic_that_does_not_exist_is_empty(broker: Settings) -> None:
    assert read(broker) == {}
    assert End(broker).read() == 0


def test_the_latest_of_each_key_is_read_back_and_the_end_moves(stack: Stack, broker: Settings) -> None:
    make_topic(stack)
    end = End(broker)
    assert end.read() == 0
    publish(broker, [(version_key("a"), b"rules a"), (CURRENT, b"a")])
    before = end.read()
    publish(broker, [(version_key("b"), b"rules b"), (CURRENT, b"b")])
    assert end.read() > before
    assert read(broker) == {b"version:a": b"rules a", b"version:b": b"rules b", CURRENT: b"b"}


def test_the_largest_rule_set_passes_and_a_larger_one_is_refused_whole(stack: Stack, broker: Settings) -> None:
    make_topic(stack)
    largest = bytes(MAX_RULES_BYTES - 2048)
    publish(broker, [(version_key("a"), largest), (CURRENT, b"a")])
    with pytest.raises(PublishError, match="more than Kafka may take"):
        publish(broker, [(version_key("b"), largest + bytes(4096)), (CURRENT, b"b")])
    assert read(broker) == {b"version:a": largest, CURRENT: b"a"}


def test_no_broker_is_said_so() -> None:
    with pytest.raises(KafkaException):
        End(NOBODY).read()
