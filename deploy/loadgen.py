"""Prefill topics fast for tests and benches: encoded demo traffic by the hundred thousand, and a plain producer for it.

Load is made from templates. At most ``distinct`` events are generated and encoded one by one; the rest are copies whose
event id and times are overwritten in the bytes. So ids and times are all different, while identities, texts and sizes
repeat about every ``distinct`` events: enough for throughput and loss, not a measure of how compression or caches do on
endless new values.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import fastavro
from confluent_kafka import KafkaException, Producer

from deploy.demo.scenarios import event_of, scenarios
from deploy.demo.world import MIX, SHARES, background
from schemas.registry import load_schema, topic_of
from schemas.settings import Settings
from schemas.wire import PREFIX_BYTES, encode
from streams.ids import uuid7
from streams.kafka import client_config

EncodedRecord = tuple[str, bytes, bytes]
"""Topic, key, value in Confluent wire format."""

# Layout of every family's body: EventHeader is the first field and starts with event_id (string of 36 characters:
# length byte 72, zig-zag), occurred_at (long), occurred_precision (enum, one byte), published_at (long). Microseconds
# of the years 1979 to 3111 are zig-zag varints of exactly 8 bytes (Avro 1.12, "Binary Encoding").
_ID: Final = slice(PREFIX_BYTES + 1, PREFIX_BYTES + 37)
_TIME_BYTES: Final = 8
_OCCURRED: Final = _ID.stop
_PRECISION: Final = _OCCURRED + _TIME_BYTES
_PUBLISHED: Final = _PRECISION + 1
_TAIL: Final = _PUBLISHED + _TIME_BYTES
_MICRO_RANGE: Final = (1 << 48, 1 << 55)

Template = tuple[str, bytes, bytes, bytes, bytes]
"""Topic, key, the bytes before event_id's text, occurred_precision, everything behind published_at."""


