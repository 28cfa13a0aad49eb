"""A webhook receiver as an organisation would run one, which keeps what it gets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from processors.notify.signing import IDEMPOTENCY_HEADER


@dataclass(frozen=True)
class Got:
    """One request: the last part of its path, which here stands for the person, its idempotency key, its body."""

    person: str
    key: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def alert_ids(self) -> set[str]:
        return {each["alert_id"] for each in self.body["alerts"]}


@dataclass
class Receiver:
    port: int
    got: list[Got] = field(default_factory=list)

    def url(self, person: str) -> str:
        return f"http://127.0.0.1:{self.port}/{person}"

    def about(self, alert_id: str, kind: str | None = None) -> list[Got]:
        """Messages about an alert, each idempotency key once, as a receiver that keeps to it sees them."""
        found = {each.key: each for each in self.got if alert_id in each.alert_ids}
        return [each for each in found.values() if kind in (None, each.kind)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.got.append(Got(self.path.rpartition("/")[2], self.headers[IDEMPOTENCY_HEADER], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
