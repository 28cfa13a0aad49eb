"""One platform per data directory: the lock, what is kept between runs, and the mark of a running one."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.embedded.errors import AlreadyRunningError, PlatformError
from schemas.settings import ENDPOINTS_FILE

LOCK_FILE = "tocsin.lock"
PARTS_LOCK_FILE = "parts.lock"
STATE_FILE = "state.json"
LEFTOVER_WAIT_S = 20.0


@dataclass(frozen=True)
class Running:
    """Who runs the platform: process id, since when (UTC), and its addresses once it is ready."""

    pid: int
    since: datetime
    addresses: dict[str, str]

    def __str__(self) -> str:
        shown = "".join(f"\n  {name}: {address}" for name, address in self.addresses.items())
        return f"process {self.pid}, since {self.since:%Y-%m-%d %H:%M:%S} UTC{shown or ', still starting'}"


@dataclass
class State:
    """Kept between runs in ``state.json``, readable by its owner only."""

    cluster_id: str
    passwords: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only the owner can read; whole or not at all. Raises OSError."""
    write_private_text(path, json.dumps(content, indent=1, default=str))  # paths as text


def write_private_text(path: Path, text: str) -> None:
    """Write a file that only the owner can read; whole or not at all. Raises OSError."""
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def new_cluster_id() -> str:
    """An id of a Kafka cluster: 16 random bytes as base64url. Kafka refuses one that would be read as an option."""
    return f"t{base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip('=')[1:]}"


def running(data_dir: Path) -> Running | None:
    """Who runs the platform on this directory now, or None."""
    try:
        with (data_dir / LOCK_FILE).open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return _describe(file.read())
    except FileNotFoundError:
        return None


def _describe(text: str) -> Running:
    try:
        content = json.loads(text)
        return Running(content["pid"], datetime.fromisoformat(content["since"]), content["addresses"])
    except (ValueError, KeyError, TypeError):  # locked, not yet written
        return Running(0, datetime.now(UTC), {})


class Instance:
    """The platform's hold on a data directory, from ``acquire`` to ``release`` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.endpoints_file = data_dir / ENDPOINTS_FILE
        self.parts_lock = -1
        self._lock = -1
        self._since = datetime.now(UTC)

    @property
    def held(self) -> bool:
        return self._lock >= 0

    def acquire(self, say: Any) -> None:
        """Take the directory; waits for parts of an earlier run that are still ending.

        Raises:
            AlreadyRunningError: another process has it; the message says which.
            PlatformError: the directory cannot be written or locked, or parts of an earlier run do not end.
        """
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # passwords and case data
            self._lock = os.open(self.data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # A little patience: somebody may just be asking whether it runs.
            if not _lock_within(self._lock, 0.5):
                other = _describe(os.pread(self._lock, 65536, 0).decode(errors="replace"))
                self.release()
                raise AlreadyRunningError(
                    f"Tocsin already runs on {self.data_dir}: {other}\n"
                    "  what to do: use that one, end it (Ctrl-C where it runs, or kill its process), or start another "
                    "with --data-dir"
                )
            self.endpoints_file.unlink(missing_ok=True)  # of a run that was killed
            self.mark({})
            self.parts_lock = os.open(self.data_dir / PARTS_LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _lock_within(self.parts_lock, 0.2):
                say("waiting for the parts of an earlier run to end")
                if not _lock_within(self.parts_lock, LEFTOVER_WAIT_S):
                    self.release()
                    raise PlatformError(
                        f"parts of an earlier run still use {self.data_dir} after {LEFTOVER_WAIT_S:.0f} s: end the "
                        "processes that `ps -ef | grep embedded/launcher.py` shows, then start again"
                    )
        except OSError as problem:
            self.release()
            raise PlatformError(
                f"cannot use the data directory {self.data_dir}: {problem}. It needs a local, writable folder with "
                "file locks; choose another with --data-dir"
            ) from problem

    def mark(self, addresses: dict[str, str]) -> None:
        """Note who runs here, for a second start to show."""
        text = json.dumps({"pid": os.getpid(), "since": self._since.isoformat(), "addresses": addresses}).encode()
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text, 0)

    def load_state(self) -> State:
        """What an earlier run kept, or a new state, written at once.

        Raises:
            PlatformError: the file is damaged; passwords and the cluster id would not fit the data.
        """
        path = self.data_dir / STATE_FILE
        try:
            return State(**json.loads(path.read_text()))
        except FileNotFoundError:
            state = State(new_cluster_id(), {name: secrets.token_urlsafe(24) for name in ("tocsin", "reader")})
            self.save_state(state)
            return state
        except (ValueError, TypeError) as problem:
            raise PlatformError(
                f"{path} is damaged ({problem}): restore it from a backup, or move the data directory away"
            ) from problem

    def save_state(self, state: State) -> None:
        write_private(self.data_dir / STATE_FILE, asdict(state))

    def release(self) -> None:
        """Remove the mark of a running platform and let go of the directory."""
        if self._lock >= 0 and self.parts_lock >= 0:
            with contextlib.suppress(OSError):
                self.endpoints_file.unlink(missing_ok=True)
        for descriptor in (self.parts_lock, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.parts_lock = self._lock = -1


def _lock_within(descriptor: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
