"""JSON lines files in order of event time, whatever their own order, without holding them in memory."""

from __future__ import annotations

import bisect
import mmap
import shutil
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import orjson

from processors.event_time import EventTime, TimeError

STDIN = "-"
MAX_LINE = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
Refuse = Callable[[str, int, str], None]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Batch:
    """Events with their times (microseconds since 1970 UTC) and the numbers that :meth:`JsonLines.line` knows."""

    events: list[dict[str, Any]]
    occurred_us: list[int]
    numbers: list[int]


class JsonLines:
    """Lines of one or more files, each parsed once for its time and once more when its turn has come.

    Holds 32 bytes of each. ``refuse`` is told file, line (from 1) and reason of what cannot be used.
    """

    def __init__(self, paths: Sequence[Path], time: EventTime, refuse: Refuse) -> None:
        self._paths, self._time, self._refuse = paths, time, refuse
        self._closing = ExitStack()
        self._texts: list[mmap.mmap | bytes] = []
        self._begins: list[int] = []
        self._times, self._offsets, self._lengths, self._lines = array("q"), array("q"), array("q"), array("q")
        self.refused = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def __len__(self) -> int:
        """Events that can be used."""
        return len(self._times)

    def read(self, progress: Progress) -> None:
        """Find every event's time; ``progress`` is told how many bytes more were read.

        Raises:
            OSError: a file cannot be read.
        """
        for path in self._paths:
            file = self._open(path)
            self._begins.append(len(self._times))
            self._scan(file, str(path), progress)
            empty = not file.tell()
            file.flush()
            mapped = None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._texts.append(self._closing.enter_context(mapped) if mapped else b"")

    def _open(self, path: Path) -> IO[bytes]:
        """The file, or a copy of what can be read only once."""
        source = sys.stdin.buffer if str(path) == STDIN else self._closing.enter_context(path.open("rb"))
        if source.seekable() and source is not sys.stdin.buffer:
            return source
        spool = self._closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stack
        shutil.copyfileobj(source, spool, 1 << 20)
        spool.seek(0)
        return spool

    def _scan(self, file: IO[bytes], name: str, progress: Progress) -> None:
        offset = number = told = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            begin, offset = offset, offset + len(raw)
            if len(raw) > MAX_LINE and not raw.endswith(b"\n"):
                while rest := file.readline(MAX_LINE):
                    offset += len(rest)
                    if rest.endswith(b"\n"):
                        break
                self._no(name, number, f"longer than {MAX_LINE:,} bytes")
                continue
            if number == 1:
                raw = raw.removeprefix(_BOM)
                begin = offset - len(raw)
            if raw.isspace() or not raw:
                continue
            try:
                event = orjson.loads(raw)
                if not isinstance(event, dict):
                    raise TimeError(f"a JSON {type(event).__name__}, not an object")
                at = self._time.read(event)
            except orjson.JSONDecodeError as error:
                self._no(name, number, f"not JSON: {error.msg} (column {error.colno})")
            except TimeError as error:
                self._no(name, number, str(error))
            else:
                self._times.append(at)
                self._offsets.append(begin)
                self._lengths.append(len(raw))
                self._lines.append(number)
            if number % 10_000 == 0:
                progress(offset - told)
                told = offset
        progress(offset - told)

    def _no(self, name: str, number: int, reason: str) -> None:
        self.refused += 1
        self._refuse(name, number, reason)

    def batches(self, size: int) -> Iterator[Batch]:
        """Events by time, those of equal time in the order of files and lines; to be called once all is read."""
        times = np.frombuffer(self._times, dtype=np.int64) if len(self._times) else np.zeros(0, dtype=np.int64)
        order = np.argsort(times, kind="stable")
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            files = np.searchsorted(self._begins, numbers, side="right") - 1
            events = [
                orjson.loads(self._texts[file][(begin := self._offsets[number]) : begin + self._lengths[number]])
                for number, file in zip(numbers.tolist(), files.tolist(), strict=True)
            ]
            yield Batch(events, times[numbers].tolist(), numbers.tolist())

    def line(self, number: int) -> tuple[str, int]:
        """File and line (from 1) of an event."""
        file = bisect.bisect_right(self._begins, number) - 1
        return str(self._paths[file]), self._lines[number]
