"""The desk's SQLite file: accounts, sessions, tokens, failed logins. One process writes most of the time; commands of
an operator may write beside it, so nothing is cached."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from schemas.settings import Settings

MIGRATIONS: Final = (
    """
    CREATE TABLE accounts (
        name TEXT PRIMARY KEY,
        display TEXT NOT NULL,
        role TEXT NOT NULL,
        partner TEXT,
        password_hash TEXT,
        must_change INTEGER NOT NULL DEFAULT 0,
        password_expires_at REAL,
        disabled INTEGER NOT NULL DEFAULT 0,
        identity TEXT UNIQUE,
        created_at REAL NOT NULL,
        last_login_at REAL
    ) STRICT;
    CREATE TABLE sessions (
        hash BLOB PRIMARY KEY,
        account TEXT NOT NULL REFERENCES accounts(name) ON DELETE CASCADE,
        created_at REAL NOT NULL,
        seen_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        address TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_by_account ON sessions(account);
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        account TEXT NOT NULL REFERENCES accounts(name) ON DELETE CASCADE,
        hash BLOB NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        label TEXT NOT NULL,
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        used_at REAL
    ) STRICT;
    CREATE INDEX tokens_by_account ON tokens(account);
    CREATE TABLE failures (
        key BLOB PRIMARY KEY,
        count INTEGER NOT NULL,
        last_at REAL NOT NULL,
        blocked_until REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE oidc_logins (
        state_hash BLOB PRIMARY KEY,
        browser_hash BLOB NOT NULL,
        nonce TEXT NOT NULL,
        verifier TEXT NOT NULL,
        redirect_uri TEXT NOT NULL,
        next TEXT NOT NULL,
        expires_at REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE oidc_logins ADD COLUMN address_hash BLOB NOT NULL DEFAULT x'';
    CREATE INDEX oidc_logins_by_address ON oidc_logins (address_hash, expires_at);
    CREATE TABLE successes (
        key BLOB PRIMARY KEY,
        at REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
"""Step n takes ``PRAGMA user_version`` from n to n + 1; a step that was released is never changed."""


class DatabaseError(Exception):
    """The file cannot be used; the message names it and says what to do."""


def digest(secret: str) -> bytes:
    """SHA-256 of a random secret: enough for 256 bits of randomness, and a stolen file opens no session."""
    return hashlib.sha256(secret.encode()).digest()


def stamp(at: datetime) -> float:
    """Seconds since the epoch."""
    return at.timestamp()


def moment(seconds: float) -> datetime:
    """The aware UTC time of a stored number."""
    return datetime.fromtimestamp(seconds, UTC)


def database_path(settings: Settings) -> Path:
    """Where accounts are kept."""
    return settings.desk_database or settings.data_dir / "desk.sqlite3"


class Database:
    """One connection behind a lock, for any thread. Statements take well under a millisecond.

    Raises:
        DatabaseError: the file cannot be opened, or a newer version of Tocsin wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(f"{path}: cannot be opened as the desk's database: {error}") from error
        try:
            self._migrate()
        except sqlite3.Error as error:
            self._connection.close()
            raise DatabaseError(f"{path}: its schema cannot be brought up to date: {error}") from error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; rolled back when the block raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _migrate(self) -> None:
        with self.write() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise sqlite3.DatabaseError(
                    f"it has schema {version}, this version of Tocsin knows {len(MIGRATIONS)}; use the newer Tocsin"
                )
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, script.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made here with its mode, so that there is no moment in which others can read it. WAL files take the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
