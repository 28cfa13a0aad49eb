"""The chDB engine of one data directory and handles on it.

A process opens one directory. Every request gets a handle (``Link``) of its own, which costs about 0.2 ms, so
settings, database and ``readonly`` of one request never reach another. Handles run in parallel: the engine releases
the interpreter while it works. All calls here may block; the server makes them in worker threads.
"""

from __future__ import annotations

import fcntl
import importlib
import io
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.clickhouse.access import escape_parameter
from deploy.clickhouse.disk import FAILED_WRITES, Disk
from deploy.clickhouse.errors import NOT_ENOUGH_SPACE, QueryError
from deploy.clickhouse.statement import Insert

log = logging.getLogger("tocsin.clickhouse")

LOCK_FILE = "tocsin-clickhouse.lock"
# Of every handle. implicit_select is clickhouse-local's habit of reading "1 + 1" as a SELECT; a server has it off.
_BASE_SETTINGS = {"implicit_select": "0", "allow_introspection_functions": "0"}
_NOT_STREAMABLE = "Streaming query is not supported"
_KILL_BY_ID = re.compile(
    r"^(\s*KILL\s+QUERY\s+WHERE\s+)query_id(\s*=\s*'[^'\\]*'\s*(?:SYNC|ASYNC|TEST)?\s*;?\s*)$", re.I
)

# The engine gives statements ids of its own; the client's id is what follows the user's name in the tag.
_QUERY_ID = "substring(Settings['log_comment'], position(Settings['log_comment'], '/') + 1)"


class StartError(Exception):
    """The engine cannot open its data directory; the text says what to do."""


