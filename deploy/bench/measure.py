"""Measuring processes from outside: their rate by wall and CPU time, and the memory of their trees."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WARM_UP_SHARE = 0.1
POLL_S = 0.5
"""Looking costs some ten milliseconds of the processors that are being measured."""
NEAR_END = 0.8
POLL_NEAR_END_S = 0.1
"""From that share of the events on, for the moment of the last one is what the rate hangs on."""
TREE_EVERY_S = 1.0
"""How often processes are asked for children: it means reading all of /proc."""

Processes = Mapping[str, "subprocess.Popen[bytes]"]


class StalledError(RuntimeError):
    """A measured process ended or made no progress."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds and peak of the resident memory in MiB of a process with its children."""

    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Measured:
    """``events`` were handled between the end of the warm-up and the end; CPU is of that time, memory of all of it."""

    events: int
    wall_s: float
    processes: dict[str, Usage]
    peak_rss_mb: float
    """Of all processes together, at one time."""
    rss_mb_at: tuple[float, float, float]
    """When a third, two thirds and all of the events were handled: shows whether memory grows."""

    @property
    def per_s(self) -> float:
        return self.events / self.wall_s

    def as_json(self) -> dict[str, Any]:
        cpu_s = sum(each.cpu_s for each in self.processes.values())
        return {
            "events_per_s": round(self.per_s),
            "events_per_cpu_s": round(self.events / cpu_s) if cpu_s else 0,
            "peak_rss_mb": round(self.peak_rss_mb),
            "rss_mb_at_thirds": [round(each) for each in self.rss_mb_at],
            "processes": {
                name: {"cpu_s": round(each.cpu_s, 2), "peak_rss_mb": round(each.peak_rss_mb)}
                for name, each in self.processes.items()
            },
        }


def median(runs: Sequence[Measured]) -> dict[str, Any]:
    """Median of each rate and peak over the runs; what is a list or by process is of the last run."""
    figures = [each.as_json() for each in runs]
    medians = {
        name: round(statistics.median(each[name] for each in figures))
        for name in ("events_per_s", "events_per_cpu_s", "peak_rss_mb")
    }
    return {**figures[-1], **medians, "runs": [each["events_per_s"] for each in figures]}


def measure(
    processes: Processes,
    done: Callable[[], int],
    total: int,
    ready: Callable[[], bool] = lambda: True,
    patience_s: float = 120.0,
) -> Measured:
    """Watch until ``done()`` reaches ``total``; the first tenth is warm-up and does not count.

    Where more than half are done at the first sight of any, all count, from the moment of ``ready()`` on.

    Raises:
        StalledError: a process died, or nothing moved for ``patience_s`` seconds.
    """
    trees = {name: Tree(process.pid) for name, process in processes.items()}
    started = begin = (0, time.monotonic(), {name: tree.cpu_s() for name, tree in trees.items()})
    waiting = True
    peaks = dict.fromkeys(trees, 0.0)
    peak, last, moved_at = 0.0, -1, time.monotonic()
    thirds: list[float] = []
    while True:
        if waiting:
            waiting = not ready()
            started = begin = (0, time.monotonic(), {name: tree.cpu_s() for name, tree in trees.items()})
        count, now = done(), time.monotonic()
        memory = {name: tree.memory_mb() for name, tree in trees.items()}
        peaks = {name: max(peaks[name], memory[name]) for name in trees}
        rss = sum(memory.values())
        peak = max(peak, rss)
        if started is begin and WARM_UP_SHARE * total <= count <= total / 2:
            started = (count, now, {name: tree.cpu_s() for name, tree in trees.items()})
        if count >= total * (len(thirds) + 1) / 3:
            thirds.append(rss)
        if count >= total:
            used = {name: Usage(tree.cpu_s() - started[2][name], peaks[name]) for name, tree in trees.items()}
            at = (*thirds, rss, rss, rss)[:3]
            return Measured(count - started[0], now - started[1], used, peak, (at[0], at[1], at[2]))
        if count > last:
            last, moved_at = count, now
        for name, process in processes.items():
            if process.poll() is not None:
                raise StalledError(f"{name} ended with {process.returncode} after {count:,} of {total:,} events")
        if now - moved_at > patience_s:
            raise StalledError(f"no progress for {patience_s:.0f} s at {count:,} of {total:,} events")
        time.sleep(POLL_S if count < NEAR_END * total else POLL_NEAR_END_S)


class Tree:
    """A process and its descendants that live."""

    def __init__(self, pid: int) -> None:
        self._root, self._members, self._looked_at = psutil.Process(pid), [psutil.Process(pid)], 0.0

    def cpu_s(self) -> float:
        """User and system time."""
        return sum(sum(each.cpu_times()[:2]) for each in self._living())

    def memory_mb(self) -> float:
        """Resident memory, MiB."""
        return sum(each.memory_info().rss for each in self._living()) / 1048576

    def _living(self) -> list[psutil.Process]:
        try:
            if time.monotonic() - self._looked_at > TREE_EVERY_S:
                self._members, self._looked_at = [self._root, *self._root.children(recursive=True)], time.monotonic()
            return [each for each in self._members if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def running(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path, talk: bool = False
) -> Iterator[Processes]:
    """Children that end with the block; each writes to ``logs``/NAME.log. With ``talk`` their standard input and output
    are pipes and only errors go to the log."""
    logs.mkdir(parents=True, exist_ok=True)
    pipe = subprocess.PIPE if talk else None
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as files:
        try:
            for name, argv in commands.items():
                log = files.enter_context((logs / f"{name}.log").open("wb"))
                processes[name] = subprocess.Popen(
                    argv, env=dict(environment), stdin=pipe, stdout=pipe or log, stderr=log
                )
            yield processes
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