def generate_encoded(
    n: int,
    seed: int,
    families: Sequence[str],
    schema_ids: Mapping[str, int],
    *,
    until: dt.datetime | None = None,
    spread_s: float = 600.0,
    distinct: int = 50_000,
) -> list[EncodedRecord]:
    """``n`` encoded background events in event-time order, in the partners' proportions.

    Args:
        families: families to send; partners that send none of them are left out.
        schema_ids: family to schema id in the registry (``schemas.registry.register_all`` gives them).
        until: time of the last event, aware UTC; now when not given. With it given, the same arguments always give
            the same bytes.
        spread_s: seconds of event time over which the events spread evenly; publication equals occurrence.

    Raises:
        ValueError: no partner sends any of ``families``, or a time is outside the years 1979 to 3111.
        KeyError: a family has no schema id.
    """
    end = until or dt.datetime.now(dt.UTC)
    drafts = templates(min(n, distinct), seed, families, schema_ids, end)
    last_us = int(end.timestamp() * 1_000_000)
    step_us = spread_s * 1_000_000 / max(n - 1, 1)
    rng = random.Random(seed)
    records: list[EncodedRecord] = []
    for number, (topic, key, head, precision, tail) in enumerate(itertools.islice(itertools.cycle(drafts), n)):
        micros = last_us - int((n - 1 - number) * step_us)
        event_id, time = uuid7(micros // 1000, rng.getrandbits(74)).encode(), varint(micros)
        records.append((topic, key, b"".join((head, event_id, time, precision, time, tail))))
    return records


def encode_scenarios(run_id: str, schema_ids: Mapping[str, int], now: dt.datetime) -> list[EncodedRecord]:
    """All scenario events of one run as if published at ``now``, earliest first; ids follow from the arguments.

    ``deploy.demo.scenarios.expected(run_id)`` lists the alerts that they lead to.
    """
    rng = random.Random(run_id)
    steps = [step for scenario in scenarios(run_id) for step in scenario.steps]
    parsed = {family: fastavro.parse_schema(load_schema(family)) for family in {step.family for step in steps}}
    return [
        _encoded(step.family, event_of(step, now, rng), parsed, schema_ids)
        for step in sorted(steps, key=lambda step: -step.age_s)
    ]


def produce_encoded(
    settings: Settings, records: Sequence[EncodedRecord], partitions: int | None = None, compression: str = "zstd"
) -> None:
    """Send records and wait until every one is acknowledged by all replicas.

    Args:
        partitions: deal the records out over this many partitions in turn; by key when None.
        compression: librdkafka codec: none, gzip, snappy, lz4 or zstd.

    Raises:
        KafkaException: a record was not delivered, or delivery made no progress for 60 s.
    """
    failed: list[Any] = []
    producer = Producer(
        {
            **client_config(settings),
            "enable.idempotence": True,
            "compression.type": compression,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 512 * 1024,
            "partitioner": "murmur2_random",
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _message: failed.append(error),
        }
    )
    for number, (topic, key, value) in enumerate(records):
        while True:
            try:
                if partitions is None:
                    producer.produce(topic, value, key)
                else:
                    producer.produce(topic, value, key, number % partitions)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 10_000 == 0:
            producer.poll(0)
    _drain(producer)
    if failed:
        raise KafkaException(failed[0])


def _drain(producer: Producer, patience_s: float = 60.0) -> None:
    left = len(producer)
    while left:
        still = producer.flush(patience_s)
        if still >= left:
            raise KafkaException(f"{still} records were not acknowledged within {patience_s:g} s: is the broker up?")
        left = still


def templates(
    n: int, seed: int, families: Sequence[str], schema_ids: Mapping[str, int], now: dt.datetime
) -> list[Template]:
    """``n`` encoded background events, each cut where its id and times are; ``now`` (aware, UTC) bounds their times."""
    parsed = {family: fastavro.parse_schema(load_schema(family)) for family in families}
    found: list[Template] = []
    for family, event in itertools.islice(_mixed(seed, families, now), n):
        topic, key, value = _encoded(family, event, parsed, schema_ids)
        found.append((topic, key, value[: _ID.start], value[_PRECISION:_PUBLISHED], value[_TAIL:]))
    return found


def _encoded(
    family: str, event: dict[str, Any], parsed: Mapping[str, Any], schema_ids: Mapping[str, int]
) -> EncodedRecord:
    return topic_of(family), natural_key(event), encode(schema_ids[family], parsed[family], event)


def natural_key(event: Mapping[str, Any]) -> bytes:
    """Key under which ``PartnerProducer`` would send the event: its first identifier, else the event id."""
    header = event["header"]
    entities = header["entities"]
    return str(entities[0]["value"] if entities else header["event_id"]).encode()


def _mixed(seed: int, families: Sequence[str], now: dt.datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """Traffic of all partners that send any of ``families``, in their shares."""
    wanted = {partner: [family for family in families if family in mix] for partner, mix in MIX.items()}
    senders = {partner: sent for partner, sent in wanted.items() if sent}
    if not senders:
        raise ValueError(f"no simulated partner sends any of {', '.join(families) or 'no families'}")
    rng = random.Random(seed)
    streams = {partner: background(partner, sent, seed, lambda: now, rng) for partner, sent in senders.items()}
    # A partner of whose families only some are wanted sends so much less.
    weights = [SHARES[partner] * sum(MIX[partner][family] for family in sent) for partner, sent in senders.items()]
    while True:
        for partner in rng.choices(list(senders), weights, k=1024):
            yield next(streams[partner])


def varint(micros: int) -> bytes:
    """Avro long of exactly ``_TIME_BYTES`` bytes."""
    if not _MICRO_RANGE[0] <= micros < _MICRO_RANGE[1]:
        raise ValueError(f"time {micros} us since 1970 is outside the years 1979 to 3111, which take 8 bytes")
    value, out = micros << 1, bytearray(_TIME_BYTES)
    for place in range(_TIME_BYTES):
        out[place] = value & 0x7F | 0x80
        value >>= 7
    out[-1] &= 0x7F
    return bytes(out)
