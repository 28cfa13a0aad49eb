"""API tokens: a scope, an end, and a secret that is shown once. The file has its digest only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

from dashboards.desk.auth.database import Database, digest, moment, stamp
from dashboards.desk.auth.roles import PERMISSIONS, Permission, Person, Role, token_permissions

PREFIX: Final = "tocsin_"
MAX_VALID: Final = timedelta(days=366)
USED_EVERY_S: Final = 60.0
MIN_RANDOM: Final = 32


class TokenError(ValueError):
    """A token cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What may be told of a token. Times are aware UTC."""

    id: str
    account: str
    scope: tuple[Permission, ...]
    label: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token with its secret, told here and nowhere else."""

    token: Token
    secret: str = field(repr=False)


class Tokens:
    """Makes, finds and revokes tokens. ``now`` returns aware UTC."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database, self._now = database, now

    def make(
        self, account: str, scope: Collection[str], valid: timedelta, label: str = "", *, secret: str | None = None
    ) -> NewToken:
        """A token of ``account`` that may do what ``scope`` names, for as long as ``valid``; its secret is made up
        here, or ``secret``, where both sides are to know it before.

        Raises:
            TokenError: the account does not exist or is disabled, the scope is empty, unknown or beyond the role, the
                time is not between a minute and a year, or the secret is too short.
        """
        row = self._database.row("SELECT role FROM accounts WHERE name = ? AND disabled = 0", account)
        if row is None:
            raise TokenError(f"there is no account '{account}' that is enabled; tocsin accounts list shows them")
        if not timedelta(minutes=1) <= valid <= MAX_VALID:
            raise TokenError(f"a token is valid for a minute to {MAX_VALID.days} days")
        wanted = _checked(scope, row["role"])
        secret = secret or f"{PREFIX}{secrets.token_urlsafe(32)}"
        if not secret.startswith(PREFIX) or len(secret) < len(PREFIX) + MIN_RANDOM:
            raise TokenError(f"a token is {PREFIX} and at least {MIN_RANDOM} random characters behind it")
        now = self._now()
        made = Token(secrets.token_hex(4), account, wanted, label, now, now + valid, None)
        with self._database.write() as connection:
            connection.execute("DELETE FROM tokens WHERE expires_at <= ?", (stamp(now),))
            connection.execute(
                "INSERT INTO tokens (id, account, hash, scope, label, created_at, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (made.id, account, digest(secret), ",".join(wanted), label, stamp(now), stamp(made.expires_at)),
            )
        return NewToken(made, secret)

    def find(self, secret: str) -> Person | None:
        """Who asks with this token, with the permissions that role and scope have in common; None if it is no good."""
        if not secret.startswith(PREFIX):
            return None
        now = stamp(self._now())
        row = self._database.row(
            "SELECT a.*, t.id AS token, t.scope, t.used_at FROM tokens t JOIN accounts a ON a.name = t.account "
            "WHERE t.hash = ? AND t.expires_at > ? AND a.disabled = 0",
            *(digest(secret), now),
        )
        if row is None:
            return None
        if row["used_at"] is None or now - row["used_at"] >= USED_EVERY_S:
            with self._database.write() as connection:
                connection.execute("UPDATE tokens SET used_at = ? WHERE id = ?", (now, row["token"]))
        scope = frozenset(cast("list[Permission]", row["scope"].split(",")))
        return Person(
            name=row["name"],
            role=row["role"],
            display=row["display"],
            permissions=token_permissions(row["role"]) & scope,
            via="api",
            partner=row["partner"],
        )

    def all(self) -> list[Token]:
        """Every token that is still valid, the newest first."""
        rows = self._database.rows(
            "SELECT * FROM tokens WHERE expires_at > ? ORDER BY created_at DESC", stamp(self._now())
        )
        return [
            Token(
                id=row["id"],
                account=row["account"],
                scope=tuple(row["scope"].split(",")),
                label=row["label"],
                created_at=moment(row["created_at"]),
                expires_at=moment(row["expires_at"]),
                used_at=None if row["used_at"] is None else moment(row["used_at"]),
            )
            for row in rows
        ]

    def revoke(self, token_id: str) -> bool:
        """End the token of this id; whether there was one."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM tokens WHERE id = ?", (token_id,)).rowcount > 0


def _checked(scope: Collection[str], role: Role) -> tuple[Permission, ...]:
    unknown = sorted(set(scope) - set(PERMISSIONS))
    if unknown or not scope:
        raise TokenError(f"the scope names {', '.join(unknown) or 'nothing'}; it is a list of {', '.join(PERMISSIONS)}")
    beyond = sorted(set(scope) - token_permissions(role))
    if beyond:
        raise TokenError(f"the role {role} may not {', '.join(beyond)}, so its token cannot")
    return tuple(each for each in PERMISSIONS if each in scope)