@dataclass
class Stats:
    """What a statement read and wrote, in rows and bytes."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0

    def add(self, result: Any) -> None:
        """Count one result object of the engine in."""
        self.read_rows += result.storage_rows_read()
        self.read_bytes += result.storage_bytes_read()
        self.written_rows += result.rows_written()
        self.written_bytes += result.bytes_written()
        self.result_rows += result.rows_read()
        self.result_bytes += result.size()


class Link:
    """One handle on the engine, for one statement at a time; closing it ends what still runs on it.

    Any thread may call it, one after the other; ``close`` waits for a call that is under way. Data of an INSERT waits
    in ``folder`` until it is complete.
    """

    def __init__(self, raw: Any, folder: Path) -> None:
        self._raw = raw
        self._folder = folder
        self._busy = threading.Lock()
        self._stream: Any = None
        self._insert: tuple[Insert, io.FileIO] | None = None
        self.stats = Stats()

    def prepare(self, database: str | None, settings: Mapping[str, str], readonly: int, tag: str) -> None:
        """Choose the database (None keeps it) and settings; ``readonly`` 1 or 2 cannot be taken back on a handle.

        Raises:
            QueryError: the database or a setting does not exist, or a value does not fit.
        """
        values = {**_BASE_SETTINGS, **settings, "log_comment": tag}
        values.pop("readonly", None)
        if database is not None:
            self._run(f"USE {quote_name(database)}", "Null", {})
        assignments = [f"{name} = '{_escape(value)}'" for name, value in values.items()]
        # Last, because it forbids the other assignments.
        assignments += [f"readonly = {readonly}"] if readonly else []
        self._run("SET " + ", ".join(assignments), "Null", {})

    def restrict(self, readonly: int) -> None:
        """Forbid writes (1) or all but reading with settings (2) from here on."""
        self._run(f"SET readonly = {readonly}", "Null", {})

    def reset(self, settings: Mapping[str, str]) -> None:
        """Give settings of a request their defaults again, on a session's handle."""
        if settings:
            self._run("SET " + ", ".join(f"{name} = DEFAULT" for name in settings), "Null", {})

    def classify(self, sql: str) -> tuple[str, int]:
        """The statement's class by the engine's parser, and how many statements the text holds."""
        with self._busy:
            report = self._raw.classify_query(sql)
        return report["query_class"].name, int(report["statement_count"])

    def text(self, sql: str, params: Mapping[str, str] | None = None) -> str:
        """A small result as text, not counted in ``stats``."""
        return self._run(sql, "TSVRaw", params or {})[0].decode(errors="replace")

    def query(self, sql: str, output: str, params: Mapping[str, str]) -> bytes:
        """Run a statement and return its whole result in the format ``output`` or the statement's own.

        Raises:
            QueryError: whatever the engine says.
        """
        data, result = self._run(_KILL_BY_ID.sub(rf"\1{_QUERY_ID}\2", sql), output, params)
        self.stats.add(result)
        return data

    def _run(self, sql: str, output: str, params: Mapping[str, str]) -> tuple[bytes, Any]:
        with self._busy:
            result = self._query(sql, output, params)
            return bytes(result.bytes()), result

    def _query(self, sql: str, output: str, params: Mapping[str, str]) -> Any:
        try:
            return self._raw.query(sql, output, params=dict(params))
        except RuntimeError as error:
            raise QueryError.from_engine(str(error)) from error

    def start_stream(self, sql: str, output: str, params: Mapping[str, str]) -> bool:
        """Begin a result that ``fetch`` gives in pieces; False when this kind of statement has to be run whole."""
        with self._busy:
            try:
                self._stream = self._raw.send_query(sql, output, params=dict(params))
                return True
            except RuntimeError as error:
                if _NOT_STREAMABLE in str(error):
                    return False
                raise QueryError.from_engine(str(error)) from error

    def fetch(self) -> bytes | None:
        """The next piece of the result, or None at its end."""
        with self._busy:
            if self._stream is None:
                return None
            try:
                result = self._raw.streaming_fetch_result(self._stream)
            except RuntimeError as error:
                self._stream = None
                raise QueryError.from_engine(str(error)) from error
            if result is None:
                self._stream = None
                return None
            self.stats.add(result)
            if result.rows_read() == 0:
                self._stream = None
                return bytes(result.bytes()) or None
            return bytes(result.bytes())

    def start_insert(self, insert: Insert) -> None:
        """Begin an INSERT whose data ``append`` brings. The engine sees it when ``finish_insert`` runs it.

        Raises:
            QueryError: no room for the data.
        """
        with self._busy:
            try:
                data = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # open beyond this call
            except OSError as error:
                raise self._no_room(error) from error
            self._insert = insert, data

    def append(self, data: bytes) -> None:
        """Add data to the INSERT.

        Raises:
            QueryError: no room for the data.
        """
        with self._busy:
            assert self._insert is not None
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[self._insert[1].write(rest) :]
            except OSError as error:
                raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> QueryError:
        return QueryError.of(
            NOT_ENOUGH_SPACE,
            f"The data of the INSERT cannot be kept in {self._folder}: {error.strerror}. Nothing of it is stored. "
            "Make room on this disk, or send less at once.",
        )

    def finish_insert(self) -> None:
        """Run the INSERT; when this returns, all rows are stored as far as the engine knows. ``disk`` tells the rest.

        chDB has an interface that takes data in pieces, but it says nothing of errors that come after reading a row:
        constraints, views, partitions, disks. The same data from a file is a statement like any other.

        Raises:
            QueryError: the table does not exist, the data cannot be read or stored, whatever the engine says.
        """
        with self._busy:
            assert self._insert is not None
            (insert, data), self._insert = self._insert, None
            with data:
                # Some systems share the position between a file and its path in /dev/fd.
                data.seek(0)
                self.stats.add(self._query(insert.from_file(f"/dev/fd/{data.fileno()}"), "Null", {}))

    def close(self) -> None:
        """End the handle and whatever is open on it. Safe to call twice."""
        with self._busy:
            raw, self._raw = self._raw, None
            if raw is None:
                return
            try:
                if self._stream is not None:
                    raw.streaming_cancel_query(self._stream)
            except RuntimeError as error:
                log.warning("closing a handle: %s", error)
            finally:
                self._drop_insert()
                raw.close()

    def stop(self) -> None:
        """Cancel an unfinished stream or insert, keeping the handle."""
        with self._busy:
            stream, self._stream = self._stream, None
            self._drop_insert()
            if stream is not None:
                self._raw.streaming_cancel_query(stream)

    def _drop_insert(self) -> None:
        if self._insert is not None:
            self._insert[1].close()
            self._insert = None


