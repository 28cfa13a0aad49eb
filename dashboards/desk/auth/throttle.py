"""Waiting times after failed logins, per account name and per address, kept over restarts.

The first few mistakes cost nothing; each one after them doubles the time in which nothing is even tried, up to a
quarter of an hour. There is no lock for good: anybody could then shut out the watch officer;
and from an address where a name logged in lately, only the address's own mistakes count. Names that do not exist
wait as well, so that waiting tells nothing.
"""

from __future__ import annotations

import ipaddress
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dashboards.desk.auth.database import Database, digest, stamp

MAX_WAIT_S: Final = 900.0
FORGOTTEN_AFTER_S: Final = 86_400.0
KNOWN_FOR_S: Final = 14 * 86_400.0
MAX_KEYS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many mistakes are free."""

    free: int

    def wait_s(self, count: int) -> float:
        """Seconds to wait after the mistake number ``count``."""
        over = count - self.free
        return 0.0 if over <= 0 else min(2.0 ** min(over, 20), MAX_WAIT_S)


ACCOUNT: Final = Allowance(4)
# Many people may share an address.
ADDRESS: Final = Allowance(20)


class Throttle:
    """Counts failed logins. ``now`` returns aware UTC."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database, self._now = database, now

    def attempt(self, name: str, address: str) -> int:
        """Whole seconds to wait before a login may be tried; 0 lets it be tried, and counts it as failed until
        :meth:`succeeded`, so that many at once gain nothing."""
        now = stamp(self._now())
        keys = ((_name_key(name), ACCOUNT), (address_key(address), ADDRESS))
        with self._database.write() as connection:
            # Strangers who guess at a name must not shut out its owner, who logs in from where they did before.
            known = _is_known(connection, name, address, now)
            blocked = max(_blocked_until(connection, key) for key, _ in keys[known:])
            if blocked > now:
                return math.ceil(blocked - now)
            for key, allowance in keys:
                _count(connection, key, allowance, now)
            _bound(connection, now)
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """The attempt was right: the account starts anew; the address only gets this one back, or a guesser would
        reset it with an account of its own."""
        self.forgive_account(name)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE failures SET count = max(count - 1, 0), blocked_until = 0 WHERE key = ?",
                (address_key(address),),
            )
            now = stamp(self._now())
            connection.execute("DELETE FROM successes WHERE at < ?", (now - KNOWN_FOR_S,))
            connection.execute("INSERT OR REPLACE INTO successes VALUES (?, ?)", (_pair_key(name, address), now))

    def wait_of(self, name: str) -> int:
        """Whole seconds that a login under this name has to wait, from where it has not logged in lately."""
        row = self._database.row("SELECT blocked_until FROM failures WHERE key = ?", _name_key(name))
        return max(0, math.ceil(row["blocked_until"] - stamp(self._now()))) if row else 0

    def forgive_account(self, name: str) -> None:
        """Forget the mistakes made under a name."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM failures WHERE key = ?", (_name_key(name),))


def _name_key(name: str) -> bytes:
    """A digest: what is typed as a name may be a password."""
    return digest(f"name {name}")


def _pair_key(name: str, address: str) -> bytes:
    return digest(f"pair {name} {address_key(address).hex()}")


def _is_known(connection: sqlite3.Connection, name: str, address: str, now: float) -> bool:
    """Whether that name logged in from that address lately."""
    row = connection.execute("SELECT at FROM successes WHERE key = ?", (_pair_key(name, address),)).fetchone()
    return row is not None and now - row["at"] < KNOWN_FOR_S


def address_key(address: str) -> bytes:
    """Under what an address is counted, a digest. An IPv6 host has the whole /64, so the network counts."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return digest(f"address {address}")
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return digest(f"address {parsed.ipv4_mapped}")
        return digest(f"address {ipaddress.ip_network((parsed, 64), strict=False)}")
    return digest(f"address {parsed}")


def _blocked_until(connection: sqlite3.Connection, key: bytes) -> float:
    row = connection.execute("SELECT blocked_until FROM failures WHERE key = ?", (key,)).fetchone()
    return float(row["blocked_until"]) if row else 0.0


def _count(connection: sqlite3.Connection, key: bytes, allowance: Allowance, now: float) -> None:
    row = connection.execute("SELECT count, last_at FROM failures WHERE key = ?", (key,)).fetchone()
    count = 1 + (row["count"] if row and now - row["last_at"] < FORGOTTEN_AFTER_S else 0)
    connection.execute(
        "INSERT OR REPLACE INTO failures (key, count, last_at, blocked_until) VALUES (?, ?, ?, ?)",
        (key, count, now, now + allowance.wait_s(count)),
    )


def _bound(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("DELETE FROM failures WHERE last_at < ?", (now - FORGOTTEN_AFTER_S,))
    # Random names must not fill the disk; the mildest records go first.
    if connection.execute("SELECT count(*) FROM failures").fetchone()[0] > MAX_KEYS:
        connection.execute(
            "DELETE FROM failures WHERE key IN (SELECT key FROM failures ORDER BY blocked_until, last_at LIMIT ?)",
            (MAX_KEYS // 10,),
        )
