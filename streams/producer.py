"""What a partner publishes with: local validation, Avro, and a producer that loses nothing silently.

with PartnerProducer(partner="fiu-nl") as producer:
    producer.publish("financial_transaction", producer.event("financial_transaction", tlp="AMBER", kind="CARD"))
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import fastavro
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pydantic import ValidationError

from schemas.events import Event, Problem, model_for, problems_of, to_avro
from schemas.partners import Partner, load_partners
from schemas.registry import Registry, load_schema, topic_of
from schemas.settings import Settings
from schemas.wire import encode
from streams.ids import uuid7
from streams.kafka import client_config, unreachable
from streams.publish_errors import BrokerUnreachable, DeliveryFailed, InvalidEvent, NotAllowed, QueueFull
from streams.shape import ShapeError, nest, new_event

__all__ = [
    "BrokerUnreachable",
    "DeliveryFailed",
    "InvalidEvent",
    "NotAllowed",
    "Outgoing",
    "PartnerProducer",
    "ProducerStats",
    "QueueFull",
]

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # librdkafka repeats itself; who wants to read it configures logging

SOFTWARE: Final = "tocsin-python/0.1"
# Room for Kafka's own framing above the contract's limit; librdkafka's default of 1,000,000 is below the limit.
_OVERHEAD_BYTES: Final = 65_536
_POLL_S: Final = 0.05

DeliveryCallback = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """Counts since the start: accepted into the queue, confirmed, failed, refused locally; and what is queued now."""

    published: int
    delivered: int
    failed: int
    refused: int
    queued: int
    bytes_published: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One encoded event."""

    topic: str
    key: bytes
    value: bytes
    event_id: str


