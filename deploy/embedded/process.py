"""One running command below a launcher, and its log file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from deploy.embedded.launcher import signal_group

LAUNCHER = Path(__file__).with_name("launcher.py")
ORPHAN_GRACE_S = 3.0
LOG_LIMIT_BYTES = 16 << 20


class LogFile:
    """A part's log: appended to over runs, the older half moved to ``<name>.log.1`` when it grows beyond 16 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run_starts_at = 0

    def open_run(self, argv: list[str]) -> int:
        """Note the start of a run and open the file for the command; the caller closes the descriptor."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.limit()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # a full disk must not keep the part from starting
            self._run_starts_at = os.fstat(descriptor).st_size
            started = datetime.now(UTC).isoformat(timespec="seconds")
            shown = " ".join(item if len(item) < 200 else f"{item[:60]}..." for item in argv)
            os.write(descriptor, f"--- {started} {shown}\n".encode())
        return descriptor

    def limit(self) -> None:
        """Keep the file within its limit. The command goes on appending, so it is copied and cut, not renamed."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size <= LOG_LIMIT_BYTES:
                return
            with self.path.open("rb") as file:
                file.seek(-LOG_LIMIT_BYTES // 2, os.SEEK_END)
                self.path.with_name(f"{self.path.name}.1").write_bytes(file.read())
            os.truncate(self.path, 0)
            self._run_starts_at = 0

    def tail(self, lines: int = 12) -> list[str]:
        """The last lines of the present run, each cut at 300 characters; the start of a stack trace is kept."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(self._run_starts_at, size - 65536) if self._run_starts_at <= size else 0)
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        found = [line[:300] for line in text.splitlines() if line.strip() and not line.startswith("--- ")]
        # Frames of a Java trace push the message out of sight.
        return [line for line in found if not line.startswith("\tat ")][-lines:]


class Process:
    """A command started below a launcher, which ends it when this process is gone.

    ``exit_code`` is known once ``ended`` is set, negative for a signal; ``error`` says why it could not be run at all.

    Raises:
        OSError: the launcher cannot be started (too many processes or files, no memory).
    """

    def __init__(
        self,
        argv: list[str],
        env: Mapping[str, str],
        cwd: Path | None,
        log: LogFile,
        lock_fd: int,
        on_end: Callable[[], None],
    ) -> None:
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.error: str | None = None
        self.ended = threading.Event()
        self._known = threading.Event()
        self._on_end = on_end
        output = log.open_run(argv)
        watch_read, self._watch = os.pipe()
        status_read, status_write = os.pipe()
        try:
            self._launcher = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(watch_read), str(status_write), str(lock_fd),
                 str(ORPHAN_GRACE_S), *argv],
                env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(watch_read, status_write, lock_fd),
            )  # fmt: skip
        except BaseException:
            os.close(self._watch)
            os.close(status_read)
            raise
        finally:
            for descriptor in (output, watch_read, status_write):
                os.close(descriptor)
        self._reader = threading.Thread(target=self._follow, args=(status_read,), name="part-status", daemon=True)
        self._reader.start()
        self._known.wait(10)

    def _follow(self, status_read: int) -> None:
        with os.fdopen(status_read) as lines:
            for line in lines:
                word, _, rest = line.rstrip("\n").partition(" ")
                if word == "pid":
                    self.pid = int(rest)
                    self._known.set()
                elif word == "error":
                    self.error = rest
                elif word == "exit":
                    self.exit_code = int(rest)
        self._launcher.wait()
        if self.exit_code is None:
            # The launcher itself was killed: on Linux the command went with it, elsewhere it is ended here.
            self.exit_code = -9
            if self.pid is not None:
                signal_group(self.pid, 9)
        with contextlib.suppress(OSError):
            os.close(self._watch)
        self._known.set()
        self.ended.set()
        self._on_end()

    def signal(self, number: int) -> None:
        """Signal the command and what it started; nothing when it has ended."""
        if self.pid is not None and not self.ended.is_set():
            signal_group(self.pid, number)
