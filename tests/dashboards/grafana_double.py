"""A small HTTP server that stands in for a Grafana: answers that a test sets, else a store of what it was sent.

It knows no rule of Grafana's. What it shows is what sync sends, and how it takes answers that say no.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
"""Status and body: bytes as they are, anything else as JSON."""
PLUGIN = "/api/plugins/grafana-clickhouse-datasource/settings"
ALERTING = "/api/v1/provisioning"


class Double:
    """``set`` answers go before what is stored. ``sent`` are the requests that change something, ``tokens`` all
    Authorization headers."""

    def __init__(self) -> None:
        self.url = ""
        self.set: dict[tuple[str, str], Answer] = {}
        self.sent: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.things: dict[str, dict[str, Any]] = {"datasources": {}, "folders": {}, "alert-rules": {}, "points": {}}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.permissions: list[Any] = []
        self.policy: Any = {"receiver": "grafana-default-email"}

    def answer(self, method: str, path: str, body: Any) -> Answer:
        if method != "GET":
            self.sent.append((method, path, body))
        if (method, path) in self.set:
            return self.set[method, path]
        match method, path.removeprefix("/api/").removeprefix("v1/provisioning/").split("/"):
            case "GET", ["health"]:
                return 200, {"database": "ok", "version": "9.4.17"}
            case "GET", ["plugins", *_]:
                return 200, {"info": {"version": "3.3.0"}}
            case "GET", ["search"]:
                return 200, [{"uid": uid} for uid in self.dashboards]
            case "GET", ["dashboards", "uid", uid, *rest] if uid in self.dashboards:
                found = self.dashboards[uid]
                return 200, [{"message": found["message"]}] if rest else found
            case "POST", ["dashboards", "db"]:
                meta = {"folderUid": body["folderUid"]}
                self.dashboards[body["dashboard"]["uid"]] = {**body, "meta": meta}
                return 200, {"status": "success"}
            case "DELETE", ["dashboards", "uid", uid]:
                del self.dashboards[uid]
                return 200, {}
            case _, ["folders", _, "permissions"]:
                self.permissions = self.permissions if body is None else body["items"]
                return 200, self.permissions
            case _, ["policies"]:
                self.policy = self.policy if body is None else body
                return 200, self.policy
        return self._stored(method, path, body)

    def _stored(self, method: str, path: str, body: Any) -> Answer:
        kind, _, uid = (
            path.removeprefix("/api/")
            .removeprefix("v1/provisioning/")
            .replace("contact-points", "points")
            .replace("datasources/uid", "datasources")
            .partition("/")
        )
        if kind not in self.things:
            return 404, {"message": "Not found"}
        found = self.things[kind]
        if method == "GET":
            return 200, list(found.values())
        if method == "DELETE":
            del found[uid]
        else:
            name = body.get("uid") or uid
            found[name] = found.get(name, {}) | body
        return 200, {}


@contextmanager
def double() -> Iterator[Double]:
    """One on a free port of loopback."""
    made = Double()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            body = json.loads(text) if text else None
            made.headers.append(dict(self.headers))
            status, answer = made.answer(self.command, unquote(urlsplit(self.path).path), body)
            page = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page.startswith(b"<") else "application/json")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 (names of http.server)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