class PartnerProducer:
    """Publishes one partner's events; safe to use from several threads.

    ``publish`` validates and encodes on the caller's thread and returns when the event is in the bounded local queue;
    it blocks while the queue is full, for ``block_timeout_s`` at most. Delivery is idempotent and in order per key.
    What the broker did not confirm is raised by ``flush`` and ``close``, never dropped.
    """

    def __init__(
        self,
        partner: str,
        *,
        settings: Settings | None = None,
        source_system: str | None = None,
        queue_max_messages: int = 100_000,
        queue_max_kbytes: int = 262_144,
        block_timeout_s: float = 60.0,
        heartbeat_every_s: float | None = None,
        check_partner: bool = True,
        schema_ids: Mapping[str, int] | None = None,
        kafka_config: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Needs no broker yet. ``schema_ids`` (family -> id) saves the registry; ``kafka_config`` (librdkafka names,
        for example security settings) overrides what is set here; ``check_partner=False`` skips partners.yml.

        Raises:
            UnknownPartner, ConfigError: partners.yml does not have the partner, or cannot be read.
            KafkaException: a wrong setting in ``kafka_config``.
        """
        self.settings = settings or Settings.load()
        self.partner = partner
        self.source_system = source_system
        self._agreement: Partner | None = (
            load_partners(self.settings.partners_file).get(partner) if check_partner else None
        )
        self._block_timeout_s = block_timeout_s
        self._now = now
        self._lock = threading.Lock()
        self._schemas: dict[str, tuple[int, Any]] = {}
        self._schema_ids = dict(schema_ids or {})
        self._failures: Counter[tuple[str, int, str]] = Counter()
        self._published = self._delivered = self._failed = self._refused = self._bytes = 0
        self._last_error = ""
        self._closed = False
        config: dict[str, Any] = {
            **client_config(self.settings),
            "client.id": f"tocsin-{partner}",
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 5,
            "reconnect.backoff.ms": 200,
            "partitioner": "murmur2_random",  # Java's: a key goes to one partition whatever language wrote it
            "queue.buffering.max.messages": queue_max_messages,
            "queue.buffering.max.kbytes": queue_max_kbytes,
            "message.max.bytes": self.settings.max_event_bytes + _OVERHEAD_BYTES,
            "error_cb": self._on_error,
            **(kafka_config or {}),
        }
        self._config, self._bootstrap = config, config["bootstrap.servers"]
        self._producer = Producer(config, logger=log)
        self._heartbeat_every_s = heartbeat_every_s
        self._stop_heartbeat = threading.Event()
        self._heartbeat: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryFailed as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    def start(self, timeout_s: float = 10.0) -> None:
        """Check that a broker answers and start heartbeats; called by ``with``.

        Raises:
            BrokerUnreachable: no answer within ``timeout_s``, or Kafka does not let this user in.
        """
        try:
            self._producer.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise BrokerUnreachable(unreachable(self._config, error)) from error
        if self._heartbeat_every_s is not None and self._heartbeat is None:
            self._heartbeat = threading.Thread(target=self._beat, name=f"heartbeat-{self.partner}", daemon=True)
            self._heartbeat.start()

    def event(self, family: str, **fields: Any) -> Event:
        """``new_event`` of this partner and source system.

        Raises:
            InvalidEvent: names each field that is missing, unknown or out of range.
        """
        if self.source_system is not None:
            fields.setdefault("source_system", self.source_system)
        try:
            return new_event(family, partner=self.partner, now=self._now(), **fields)
        except ValidationError as error:
            raise InvalidEvent(family, str(fields.get("event_id", "")), problems_of(error)) from error
        except ShapeError as error:
            raise InvalidEvent(family, str(fields.get("event_id", "")), [_twice(error)]) from error

    def publish(self, family: str, event: Event | Mapping[str, Any], *, key: str | None = None) -> str:
        """Validate, encode and queue one event; returns its event id. ``published_at`` is set here.

        ``key`` decides the partition and so the order; default is the first entity's value, else the event id.

        Raises:
            InvalidEvent: nothing was sent. NotAllowed: not this partner's family. QueueFull: after
            ``block_timeout_s``. RegistryError: the contract is not registered. RuntimeError: closed.
            DeliveryFailed: the producer is in a state that it cannot recover from.
        """
        outgoing = self.prepare(family, event, key=key)
        deadline = time.monotonic() + self._block_timeout_s
        while not self.offer(outgoing, self.record_delivery):
            if time.monotonic() >= deadline:
                raise self.queue_full()
            self._producer.poll(_POLL_S)
        self._producer.poll(0)
        return outgoing.event_id

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything queued is confirmed.

        Raises:
            DeliveryFailed: what failed since the last call, and what is unconfirmed after ``timeout_s``.
        """
        self._producer.flush(timeout_s)
        with self._lock:
            failures, self._failures = self._failures, Counter()
            left = self._unconfirmed()
        if failures or left:
            raise DeliveryFailed(failures, left)

    def close(self, timeout_s: float = 60.0) -> None:
        """Stop heartbeats and flush; further publishing is refused. Idempotent.

        Raises:
            DeliveryFailed: see ``flush``.
        """
        if self._closed:
            return
        self._stop_heartbeat.set()
        if self._heartbeat is not None:
            self._heartbeat.join(timeout_s)
        self._closed = True
        self.flush(timeout_s)

    @property
    def stats(self) -> ProducerStats:
        """A snapshot of the counts."""
        with self._lock:
            counts = (self._published, self._delivered, self._failed, self._refused, self._unconfirmed(), self._bytes)
        return ProducerStats(*counts)

    def validate(self, family: str, event: Event | Mapping[str, Any]) -> Event:
        """The event as its model, ``partner`` and ``published_at`` filled in when a mapping has none; sends nothing.

        Raises:
            InvalidEvent, NotAllowed: see ``publish``.
        """
        model = model_for(family)
        if self._agreement is not None and not self._agreement.may_publish(family):
            allowed = ", ".join(self._agreement.families)
            raise NotAllowed(
                f"{self.partner} may not publish {family}; its agreement ({self.settings.partners_file}) has: {allowed}"
            )
        try:
            checked = event if isinstance(event, model) else model.model_validate(self._filled(event))
        except ValidationError as error:
            raise self._refuse(family, event, problems_of(error)) from error
        except ShapeError as error:
            raise self._refuse(family, event, [_twice(error)]) from error
        if checked.header.partner != self.partner:
            fix = f"must be {self.partner!r}, the partner of this producer"
            problem = Problem("header.partner", "partner_mismatch", ascii(checked.header.partner), fix)
            raise self._refuse(family, checked, [problem])
        return checked

    def prepare(self, family: str, event: Event | Mapping[str, Any], *, key: str | None = None) -> Outgoing:
        """Validate and encode; asks the registry once a family. Raises as ``publish`` does."""
        if self._closed:
            raise RuntimeError("the producer is closed; make a new one")
        checked = self.validate(family, event)
        schema_id, parsed = self._schema(family)
        record = to_avro(checked)
        record["header"]["published_at"] = self._now()
        value = encode(schema_id, parsed, record)
        if len(value) > self.settings.max_event_bytes:
            fix = f"must be at most {self.settings.max_event_bytes} bytes as Avro; shorten its texts or entities"
            raise self._refuse(family, checked, [Problem("event", "oversize", f"{len(value)} bytes", fix)])
        header = checked.header
        natural = key or (header.entities[0].value if header.entities else "") or header.event_id
        return Outgoing(topic_of(family), natural.encode(), value, header.event_id)

    def offer(self, outgoing: Outgoing, on_delivery: DeliveryCallback) -> bool:
        """Put an event into the queue without blocking; False when the queue is full.

        Raises:
            DeliveryFailed: the producer is in a state that it cannot recover from.
        """
        try:
            self._producer.produce(outgoing.topic, outgoing.value, outgoing.key, on_delivery=on_delivery)
        except BufferError:
            return False
        except KafkaException as error:
            raise DeliveryFailed({(outgoing.topic, -1, str(error.args[0].str())): 1}) from error
        with self._lock:
            self._published += 1
            self._bytes += len(outgoing.value)
        return True

    def queue_full(self) -> QueueFull:
        """The error that a full queue ends in."""
        why = f"; last error: {self._last_error}" if self._last_error else ""
        with self._lock:
            queued = self._unconfirmed()
        return QueueFull(
            f"the local queue ({queued} events) stayed full for {self._block_timeout_s:g} s: "
            f"{self._bootstrap} takes events too slowly or is away{why}"
        )

    def poll(self, timeout_s: float) -> int:
        """Serve delivery reports; ``publish`` and ``flush`` do it as well."""
        return int(self._producer.poll(timeout_s))

    def record_delivery(self, error: KafkaError | None, message: Message, *, raised: bool = False) -> None:
        """Count a delivery report; a callback of one's own must call it, with ``raised`` if it raises the failure."""
        with self._lock:
            if error is None:
                self._delivered += 1
                return
            self._failed += 1
            if not raised:
                self._failures[message.topic() or "?", message.partition() or 0, error.str()] += 1

    def _unconfirmed(self) -> int:
        # Not librdkafka's own queue length: that counts error notices that wait to be served as well.
        return max(self._published - self._delivered - self._failed, 0)

    def _filled(self, event: Event | Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(event, Event):
            return event.model_dump()
        filled = nest(event)
        header = filled.get("header")
        if isinstance(header, dict):
            header.setdefault("published_at", self._now())
            header.setdefault("partner", self.partner)
            if self.source_system is not None:
                header.setdefault("source_system", self.source_system)
        return filled

    def _refuse(self, family: str, event: Event | Mapping[str, Any], problems: list[Problem]) -> InvalidEvent:
        with self._lock:
            self._refused += 1
        if isinstance(event, Event):
            return InvalidEvent(family, event.header.event_id, problems)
        header = event.get("header")
        event_id = (header.get("event_id") if isinstance(header, Mapping) else None) or event.get("event_id")
        return InvalidEvent(family, ascii(event_id)[1:-1][:40] if isinstance(event_id, str) else "", problems)

    def knows(self, family: str) -> bool:
        """Whether the registry was asked for a family already, so that ``prepare`` does not block."""
        return family in self._schemas

    def _schema(self, family: str) -> tuple[int, Any]:
        known = self._schemas.get(family)
        if known is None:
            schema_id = self._schema_ids.get(family)
            if schema_id is None:
                with Registry.of(self.settings) as registry:
                    schema_id = registry.lookup(family)
            known = self._schemas[family] = (schema_id, fastavro.parse_schema(load_schema(family)))
        return known

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = error.str()

    def _beat(self) -> None:
        sequence = 0
        while not self._stop_heartbeat.is_set():
            counts = self.stats
            try:
                beat = new_event(
                    "heartbeat",
                    partner=self.partner,
                    now=self._now(),
                    source_system=self.source_system or "publisher",
                    tlp="GREEN",
                    sequence=sequence,
                    published_total=counts.published,
                    refused_total=counts.refused,
                    software=SOFTWARE,
                    event_id=uuid7(),
                )
                self.publish("heartbeat", beat, key=self.partner)
                sequence += 1
            except Exception as error:  # a missed heartbeat must not end the partner's process; silence is alerted on
                log.warning("heartbeat %d of %s not sent: %s", sequence, self.partner, error)
            self._stop_heartbeat.wait(self._heartbeat_every_s)


def _twice(error: ShapeError) -> Problem:
    return Problem(error.field, "given_twice", error.found, error.fix)
