"""Topics of the platform and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs re-export without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from schemas.alerts import ALERTS_TOPIC, QUARANTINE_TOPIC, RULES_TOPIC, SIGNALS_TOPIC, STATE_TOPIC
from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC
from schemas.registry import FAMILIES, topic_of
from schemas.settings import Settings
from streams.kafka import AccessError, client_config, require_access, unreachable

MIB: Final = 1_048_576
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
MAX_RULES_BYTES: Final = 8 * MIB
"""Of one record of ``rules.v1``, which holds a whole rule set."""
REQUEST_TIMEOUT_S: Final = 30.0


class TopicError(RuntimeError):
    """A topic could not be made or changed; the message names topic, broker and what to do."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; ``config`` holds the broker's topic settings, values as Kafka prints them."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What was done about one topic; ``detail`` is for people."""

    topic: str
    action: Literal["created", "changed", "unchanged"]
    partitions: int
    detail: str = ""


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic with its settings.

    Event topics take more than the contract's limit, so that an oversize event reaches quarantine, not the floor.
    Timestamps are the broker's: retention then never depends on a partner's clock.
    """
    stream = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}
    if settings.topic_replicas > 2:
        stream["min.insync.replicas"] = "2"
    events = {**stream, "retention.ms": str(7 * DAY_MS), "max.message.bytes": str(12 * MIB)}
    quarantine = {**stream, "retention.ms": str(30 * DAY_MS), "max.message.bytes": str(16 * MIB)}
    signals = {**stream, "retention.ms": str(7 * DAY_MS), "max.message.bytes": str(4 * MIB)}
    alerts = {**stream, "cleanup.policy": "compact", "max.message.bytes": str(12 * MIB)}
    # The last segment is never compacted; a small one keeps what a new owner has to read short.
    state = {**alerts, "segment.bytes": str(64 * MIB), "segment.ms": str(HOUR_MS)}
    count = settings.topic_partitions
    return [
        *(TopicSpec(topic_of(family), count, events) for family in FAMILIES),
        TopicSpec(QUARANTINE_TOPIC, count, quarantine),
        TopicSpec(SIGNALS_TOPIC, count, signals),
        # One partition each: what people and clocks do to alerts looks across all of them, and in one order.
        TopicSpec(ALERTS_TOPIC, 1, alerts),
        TopicSpec(COMMANDS_TOPIC, 1, signals),
        TopicSpec(ACTIONS_TOPIC, 1, quarantine),
        TopicSpec(LIFECYCLE_TOPIC, 1, state),
        # Same partitions as the signals: a partition's state lies in the partition of the same number.
        TopicSpec(STATE_TOPIC, count, alerts),
        # One partition: what is in force is the last that was said.
        TopicSpec(RULES_TOPIC, 1, {**alerts, "max.message.bytes": str(MAX_RULES_BYTES)}),
    ]


def ensure_topics(settings: Settings, specs: list[TopicSpec] | None = None) -> list[TopicChange]:
    """Make what is missing, add partitions, correct settings; idempotent, never removes anything. Blocks.

    More partitions change which partition a key goes to: order within a key holds from then on only.

    Raises:
        TopicError: no broker, or it refused.
    """
    wanted = topic_specs(settings) if specs is None else specs
    where, access = settings.kafka_bootstrap, client_config(settings)
    admin = AdminClient({**access, "socket.timeout.ms": 10_000, "log_level": 2})
    try:
        require_access(settings)  # else a wrong password is noticed after half a minute
        existing = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except AccessError as error:
        raise TopicError(str(error)) from error
    except KafkaException as error:
        raise TopicError(unreachable(access, error)) from error
    changes: dict[str, TopicChange] = {}
    missing = [spec for spec in wanted if spec.name not in existing]
    for spec, made in _create(admin, missing, settings.topic_replicas, where):
        detail = f"{spec.partitions} partitions" if made else "made by somebody else meanwhile"
        changes[spec.name] = TopicChange(spec.name, "created" if made else "unchanged", spec.partitions, detail)
    present = [spec for spec in wanted if spec.name in existing]
    counts = {spec.name: len(existing[spec.name].partitions) for spec in present}
    grown = _grow(admin, present, counts, where)
    configured = _configure(admin, present, where)
    for spec in present:
        details = [text for text in (grown.get(spec.name), configured.get(spec.name)) if text]
        partitions = max(counts[spec.name], spec.partitions)
        if not details and counts[spec.name] > spec.partitions:
            kept = f"has {partitions} partitions, {spec.partitions} asked for: partitions are never taken away"
            changes[spec.name] = TopicChange(spec.name, "unchanged", partitions, kept)
        else:
            action: Literal["changed", "unchanged"] = "changed" if details else "unchanged"
            changes[spec.name] = TopicChange(spec.name, action, partitions, "; ".join(details))
    return [changes[spec.name] for spec in wanted]


