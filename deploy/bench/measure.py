"""Measuring a process from outside: its rate by wall and CPU time, and the memory of its tree."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

WARM_UP_SHARE = 0.15
POLL_S = 0.1


@dataclass(frozen=True)
class Measured:
    """``events`` were handled between the end of the warm-up and the end; CPU and memory are of the process tree."""

    events: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    rss_mb_at: tuple[float, float, float]
    """When a third, two thirds and all of the events were handled: shows whether memory grows."""

    def as_json(self) -> dict[str, Any]:
        return {
            "events_per_s": round(self.events / self.wall_s),
            "events_per_cpu_s": round(self.events / self.cpu_s) if self.cpu_s else 0,
            "peak_rss_mb": round(self.peak_rss_mb),
            "rss_mb_at_thirds": [round(each) for each in self.rss_mb_at],
        }


class StalledError(RuntimeError):
    """The measured process ended or made no progress."""


def measure(
    process: subprocess.Popen[bytes], done: Callable[[], int], total: int, patience_s: float = 120.0
) -> Measured:
    """Watch ``process`` until ``done()`` reaches ``total``; the first 15 % are warm-up and do not count.

    Raises:
        StalledError: it died, or nothing moved for ``patience_s`` seconds.
    """
    tree = psutil.Process(process.pid)
    started: tuple[int, float, float] | None = None
    peak, last, moved_at = 0.0, -1, time.monotonic()
    thirds: list[float] = []
    while True:
        count = done()
        now, cpu, rss = time.monotonic(), cpu_seconds(tree), memory_mb(tree)
        peak = max(peak, rss)
        if started is None and count >= WARM_UP_SHARE * total:
            started = (count, now, cpu)
        if count >= total * (len(thirds) + 1) / 3:
            thirds.append(rss)
        if count >= total and started is not None:
            at = (*thirds, rss, rss, rss)[:3]
            return Measured(count - started[0], now - started[1], cpu - started[2], peak, (at[0], at[1], at[2]))
        if count > last:
            last, moved_at = count, now
        if process.poll() is not None:
            raise StalledError(f"the measured process ended with {process.returncode} after {count:,} of {total:,}")
        if now - moved_at > patience_s:
            raise StalledError(f"no progress for {patience_s:.0f} s at {count:,} of {total:,} events")
        time.sleep(POLL_S)


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of the process and its descendants that live."""
    return sum(sum(each.cpu_times()[:2]) for each in _tree(process))


def memory_mb(process: psutil.Process) -> float:
    """Resident memory of the process and its descendants, MiB."""
    return sum(each.memory_info().rss for each in _tree(process)) / 1048576


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [each for each in (process, *process.children(recursive=True)) if each.is_running()]
    except psutil.NoSuchProcess:
        return []
