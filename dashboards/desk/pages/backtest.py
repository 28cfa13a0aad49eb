"""Runs ``tocsin rules backtest`` beside the desk and makes of its answer what the page of rules shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dashboards.desk.pages.timeline import LINE, TEXT
from schemas.settings import Settings

TIMEOUT_S: Final = 600
NICE: Final = 10
"""It shares the machine with the pipeline, which goes first."""
_PROGRESS: Final = re.compile(r"[^\r\n]+")
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ENVIRONMENT: Final = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


class BacktestError(Exception):
    """It did not come to an answer; the message is what the command said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules would have done: alerts by day (ISO dates, days without alerts left out) and by rule title, and
    how many of them are new or gone beside the platform's own alerts."""

    begin: str
    end: str
    events: int
    days: dict[str, int]
    rules: tuple[tuple[str, int], ...]
    new: int
    gone: int

    @property
    def text(self) -> str:
        """In a sentence."""
        total = sum(self.days.values())
        return (
            f"{total:,} alerts over {self.events:,} events from {self.begin} to {self.end}; beside the platform's own "
            f"{self.new:,} would be new and {self.gone:,} would be gone."
        )


def outcome_of(answer: dict[str, Any]) -> Outcome:
    """The command's JSON, read.

    Raises:
        KeyError: it is not that.
    """
    return Outcome(
        answer["from"],
        answer["to"],
        answer["events"],
        dict(answer["alerts_per_day"]),
        tuple((each["title"], each["alerts"]) for each in answer["per_rule"] if each["alerts"]),
        len(answer["new"]),
        len(answer["gone"]),
    )


def command(settings: Settings, rules: Path, days: int) -> list[str]:
    """The command line."""
    return [
        *(sys.executable, "-m", "deploy.cli", "rules", "backtest", "--rules", str(rules), "--from", f"{days}d"),
        *("--json", "--data-dir", str(settings.data_dir)),
    ]


async def run(settings: Settings, rules: Path, days: int, progress: Callable[[str], None]) -> Outcome:
    """Run it to its end; ``progress`` is told what it says meanwhile. When the caller is cancelled, it is ended.

    Raises:
        BacktestError: it failed, took longer than ten minutes, or another one runs at this desk.
    """
    place = settings.data_dir.absolute()
    if place in _running:
        raise BacktestError("Another back-test runs at this desk; wait until it has ended.")
    _running.add(place)
    try:
        return await _run(command(settings, rules, days), progress)
    finally:
        _running.discard(place)


_running: set[Path] = set()
"""Data directories of desks whose back-test runs; one at a time each."""


async def _run(line: list[str], progress: Callable[[str], None]) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *line,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | _ENVIRONMENT,
    )
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer, _ = await asyncio.gather(process.stdout.read(), _listen(process.stderr, said, progress))
            status = await process.wait()
    except TimeoutError as error:
        raise BacktestError(f"The back-test took longer than {TIMEOUT_S // 60} minutes; choose fewer days.") from error
    finally:
        if process.returncode is None:
            process.kill()
    if status != 0:
        raise BacktestError("\n".join(said[-5:]) or f"The back-test ended with status {status}.")
    return outcome_of(json.loads(answer))


async def _listen(stream: asyncio.StreamReader, said: list[str], progress: Callable[[str], None]) -> None:
    while part := await stream.read(4096):
        for line in _PROGRESS.findall(_CONTROL.sub("", part.decode(errors="replace"))):
            if line.strip():
                said.append(line.strip())
                progress(line.strip())


def options(outcome: Outcome) -> dict[str, Any]:
    """ECharts' options: alerts a day."""
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": told(outcome)}},
        "grid": {"left": 8, "right": 12, "top": 24, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": list(outcome.days), "axisLabel": {"color": TEXT}},
        "yAxis": {
            "type": "value",
            "name": "alerts",
            "minInterval": 1,
            "nameTextStyle": {"color": TEXT},
            "axisLabel": {"color": TEXT},
            "splitLine": {"lineStyle": {"color": LINE}},
        },
        "series": [
            {
                "type": "bar",
                "name": "alerts",
                "barMaxWidth": 40,
                "data": list(outcome.days.values()),
                "itemStyle": {"color": "#4dabf7"},
                "label": {"show": True, "position": "top", "color": TEXT},
            }
        ],
    }


def told(outcome: Outcome) -> str:
    """The chart in words."""
    if not outcome.days:
        return "No alerts on any day."
    return "Alerts a day: " + ", ".join(f"{day} {count}" for day, count in outcome.days.items())