def refuse_partitions(settings: Settings, names: Iterable[str]) -> None:
    """See that each of these topics that is there has one partition. Blocks; without a broker it says nothing, as
    whoever needs one waits for it.

    Raises:
        TopicError: one has more, as in an installation that an older version made.
    """
    where = settings.kafka_bootstrap
    admin = AdminClient({**client_config(settings), "socket.timeout.ms": 10_000, "log_level": 2})
    try:
        existing = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except KafkaException:
        return
    for name in names:
        count = len(existing[name].partitions) if name in existing else 1
        if count > 1:
            raise TopicError(
                f"topic {name} on {where} has {count} partitions and needs exactly one, so that one worker sees "
                "all of it in order; an older version made it. Partitions are never taken away: stop the workers, "
                f"delete the topic (kafka-topics.sh --bootstrap-server {where} --delete --topic {name}) and run "
                "'tocsin up', which makes it anew. ClickHouse keeps all that was on it."
            )


def _create(admin: AdminClient, specs: list[TopicSpec], replicas: int, where: str) -> list[tuple[TopicSpec, bool]]:
    if not specs:
        return []
    new = [
        NewTopic(s.name, num_partitions=s.partitions, replication_factor=replicas, config=dict(s.config)) for s in specs
    ]
    futures = admin.create_topics(new, request_timeout=REQUEST_TIMEOUT_S)
    return [
        (spec, _done(futures[spec.name], spec.name, where, ignore=KafkaError.TOPIC_ALREADY_EXISTS)) for spec in specs
    ]


def _grow(admin: AdminClient, specs: list[TopicSpec], counts: dict[str, int], where: str) -> dict[str, str]:
    short = [spec for spec in specs if counts[spec.name] < spec.partitions]
    if not short:
        return {}
    futures = admin.create_partitions([NewPartitions(spec.name, spec.partitions) for spec in short])
    grown: dict[str, str] = {}
    for spec in short:
        # Another process growing it at the same time makes the broker answer INVALID_PARTITIONS.
        if _done(futures[spec.name], spec.name, where, ignore=KafkaError.INVALID_PARTITIONS):
            grown[spec.name] = f"partitions {counts[spec.name]} -> {spec.partitions}"
    return grown


def _configure(admin: AdminClient, specs: list[TopicSpec], where: str) -> dict[str, str]:
    if not specs:
        return {}
    resources = {spec.name: ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs}
    described = admin.describe_configs(list(resources.values()), request_timeout=REQUEST_TIMEOUT_S)
    by_name = {resource.name: future for resource, future in described.items()}
    changed: dict[str, str] = {}
    alter: list[ConfigResource] = []
    for spec in specs:
        current = _result(by_name[spec.name], spec.name, where)
        differing = {
            key: value for key, value in spec.config.items() if key not in current or current[key].value != value
        }
        if differing:
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in differing.items()
            ]
            alter.append(ConfigResource(ResourceType.TOPIC, spec.name, incremental_configs=entries))
            shown = (
                f"{key} {current[key].value if key in current else '-'} -> {value}" for key, value in differing.items()
            )
            changed[spec.name] = ", ".join(shown)
    if alter:
        for resource, future in admin.incremental_alter_configs(alter, request_timeout=REQUEST_TIMEOUT_S).items():
            _result(future, resource.name, where)
    return changed


def _done(future: Future[Any], topic: str, where: str, ignore: int) -> bool:
    try:
        future.result(REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == ignore:
            return False
        raise TopicError(f"topic {topic} on {where}: {_reason(error)}") from error
    except TimeoutError as error:
        raise TopicError(f"topic {topic} on {where}: no answer within {REQUEST_TIMEOUT_S:.0f} s") from error
    return True


def _result(future: Future[Any], topic: str, where: str) -> Any:
    _done(future, topic, where, ignore=KafkaError.NO_ERROR)
    return future.result()


def _reason(error: KafkaException) -> str:
    cause = error.args[0]
    return str(cause.str()) if isinstance(cause, KafkaError) else str(cause)
