"""Keeps one part running: starts it, waits until it serves, starts it again when it dies or stalls, stops it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from deploy.embedded.errors import PartFailedError, advise
from deploy.embedded.part import Part, Resettable
from deploy.embedded.process import LogFile, Process

# A part that dies before it was ready is given one more try (a port may just have been taken). One that has served is
# started again with growing pauses; eight ends in a row, each within ten seconds of being ready, are given up on.
FIRST_START_TRIES = 2
QUICK_ENDS = 8
STABLE_S = 10.0
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_READY_EVERY_S = 0.1
_HOUSEKEEPING_S = 10.0

Notify = Callable[["Handle", str], None]


class State(StrEnum):
    """Where a part is in its life."""

    NEW = "new"
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    PAUSING = "pausing"
    STOPPED = "stopped"
    FAILED = "failed"
    ENDED = "ended"


class Handle:
    """One part under supervision; all methods may be called from any thread.

    Attributes:
        state: see ``State``.
        restarts: how often it was started again without being asked, since the platform started.
        last_end: why it was last started again, or empty.
        ready_at: when it last got ready, UTC, or None.
        failure: why it was given up on, or None.
    """

    def __init__(
        self,
        part: Part,
        log: LogFile,
        environment: Callable[[], dict[str, str]],
        lock_fd: int,
        needs: Sequence[Handle],
        notify: Notify,
    ) -> None:
        self.part, self.log, self.needs = part, log, tuple(needs)
        self.state = State.NEW
        self.restarts = 0
        self.last_end = ""
        self.ready_at: datetime | None = None
        self.failure: PartFailedError | None = None
        self._environment, self._lock_fd, self._notify = environment, lock_fd, notify
        self._process: Process | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._settled = threading.Event()  # ready, failed, ended or stopped
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._stalled = ""
        self._missing = ""

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return None if process is None or process.ended.is_set() else process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the last run that ended; negative for a signal."""
        return None if self._process is None else self._process.exit_code

    def begin(self) -> None:
        """Have it started, once what it needs is ready; returns at once. Nothing when it runs already."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            for event in (self._settled, self._wake, self._stop, self._hurry):
                event.clear()
            self.failure, self.state = None, State.WAITING
            self._thread = threading.Thread(target=self._supervise, name=f"part-{self.name}", daemon=True)
            self._thread.start()

    def start(self, timeout_s: float | None = None) -> None:
        """Start it and wait until it is ready.

        Raises:
            PartFailedError: it ended or was not ready in time.
            TimeoutError: ``timeout_s`` passed first; it may still get ready.
        """
        self.begin()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Wait until it is ready (or, with ``restart=False``, has ended well). Raises like ``start``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            # A short wait keeps signals coming through in the main thread.
            if self._settled.wait(0.2):
                break
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is {self.state} after {timeout_s} s {self._missing}".rstrip())
        if self.failure is not None:
            raise self.failure

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal it from outside, by default kill -9; the supervisor then does what it does at any death."""
        if self._process is not None:
            self._process.signal(number)

    def stop(self, *, at_once: bool = False) -> None:
        """End it in order (with ``at_once`` by SIGKILL) and keep it ended; returns when it is gone."""
        if at_once:
            self._hurry.set()
        self._stop.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def hurry(self) -> None:
        """Have a stop that is under way kill instead of wait."""
        self._hurry.set()

    # Below: the supervising thread.

    def _supervise(self) -> None:
        try:
            if not self._wait_for_needs():
                return
            served, quick_ends = False, 0
            while not self._stop.is_set():
                before = self.ready_at
                reason, final = self._run_once()
                if self._stop.is_set() or not reason:
                    break
                got_ready = self.ready_at is not None and self.ready_at != before
                lived = (datetime.now(UTC) - self.ready_at).total_seconds() if got_ready and self.ready_at else 0.0
                served = served or got_ready
                quick_ends = quick_ends + 1 if lived < STABLE_S else 1
                limit = QUICK_ENDS if served else FIRST_START_TRIES
                if final or quick_ends >= limit:
                    times = f", {quick_ends} times in a row" if quick_ends > 1 else ""
                    self._fail(f"{reason}{times}")
                    return
                self._pause(reason, PAUSES_S[min(quick_ends, len(PAUSES_S)) - 1])
        except Exception as problem:  # a thread that dies silently would leave its part unwatched
            self._fail(f"{type(problem).__name__}: {problem}")
        finally:
            self._end_process()
            if self.state not in (State.FAILED, State.ENDED):
                self.state = State.STOPPED
            self._settled.set()

    def _wait_for_needs(self) -> bool:
        for need in self.needs:
            while need.state is not State.READY:
                if self._stop.wait(0.05):
                    return False
        return True

    def _run_once(self) -> tuple[str, bool]:
        """One run until its end: why it ended (empty: as asked), and whether trying again is pointless."""
        part = self.part
        self.state, self._stalled, self._missing = State.STARTING, "", ""
        if part.before_start is not None:
            part.before_start()
        if isinstance(part.alive, Resettable):
            part.alive.reset()
        env = {**self._environment(), **part.env}
        process = Process(part.argv, env, part.cwd, self.log, self._lock_fd, self._wake.set)
        self._process = process
        if not self._becomes_ready(process):
            if self._stop.is_set():
                return "", False
            if process.ended.is_set():
                return self._how_it_ended(process), process.error is not None or not part.restart
            waited = f"not ready after {part.ready_timeout_s:.0f} s"
            self._end_process()
            return f"{waited} ({self._missing})" if self._missing else waited, self.ready_at is None
        self.state, self.ready_at = State.READY, datetime.now(UTC)
        self._settled.set()
        self._notify(self, "ready")
        return self._watch(process)

    def _becomes_ready(self, process: Process) -> bool:
        part = self.part
        started = time.monotonic()
        while not self._stop.is_set():
            lived = time.monotonic() - started
            if process.ended.wait(_READY_EVERY_S):
                return not part.restart and process.exit_code == 0
            if part.ready is None:
                if lived >= part.settle_s:
                    return True
            else:
                self._missing = _ask(part.ready, "not ready")
                if not self._missing:
                    return True
            if lived > part.ready_timeout_s:
                return False
        return False

    def _watch(self, process: Process) -> tuple[str, bool]:
        done = threading.Event()
        if self.part.alive is not None:
            threading.Thread(
                target=self._check_alive, args=(process, done), name=f"alive-{self.name}", daemon=True
            ).start()
        try:
            while not self._stop.is_set() and not process.ended.is_set() and not self._stalled:
                self._wake.wait(_HOUSEKEEPING_S)
                self._wake.clear()
                self.log.limit()
        finally:
            done.set()
        if self._stop.is_set():
            return "", False
        if self._stalled:
            reason = f"it stalled: {self._stalled}"
            process.signal(signal.SIGKILL)
            process.ended.wait()
            return reason, False
        if not self.part.restart and process.exit_code == 0:
            self.state = State.ENDED
            self._notify(self, "ended")
            return "", False
        return self._how_it_ended(process), not self.part.restart

    def _check_alive(self, process: Process, done: threading.Event) -> None:
        assert self.part.alive is not None
        while not done.wait(self.part.alive_every_s):
            answer: bool | str = True
            with contextlib.suppress(Exception):
                answer = self.part.alive()
            if answer is not True and not done.is_set() and self._process is process:
                self._stalled = answer or "its liveness check says so"
                self._wake.set()
                return

    def _how_it_ended(self, process: Process) -> str:
        if process.error is not None:
            return f"cannot run {process.error}"
        code = process.exit_code
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def _pause(self, reason: str, pause_s: float) -> None:
        self.state, self.last_end = State.PAUSING, reason
        self.restarts += 1
        self._settled.clear()
        self._notify(self, f"{reason}; starting it again (restart {self.restarts}), log: {self.log.path}")
        self._stop.wait(pause_s)

    def _fail(self, reason: str) -> None:
        tail = self.log.tail()
        self.failure = PartFailedError(self.name, self.log.path, reason, tail, advise(tail, self.exit_code))
        self.state = State.FAILED
        self._settled.set()
        self._notify(self, f"given up: {reason}")

    def _end_process(self) -> None:
        process = self._process
        if process is None or process.ended.is_set():
            return
        process.signal(self.part.stop_signal)
        process.signal(signal.SIGCONT)  # a stopped process would not see the signal
        deadline = time.monotonic() + self.part.stop_timeout_s
        while not process.ended.wait(0.05):
            if self._hurry.is_set() or time.monotonic() > deadline:
                process.signal(signal.SIGKILL)
                process.ended.wait(5)
                return


def _ask(check: Callable[[], bool | str], unknown: str) -> str:
    """What is missing according to a check; empty when nothing is."""
    try:
        answer = check()
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    if answer is True:
        return ""
    return answer or unknown
