"""Sessions of browsers, kept on the server. The browser has a random id; the file has its digest."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dashboards.desk.auth.database import Database, digest, stamp
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person

ID_BYTES: Final = 32
SEEN_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Session:
    """A session that holds now, and whose it is. ``id`` is the cookie's value."""

    id: str
    person: Person


class Sessions:
    """Starts, finds and ends sessions. A session ends ``idle_s`` seconds after it was last used, ``max_s`` after it
    began, or when it is ended. ``now`` returns aware UTC."""

    def __init__(self, database: Database, now: Callable[[], datetime], *, idle_s: float, max_s: float) -> None:
        self._database, self._now = database, now
        self._idle_s, self._max_s = idle_s, max_s

    def start(self, account: str, address: str) -> str:
        """The id of a new session; it was never anybody's before, so that none can be planted."""
        name, now = secrets.token_urlsafe(ID_BYTES), stamp(self._now())
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at <= ? OR seen_at <= ?", (now, now - self._idle_s))
            connection.execute(
                "INSERT INTO sessions (hash, account, created_at, seen_at, expires_at, address) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (digest(name), account, now, now, now + self._max_s, address),
            )
        return name

    def find(self, name: str, *, use: bool = True) -> Session | None:
        """The session of this id if it holds. ``use`` counts as a sign of life and puts off the idle end."""
        now = stamp(self._now())
        row = self._database.row(
            "SELECT a.*, s.seen_at FROM sessions s JOIN accounts a ON a.name = s.account "
            "WHERE s.hash = ? AND s.expires_at > ? AND s.seen_at > ? AND a.disabled = 0",
            *(digest(name), now, now - self._idle_s),
        )
        if row is None:
            return None
        if use and now - row["seen_at"] >= SEEN_EVERY_S:
            with self._database.write() as connection:
                connection.execute("UPDATE sessions SET seen_at = ? WHERE hash = ?", (now, digest(name)))
        person = Person(
            name=row["name"],
            role=row["role"],
            display=row["display"],
            permissions=ROLE_PERMISSIONS[row["role"]],
            partner=row["partner"],
            must_change=bool(row["must_change"]),
        )
        return Session(name, person)

    def end(self, name: str) -> None:
        """End the session of this id; nothing happens when there is none."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE hash = ?", (digest(name),))
