"""What a person sees while the platform starts: one line a step, and a bar while files are fetched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

Advance = Callable[[int], None]
_PLAIN_EVERY_S = 3.0


class Reporter(Protocol):
    """Told what happens; methods may be called from several threads and must not raise."""

    def say(self, text: str) -> None:
        """One step, for a person."""

    def download(self, title: str, total_bytes: int) -> AbstractContextManager[Advance]:
        """Entered while files are fetched; yields a function that takes the bytes gained (negative: lost)."""


class Silent:
    """Tells nobody; for tests and libraries."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def download(self, title: str, total_bytes: int) -> Iterator[Advance]:
        yield lambda _: None


class ConsoleReporter:
    """Lines on standard error; downloads as a bar on a terminal, as a line every few seconds elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        with self._lock:
            self.console.print(f"tocsin: {text}", markup=False)

    @contextmanager
    def download(self, title: str, total_bytes: int) -> Iterator[Advance]:
        if not self.console.is_terminal:
            yield PlainCounter(title, total_bytes, self.say).advance
            return
        columns = (TextColumn("tocsin: {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True) as bars:
            task = bars.add_task(title, total=total_bytes)
            yield lambda gained: bars.advance(task, gained)


class PlainCounter:
    """Says how far a download is, at most every three seconds, and once at its end."""

    def __init__(self, title: str, total_bytes: int, say: Callable[[str], None]) -> None:
        self._title, self._total, self._say = title, total_bytes, say
        self._done, self._told = 0, time.monotonic()
        self._lock = threading.Lock()
        say(f"{title}: {total_bytes / 1e6:.0f} MB to fetch")

    def advance(self, gained: int) -> None:
        with self._lock:
            self._done += gained
            now = time.monotonic()
            finished = self._done >= self._total
            if not finished and now - self._told < _PLAIN_EVERY_S:
                return
            self._told = now
            text = f"{self._title}: {self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB"
        self._say(text)
