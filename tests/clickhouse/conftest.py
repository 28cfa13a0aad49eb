"""A real server as a subprocess on a free port, with its data in a temporary directory."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FULL = ("tocsin", "full password")
READER = ("reader", "read password")
USERS = {
    FULL[0]: {"password": FULL[1], "readonly": False},
    READER[0]: {"password": READER[1], "readonly": True},
}


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    path: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self, user: tuple[str, str] = FULL) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=user, timeout=30)

    def client(self, user: tuple[str, str] = FULL, **options: Any) -> Any:
        options.setdefault("autogenerate_session_id", False)
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user[0], password=user[1], database="tocsin", **options
        )

    def query(self, sql: str, **params: str) -> str:
        """A statement's result as text; fails the test when the server refuses it."""
        with self.http() as http:
            answer = http.post("/", params=params, content=sql.encode())
        assert answer.status_code == 200, answer.text
        return answer.text

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def errors(self) -> str:
        """What the server wrote to its error output."""
        return self.log.read_text()


def command(path: Path, users: Path, port: int = 0) -> list[str]:
    return [
        sys.executable, "-m", "deploy.clickhouse", "--path", str(path), "--port", str(port), "--users-file", str(users),
    ]  # fmt: skip


def launch(folder: Path, *more: str) -> Server:
    """Start a server on ``folder``/data, or again on what is there; ``more`` are further arguments."""
    users = folder / "users.json"
    users.write_text(json.dumps(USERS))
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen([*command(folder / "data", users), *more], cwd=REPOSITORY, stderr=errors, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            server = Server(process, int(found.group(1)), folder / "data", log)
            _wait_for_ping(server, deadline)
            return server
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the server did not come up: {log.read_text()}")


def _wait_for_ping(server: Server, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/ping").text == "Ok.\n":
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"no answer to /ping: {server.errors()}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it running; each test uses tables of its own."""
    running = launch(tmp_path_factory.mktemp("clickhouse"))
    yield running
    assert running.process.poll() is None, f"the server died during the tests: {running.errors()[-3000:]}"
    assert running.query("SELECT count() FROM system.processes") == "1\n", "a statement was left running"
    assert running.stop() == 0
    assert "Traceback" not in running.errors()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers of a single test, on one directory, one after the other."""
    started: list[Server] = []

    def begin(*more: str) -> Server:
        started.append(launch(tmp_path, *more))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(timeout=10)


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    """An empty table ``(a Int64, s String)``."""
    name = f"t_{uuid.uuid4().hex}"
    server.query(f"CREATE TABLE {name} (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    yield name
    server.query(f"DROP TABLE {name}")
