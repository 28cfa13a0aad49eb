"""The access log: every view and action of a person, every login and refusal, as rows of ClickHouse's access_log.

Rows are taken at once and written by a thread of their own, about once a second and at the end, so that no page waits.
While ClickHouse is away they are kept: some thousands in memory, more in a file of the data directory, which is written
first when it is back. A repeated insert after a lost answer may write rows twice; none is left out.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from dashboards.desk.auth.roles import Person, Via
from schemas.settings import Settings
from streams.store import connect

FLUSH_EVERY_S: Final = 1.0
MAX_KEPT: Final = 10_000
MAX_SPILL_BYTES: Final = 64 * 1024 * 1024
SPILL_FILE: Final = "access-log.jsonl"
BATCH: Final = 5_000
MAX_TEXT: Final = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row; ``at`` is aware UTC. ``allowed`` is false of what was refused; ``partner`` is that of a partner's
    account, else empty."""

    at: datetime
    person: str
    role: str
    what: str
    target: str
    allowed: bool
    via: str
    address: str
    detail: str
    partner: str = ""


COLUMNS: Final = tuple(each.name for each in fields(Entry))


class AccessLog:
    """Takes rows from any thread. ``insert`` writes a batch or raises; the default goes to the settings' ClickHouse."""

    def __init__(
        self,
        settings: Settings,
        *,
        insert: Callable[[Sequence[Entry]], None] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_kept: int = MAX_KEPT,
        flush_every_s: float = FLUSH_EVERY_S,
    ) -> None:
        self._insert = insert or _Inserter(settings)
        self._now = now
        self._spill = _Spill(settings.data_dir / SPILL_FILE)
        self._max_kept, self._flush_every_s = max_kept, flush_every_s
        self._kept: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(
        self,
        person: Person | None,
        what: str,
        target: str = "",
        *,
        allowed: bool = True,
        via: Via | None = None,
        address: str = "",
        detail: str = "",
    ) -> None:
        """Take a row and return at once. ``what`` is one word or two (``view``, ``login``, ``acknowledge``), ``target``
        the alert, path or account it is about."""
        entry = Entry(
            at=self._now(),
            person=person.name if person else "",
            role=person.role if person else "",
            what=what,
            target=target[:MAX_TEXT],
            allowed=allowed,
            via=via or (person.via if person else "desk"),
            address=address,
            detail=detail[:MAX_TEXT],
            partner=(person.partner or "") if person else "",
        )
        self.take(entry)

    def take(self, entry: Entry) -> None:
        """Take a row that is made already and return at once."""
        with self._lock:
            self._kept.append(entry)

    def flush(self) -> bool:
        """Write what is kept, oldest first; whether nothing is left. Blocks on ClickHouse: not for pages."""
        with self._flushing:
            try:
                self._spill.drain(self._insert)
                while batch := self._batch():
                    self._insert(batch)
                    with self._lock:
                        for _ in batch:
                            self._kept.popleft()
            except Exception as error:  # drivers, network and servers have no common type
                if not self._failing:
                    log.warning("the access log cannot be written to ClickHouse, its rows are kept: %s", error)
                self._failing = True
                self._put_down(keep=self._max_kept)
                return False
            if self._failing:
                log.warning("the access log is written again")
            self._failing = False
            return True

    def close(self) -> None:
        """Write what is left, or put it into the file for the next start."""
        self._stop.set()
        self._thread.join()
        if not self.flush():
            self._put_down(keep=0)
        if isinstance(self._insert, _Inserter):
            self._insert.close()

    def _run(self) -> None:
        while not self._stop.wait(self._flush_every_s):
            self.flush()

    def _batch(self) -> list[Entry]:
        with self._lock:
            return [self._kept[at] for at in range(min(BATCH, len(self._kept)))]

    def _put_down(self, keep: int) -> None:
        """Move the oldest rows beyond ``keep`` to the file; only the flushing thread takes rows away."""
        with self._lock:
            over = [self._kept.popleft() for _ in range(len(self._kept) - keep)]
        if over:
            self._spill.add(over)


class _Inserter:
    """ClickHouse, connected when first needed and again after a failure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    def __call__(self, entries: Sequence[Entry]) -> None:
        try:
            if self._client is None:
                self._client = connect(self._settings)
            rows = [[getattr(entry, name) for name in COLUMNS] for entry in entries]
            self._client.insert("access_log", rows, column_names=COLUMNS, settings={"async_insert": 0})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


class _Spill:
    """Rows that memory should not hold, as JSON lines, readable by their owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lost = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Append; beyond the bound of the file rows are counted and lost, which is said once."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            size = self.path.stat().st_size if self.path.exists() else 0
            if size > MAX_SPILL_BYTES:
                raise OSError(f"{self.path} has reached {MAX_SPILL_BYTES} bytes")
            lines = "".join(json.dumps(asdict(each) | {"at": each.at.isoformat()}) + "\n" for each in entries)
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:
                file.write(lines)
        except OSError as error:
            if not self._lost:
                log.error("rows of the access log are lost from now on: %s", error)
            self._lost += len(entries)

    def drain(self, insert: Callable[[Sequence[Entry]], None]) -> None:
        """Write the file's rows through ``insert`` and remove it; what could not be written stays in it."""
        taken = self.path.with_suffix(".writing")
        while taken.exists() or self.path.exists():
            try:
                if not taken.exists():
                    # Under another name, so that a command that adds rows meanwhile begins a new file.
                    self.path.rename(taken)
                lines = taken.read_text().splitlines()
            except OSError as error:
                log.error("kept rows of the access log cannot be read: %s", error)
                return
            while lines:
                insert([entry for line in lines[:BATCH] if (entry := _read(line)) is not None])
                lines = lines[BATCH:]
                _replace(taken, lines)
            taken.unlink()
        if self._lost:
            log.error("%d rows of the access log were lost", self._lost)
            self._lost = 0


def _replace(path: Path, lines: Sequence[str]) -> None:
    rest = path.with_suffix(".rest")
    rest.touch(0o600)
    rest.write_text("".join(line + "\n" for line in lines))
    rest.replace(path)


def _read(line: str) -> Entry | None:
    """A row of the file; a line that a full disk or a kill cut off is left out."""
    try:
        values = json.loads(line)
        return Entry(**(values | {"at": datetime.fromisoformat(values["at"])}))
    except (ValueError, TypeError, KeyError):
        log.warning("a line of the kept access log cannot be read and is left out")
        return None
