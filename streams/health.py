"""How a worker is, for whoever starts it again when it gets stuck: ``/health`` beside its Prometheus endpoint."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from socketserver import ThreadingMixIn
from typing import Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from streams.progress import CommittedProgress

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a worker is: ``starting`` until its group took it in, ``stalled`` when it has lag and commits nothing.

    ``text`` is for people.
    """

    status: Literal["starting", "ok", "stalled"]
    text: str


class Health:
    """Judges one worker by what Kafka says of its own partitions, as often as somebody asks.

    Args:
        progress: makes the check, given what says which partitions the worker has.
        store_away: whether ClickHouse is away: then nothing can be committed, and starting again is no help.
    """

    def __init__(
        self,
        progress: Callable[[Callable[[], Collection[tuple[str, int]]]], CommittedProgress],
        store_away: Callable[[], bool],
    ) -> None:
        self._mine: frozenset[tuple[str, int]] | None = None
        self._progress = progress(lambda: self._mine or ())
        self._store_away = store_away
        self._lock = threading.Lock()

    def assigned(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Note the (topic, partition) pairs that the group gave this worker; they may be none."""
        with self._lock:
            self._mine = frozenset(partitions)
            self._progress.reset()

    def standing(self) -> Standing:
        """The judgement of now; asks Kafka, so it takes up to some ten seconds. For any thread.

        Only what is asked again within less than the time in which a worker counts as stalled can be found so.
        """
        with self._lock:
            if self._mine is None:
                return Standing("starting", "the consumer group has not taken this worker in yet")
            if self._store_away():
                self._progress.reset()
                return Standing("ok", "waiting for ClickHouse")
            answer = self._progress()
            if answer is not True:
                return Standing("stalled", str(answer))
            count = len(self._mine)
            return Standing("ok", f"{count} partitions" if count else "waits for partitions that others have")


def serve(registry: CollectorRegistry, health: Health, port: int, address: str) -> int:
    """Serve ``/health`` (200, or 503 with the reason, as JSON) and on every other path the metrics, in a thread.

    Returns:
        The port; 0 takes a free one.

    Raises:
        OSError: nothing can listen there.
    """
    server = make_server(
        address, port, _application(make_wsgi_app(registry), health), _Server if "." in address else _Server6, _Quiet
    )
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def _application(metrics: Application, health: Health) -> Application:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            return metrics(environ, start_response)
        standing = health.standing()
        status = "200 OK" if standing.status == "ok" else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(asdict(standing)).encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # As WSGIServer does, but for its question to DNS for this machine's name, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return