def quote_name(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


@dataclass
class _Session:
    link: Link
    lock: threading.Lock
    expires: float


class Engine:
    """One open data directory."""

    def __init__(self, path: Path, database: str, options: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.database = database
        self.version = ""
        self._options = dict(options or {})
        self._module: Any = None
        self._anchor: Link | None = None
        self.disk = Disk(self._failed_writes)
        self._lock_file: Any = None
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._sessions_lock = threading.Lock()

    def open(self) -> None:
        """Lock the directory, start the engine, create the database.

        Raises:
            StartError: another server has the directory, or the engine cannot read it.
        """
        if any(mark in str(self.path) for mark in "?&"):
            raise StartError(f"{self.path}: the engine reads options behind ? and &. Choose another --path.")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        # All times are UTC, whatever the machine's zone; the engine reads this when it is loaded.
        os.environ["TZ"] = "UTC"
        time.tzset()
        self._module = importlib.import_module("chdb._chdb")
        # Importing chdb has already run its engine once and with it set handlers for SIGTERM and SIGINT.
        self._module.reset_signal_handlers()
        self._module.set_signal_handlers_enabled(0)
        try:
            self._anchor = self.link()
            self.version = self._anchor.text("SELECT version()").strip()
            self._anchor.text(f"CREATE DATABASE IF NOT EXISTS {quote_name(self.database)}")
        except (RuntimeError, QueryError) as error:
            raise StartError(
                f"{self.path}: the engine cannot open this directory: {error}. "
                "Is it the data of a newer version, or read-only? Restore it, or start with an empty directory."
            ) from error

    def _take_lock(self) -> None:
        file = (self.path / LOCK_FILE).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StartError(
                f"{self.path}: another server (process {holder}) has this directory open. "
                "Stop it first, or choose another --path."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock_file = file

    def link(self) -> Link:
        """A new handle, not yet prepared; the caller closes it."""
        options = "&".join(f"{name}={value}" for name, value in self._options.items())
        return Link(self._module.connect(f"{self.path}?{options}" if options else str(self.path)), self.path)

    def _failed_writes(self) -> int:
        assert self._anchor is not None
        # Not on the statement's own handle: settings of a request, such as limits, hold there.
        return int(self._anchor.text(FAILED_WRITES))

    def cancel(self, tag: str) -> None:
        """Ask the engine to end the statement with a tag; returns at once."""
        link = self.link()
        try:
            link.text("KILL QUERY WHERE Settings['log_comment'] = {tag:String} ASYNC", {"tag": escape_parameter(tag)})
        except QueryError as error:
            log.warning("cancelling %s: %s", tag, error)
        finally:
            link.close()

    def cancel_all(self) -> None:
        """Ask the engine to end every statement."""
        link = self.link()
        try:
            link.text("KILL QUERY WHERE query_id != queryID() ASYNC")
        except QueryError as error:
            log.warning("cancelling all statements: %s", error)
        finally:
            link.close()

    def session(self, user: str, session_id: str) -> _Session | None:
        """A user's named session if it is alive."""
        self._expire()
        with self._sessions_lock:
            return self._sessions.get((user, session_id))

    def open_session(self, user: str, session_id: str, timeout: float) -> _Session:
        """A user's named session, made if it is not there; it ends ``timeout`` seconds after its last use."""
        self._expire()
        with self._sessions_lock:
            found = self._sessions.get((user, session_id))
            if found is None:
                found = _Session(self.link(), threading.Lock(), time.monotonic() + timeout)
                self._sessions[user, session_id] = found
            return found

    def _expire(self) -> None:
        now = time.monotonic()
        with self._sessions_lock:
            old = [key for key, held in self._sessions.items() if held.expires < now and not held.lock.locked()]
            gone = [self._sessions.pop(key) for key in old]
        for held in gone:
            held.link.close()

    def close(self) -> None:
        """End all sessions and the engine; every acknowledged row is on disk afterwards."""
        with self._sessions_lock:
            sessions, self._sessions = list(self._sessions.values()), {}
        closers: list[Callable[[], None]] = [held.link.close for held in sessions]
        if self._anchor is not None:
            closers.append(self._anchor.close)
            self._anchor = None
        for close in closers:
            close()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
