"""Eight simulated partners in one process, each publishing through the SDK: ``python -m deploy.demo.partners``.

Counts go to ``<data dir>/demo.json`` once a second, replaced as a whole. SIGTERM or SIGINT ends the traffic, waits for
every confirmation and writes the final counts, which are then exact.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from deploy.demo.bad_input import bad_record
from deploy.demo.player import Player, state
from deploy.demo.world import MIX, Event
from schemas.registry import FAMILIES, Registry, RegistryError
from schemas.settings import Settings, SettingsError
from streams.kafka import client_config
from streams.producer import BrokerUnreachable, DeliveryFailed, PartnerProducer

STATE_FILE: Final = "demo.json"
HEARTBEAT_S: Final = 10.0
_TICK_S: Final = 0.025
_STATE_EVERY_S: Final = 1.0
_FLUSH_S: Final = 60.0


class KafkaPublisher:
    """Publishes good events through one ``PartnerProducer`` a partner, and bad records past the SDK.

    Use as a context manager: leaving it waits for all confirmations and raises DeliveryFailed for what is missing.
    """

    def __init__(self, settings: Settings) -> None:
        """Asks the registry for the schema ids; raises RegistryError when it does not answer or lacks a contract."""
        with Registry.of(settings) as registry:
            self._schema_ids = {family: registry.lookup(family) for family in FAMILIES}
        self._producers = {
            partner: PartnerProducer(
                partner, settings=settings, heartbeat_every_s=HEARTBEAT_S, schema_ids=self._schema_ids
            )
            for partner in MIX
        }
        self._raw = Producer(
            {
                **client_config(settings),
                "client.id": "tocsin-demo-bad-input",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "log_level": 2,  # the partners' own producers already say when the broker is away
            }
        )
        self._bad: Counter[str] = Counter()
        self._failed: Counter[tuple[str, int, str]] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> KafkaPublisher:
        """Raises BrokerUnreachable when no broker answers."""
        with ExitStack() as stack:
            for producer in self._producers.values():
                stack.enter_context(producer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        with self._stack:  # closes, and so flushes, every producer even when one of them fails
            left = self._raw.flush(_FLUSH_S)
            if left or self._failed:
                raise DeliveryFailed(self._failed, left)

    def publish(self, partner: str, family: str, event: Event) -> None:
        self._producers[partner].publish(family, event)

    def publish_bad(self, partner: str, reason: str, family: str, event: Event) -> None:
        record = bad_record(reason, family, event, self._schema_ids)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._bad[partner] += 1
            else:
                self._failed[message.topic() or "?", message.partition() or 0, error.str()] += 1

        self._raw.produce(record.topic, record.value, record.key, on_delivery=delivered)

    def poll(self) -> None:
        """Take in delivery reports; without it counts stand still while nothing is sent."""
        self._raw.poll(0)
        for producer in self._producers.values():
            producer.poll(0)

    @property
    def published(self) -> dict[str, int]:
        """Confirmed events by partner, heartbeats included."""
        return {partner: producer.stats.delivered for partner, producer in self._producers.items()}

    @property
    def bad(self) -> dict[str, int]:
        """Confirmed bad records by partner."""
        return dict(self._bad)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(content), encoding="utf-8")
    fresh.replace(path)


def simulate(settings: Settings, run_id: str, seed: int, rate: float, stop: threading.Event) -> dict[str, Any]:
    """Play until ``stop`` is set; returns the final content of ``demo.json``.

    Raises:
        RegistryError, BrokerUnreachable: the platform is not up.
        DeliveryFailed: events that the broker did not confirm; the counts are written all the same.
    """
    path = settings.data_dir / STATE_FILE
    publisher = KafkaPublisher(settings)
    player = Player(publisher, run_id, seed, rate)
    started_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    try:
        with publisher:
            started = time.monotonic()
            written = -_STATE_EVERY_S
            while not stop.is_set():
                elapsed = time.monotonic() - started
                player.play(elapsed)
                publisher.poll()
                if elapsed - written >= _STATE_EVERY_S:
                    written = elapsed
                    write_json(path, state(player, started_at, publisher.published, publisher.bad, finished=False))
                stop.wait(_TICK_S)
    finally:
        final = state(player, started_at, publisher.published, publisher.bad, finished=True)
        write_json(path, final)
    return final


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.partners", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None, help="data directory of the running platform")
    parser.add_argument("--rate", type=float, default=40.0, help="background events per second of all partners")
    parser.add_argument("--run-id", default=None, help="marks the scenarios of this run; a random one when not given")
    parser.add_argument("--seed", type=int, default=7, help="seed of the background traffic")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.load(options.data_dir)
        final = simulate(settings, options.run_id or secrets.token_hex(4), options.seed, options.rate, stop)
    except (SettingsError, RegistryError, BrokerUnreachable, DeliveryFailed) as error:
        print(f"demo partners: {error}", file=sys.stderr)
        return 1
    print(f"demo partners: {final['published_total']} events and {final['bad_total']} bad records confirmed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
