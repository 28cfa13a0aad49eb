"""The peers: other stream processors that do the job of ``deploy.bench.job`` on the same topics and rules."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deploy.bench.latency import Generator, levels
from deploy.bench.measure import Measured, Processes, StalledError, measure, median, running
from deploy.bench.tocsin import Say
from schemas.settings import Settings

PEERS = {
    "plain-faust": ("deploy.bench.plain_faust",),
    "quix": ("deploy.bench.quix",),
    "quix-indexed": ("deploy.bench.quix", "--indexed"),
}
"""Module and arguments. ``quix-indexed`` finds rules by the value of an equality instead of evaluating each."""
READY_S = COUNTED_S = 60.0


def missing(peer: str) -> str:
    """What to install before the peer can run; empty when nothing."""
    lacks = peer.startswith("quix") and importlib.util.find_spec("quixstreams") is None
    return "run `make install`" if lacks else ""


@dataclass
class State:
    """The latest line that the peer has printed: events handled and matched, matches sent to the windows and counted
    there, alerts, whether partitions are assigned, and latencies in milliseconds."""

    done: int = 0
    matched: int = 0
    sent: int = 0
    counted: int = 0
    alerts: int = 0
    ready: bool = False
    event_ms: dict[str, int] = field(default_factory=dict)
    alert_ms: dict[str, int] = field(default_factory=dict)

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Read what the process prints, in a thread."""

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"{"):
                    vars(self).update(json.loads(line))

        threading.Thread(target=read, daemon=True).start()


@dataclass
class Peer:
    """A peer on a running platform."""

    name: str
    settings: Settings
    ids: dict[str, int]
    seed: int
    say: Say

    def bench(self, rules: Path, events: int, runs: int) -> tuple[dict[str, Any], float]:
        """Measure ``runs`` times from the start of the topics, which hold ``events`` events; also events a second.

        Raises:
            StalledError: the peer died or stopped.
        """
        measured: list[Measured] = []
        found: dict[str, Any] = {}
        for number in range(runs):
            self.say(f"measuring {self.name}, run {number + 1} of {runs}")
            try:
                one, found = self._run(rules, events)
            except StalledError as error:  # libraries have their bad days; twice in a row is no accident
                self.say(f"{self.name} is started again: {error}")
                one, found = self._run(rules, events)
            measured.append(one)
        return {**median(measured), **found}, measured[-1].per_s

    def _run(self, rules: Path, events: int) -> tuple[Measured, dict[str, Any]]:
        with self._running(rules, "earliest") as (processes, state):
            measured = measure(processes, partial(getattr, state, "done"), events, partial(getattr, state, "ready"))
            # The clock has stopped: the last matches' way to the windows is not held against the peer.
            deadline = time.monotonic() + COUNTED_S
            while state.counted < state.sent:
                if time.monotonic() > deadline:
                    raise StalledError(f"{self.name} has counted {state.counted:,} of {state.sent:,} matches")
                time.sleep(0.2)
            return measured, {"events_matched": state.matched, "alerts": state.alerts}

    def latency(self, rules: Path, per_s: float) -> dict[str, Any]:
        """Latencies at shares of the rate ``per_s``: of an event until it is handled, and of an alert; none, and a line
        that says so, where the peer died or stopped."""
        try:
            return self._latency(rules, per_s)
        except StalledError as error:
            self.say(f"no latency of {self.name}: {error}")
            return {}

    def _latency(self, rules: Path, per_s: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with self._running(rules, "latest") as (processes, state):
            (process,) = processes.values()
            self._wait_ready(process, state)
            for number, (name, rate) in enumerate(levels(per_s).items()):
                self.say(f"latency of {self.name} at {rate:,.0f} events/s")
                begin = state.done
                generator = Generator(self.settings.kafka_bootstrap, self.ids, rate, self.seed + 1 + number)
                sent = generator.steady(lambda: _forget(process))
                measure(processes, lambda begin=begin: state.done - begin, int(sent["count"]))  # type: ignore[misc]
                time.sleep(0.5)  # for the last line
                found[name] = {"rate_per_s": round(rate), "event": state.event_ms, "alert": state.alert_ms}
        return {**found["50%"]["event"], **found}

    def _wait_ready(self, process: subprocess.Popen[bytes], state: State) -> None:
        deadline = time.monotonic() + READY_S
        while not state.ready:
            if process.poll() is not None or time.monotonic() > deadline:
                raise StalledError(f"{self.name} was given no partitions")
            time.sleep(0.2)
        time.sleep(2)  # it looks up the ends of the partitions

    @contextmanager
    def _running(self, rules: Path, offset: str) -> Iterator[tuple[Processes, State]]:
        module, *arguments = PEERS[self.name]
        group = f"{self.name}-{time.time_ns()}"
        argv = [sys.executable, "-m", module, "--bootstrap", self.settings.kafka_bootstrap, "--rules", str(rules)]
        argv += ["--group", group, "--offset", offset, "--partitions", str(self.settings.topic_partitions), *arguments]
        with running({self.name: argv}, os.environ, self.settings.data_dir / "logs" / group, talk=True) as processes:
            state = State()
            state.follow(processes[self.name])
            yield processes, state


def _forget(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
