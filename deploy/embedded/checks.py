"""Whether parts serve, asked over their own protocols."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from confluent_kafka.admin import AdminClient

from deploy.embedded.part import Check
from schemas.settings import Settings
from streams.kafka import Config, client_config
from streams.progress import asking_config


def admin(settings: Settings) -> AdminClient:
    """An admin client that retries fast and logs nothing.

    It has no Python callbacks (``logger``, ``error_cb``): the collector destroys an AdminClient with the interpreter
    locked, and waits for ever for a thread that wants to call back.
    """
    return _admin(client_config(settings))


def _admin(access: Config) -> AdminClient:
    return AdminClient(asking_config(access))


def port_answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def kafka_serves(bootstrap: str, cluster_id: str) -> Check:
    """Checks that the broker is registered, there is a controller, and that it is our cluster."""
    host, port = bootstrap.rsplit(":", 1)

    def check() -> bool | str:
        if not port_answers(host, int(port)):
            return f"{bootstrap} does not accept connections"
        # The platform's own listener on loopback asks nobody who they are.
        found = _admin({"bootstrap.servers": bootstrap}).list_topics(timeout=3)
        if found.cluster_id != cluster_id:
            return f"{bootstrap} is another Kafka (cluster {found.cluster_id}, expected {cluster_id})"
        return bool(found.brokers) or "the broker is not registered yet"

    return check


def http_get(url: str, timeout_s: float = 3.0) -> tuple[int, bytes]:
    """Status and body of a GET without proxies. Raises OSError or http.client.HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def registry_serves(url: str) -> Check:
    """Checks that the Confluent API lists its subjects, which reads the registry's storage."""

    def check() -> bool | str:
        status, body = http_get(f"{url}/subjects")
        return (status == 200 and isinstance(json.loads(body), list)) or f"/subjects answers {status}"

    return check


def clickhouse_serves(url: str) -> Check:
    """Checks ``/ping``, which ClickHouse answers with ``Ok.``."""

    def check() -> bool | str:
        status, body = http_get(f"{url}/ping")
        return (status == 200 and body.strip() == b"Ok.") or f"/ping answers {status} {body[:80]!r}"

    return check


class Unresponsive:
    """Liveness from a ready check: stalled when it has failed for ``limit_s`` seconds on end."""

    def __init__(self, check: Check, limit_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._check, self._limit_s, self._clock = check, limit_s, clock
        self._failing_since: float | None = None

    def reset(self) -> None:
        self._failing_since = None

    def __call__(self) -> bool | str:
        try:
            answer = self._check()
        except Exception as problem:
            answer = f"{type(problem).__name__}: {problem}"
        now = self._clock()
        if answer is True:
            self._failing_since = None
            return True
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        return True if failing < self._limit_s else f"no answer for {failing:.0f} s ({answer})"
