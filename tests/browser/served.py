"""The desk with the sample watch, and tabs of people with each role."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stack import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """A running desk on its data directory, and the sessions that let one in by role."""

    def __init__(self, address: str, sessions: dict[str, str], data_dir: Path) -> None:
        self.address, self.sessions, self.data_dir = address, sessions, data_dir


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """A desk in a process of its own, with its data in ``folder``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.dashboards.desk.pages.served", str(folder), str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        # The sessions are told before the server listens.
        wait_until(lambda: _answers(port), 60, "the desk serves")
        yield Served(f"http://127.0.0.1:{port}", json.loads(line), folder)
        process.terminate()
        process.wait(timeout=30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
