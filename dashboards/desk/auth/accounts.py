"""Accounts of the desk: who there is, with which role, and how one is let in. Sessions, tokens and failed logins hang
on them, in one SQLite file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from dashboards.desk.auth import passwords
from dashboards.desk.auth.database import Database, database_path, digest, moment, stamp
from dashboards.desk.auth.roles import ROLES, Role
from dashboards.desk.auth.sessions import Sessions
from dashboards.desk.auth.throttle import Throttle
from dashboards.desk.auth.tokens import Tokens
from schemas.settings import Settings

FIRST_NAME: Final = "admin"
ONE_TIME_VALID: Final = timedelta(days=7)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")


class AccountError(ValueError):
    """Something cannot be done to an account; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account. ``identity`` is ``issuer subject`` of one who comes by OpenID Connect. Times are aware UTC."""

    name: str
    display: str
    role: Role
    partner: str | None
    has_password: bool
    must_change: bool
    disabled: bool
    identity: str | None
    created_at: datetime
    last_login_at: datetime | None

    @property
    def standing(self) -> str:
        """``disabled``, ``one-time password`` while it was not changed, else ``enabled``."""
        return "disabled" if self.disabled else "one-time password" if self.must_change else "enabled"

    @property
    def logs_in_by(self) -> str:
        """By what it is let in."""
        return "identity provider" if self.identity else "password" if self.has_password else "token"


@dataclass(frozen=True, slots=True)
class OneTime:
    """A password that lets in once, to be changed at once. It is told here and nowhere else."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody was not let in. ``known`` is for the access log; what a person is told does not depend on it."""

    known: bool
    retry_after_s: int = 0


class Accounts:
    """All that decides who may in. ``now`` returns aware UTC. For any thread; :meth:`login`, :meth:`add`,
    :meth:`reset` and :meth:`change_password` hash and take tens of milliseconds.

    Raises:
        DatabaseError: the file cannot be used.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self.database = Database(database_path(settings))
        self.sessions = Sessions(self.database, now, idle_s=settings.session_idle_s, max_s=settings.session_max_s)
        self.tokens = Tokens(self.database, now)
        self.throttle = Throttle(self.database, now)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def all(self) -> list[Account]:
        """Every account, by name."""
        return [_account(row) for row in self.database.rows("SELECT * FROM accounts ORDER BY name")]

    def get(self, name: str) -> Account:
        """One account.

        Raises:
            AccountError: there is none of this name.
        """
        row = self.database.row("SELECT * FROM accounts WHERE name = ?", name)
        if row is None:
            raise AccountError(f"there is no account '{name}'; tocsin accounts list shows those there are")
        return _account(row)

    def add(self, name: str, role: Role, *, partner: str | None = None, display: str = "") -> OneTime:
        """Make an account that logs in with the returned password and must then choose its own.

        Raises:
            AccountError: the name is taken or cannot be one, the role is unknown, or partner and role do not fit.
        """
        password = passwords.one_time()
        self._insert(name, role, partner, display, passwords.hashed(password))
        return OneTime(name, password)

    def add_machine(self, name: str, role: Role, *, partner: str | None = None, display: str = "") -> None:
        """Make an account without a password: only tokens let it in.

        Raises:
            AccountError: as of :meth:`add`.
        """
        self._insert(name, role, partner, display, None)

    def reset(self, name: str) -> OneTime:
        """A new one-time password; what was open under the account is closed, and its waiting time is over.

        Raises:
            AccountError: there is none of this name, or it comes by OpenID Connect.
        """
        if self.get(name).identity is not None:
            raise AccountError(f"'{name}' logs in at the identity provider; its password is kept there")
        password = passwords.one_time()
        changes = (passwords.hashed(password), stamp(self.now() + ONE_TIME_VALID), name)
        with self.database.write() as connection:
            connection.execute(
                "UPDATE accounts SET password_hash = ?, must_change = 1, password_expires_at = ? WHERE name = ?",
                changes,
            )
            _shut(connection, name)
        self.throttle.forgive_account(name)
        return OneTime(name, password)

    def change_password(self, name: str, old: str, new: str, address: str) -> None:
        """Replace the password by one that the person chose. Every session of the account ends.

        Raises:
            AccountError: the old one is wrong, or it was tried too often.
            WeakPasswordError: the new one may not be used.
        """
        row = self.database.row("SELECT * FROM accounts WHERE name = ? AND disabled = 0", name)
        wait = self.throttle.attempt(name, address)
        if wait > 0:
            raise AccountError(f"Too many attempts. Try again in {wait} seconds.")
        if row is None or not passwords.verify(row["password_hash"], old):
            raise AccountError("The old password is wrong.")
        self.throttle.succeeded(name, address)
        passwords.check(new, name, old)
        hashed = passwords.hashed(new)
        with self.database.write() as connection:
            connection.execute(
                "UPDATE accounts SET password_hash = ?, must_change = 0, password_expires_at = NULL WHERE name = ?",
                (hashed, name),
            )
            connection.execute("DELETE FROM sessions WHERE account = ?", (name,))

    def set_role(self, name: str, role: Role, *, partner: str | None = None) -> None:
        """Change what an account may do; who is logged in under it has to log in again.

        Raises:
            AccountError: unknown account or role, partner and role do not go together, or nobody would administer.
        """
        _check_role(role, partner)
        before = self.get(name)
        with self.database.write() as connection:
            _change_role(connection, before, role, partner)
            _check_administered(connection, before)

    def disable(self, name: str) -> None:
        """Shut an account out, with everything that is open under it; its history stays.

        Raises:
            AccountError: there is none of this name, or nobody would administer.
        """
        before = self.get(name)
        with self.database.write() as connection:
            connection.execute("UPDATE accounts SET disabled = 1 WHERE name = ?", (name,))
            _shut(connection, name)
            _check_administered(connection, before)

    def enable(self, name: str) -> None:
        """Let a disabled account in again, by the password it had.

        Raises:
            AccountError: there is none of this name.
        """
        self.get(name)
        with self.database.write() as connection:
            connection.execute("UPDATE accounts SET disabled = 0 WHERE name = ?", (name,))
        self.throttle.forgive_account(name)

    def unlock(self, name: str) -> None:
        """End the wait after wrong passwords under this name.

        Raises:
            AccountError: there is none of this name.
        """
        self.get(name)
        self.throttle.forgive_account(name)

    def delete(self, name: str) -> None:
        """Remove an account with its sessions and tokens. What it did stays on record under its name, so a name that
        acted is better disabled.

        Raises:
            AccountError: there is none of this name, or nobody would administer.
        """
        before = self.get(name)
        with self.database.write() as connection:
            connection.execute("DELETE FROM accounts WHERE name = ?", (name,))
            _check_administered(connection, before)

    def login(self, name: str, password: str, address: str) -> str | Refused:
        """The id of a new session, or a refusal that says the same of a name that is unknown, disabled or wrong."""
        name = name.strip().lower()
        row = self.database.row("SELECT * FROM accounts WHERE name = ? AND disabled = 0", name)
        wait = self.throttle.attempt(name, address)
        if wait > 0:
            return Refused(known=row is not None, retry_after_s=wait)
        right = passwords.verify(None if row is None else row["password_hash"], password)
        if row is None or not right or _is_over(row["password_expires_at"], self.now()):
            return Refused(known=row is not None)
        self.throttle.succeeded(name, address)
        if passwords.is_dated(row["password_hash"]):
            self._rehash(name, row["password_hash"], password)
        return self.let_in(name, address)

    def let_in(self, name: str, address: str) -> str:
        """The id of a new session for one who has proved to be ``name``."""
        with self.database.write() as connection:
            connection.execute("UPDATE accounts SET last_login_at = ? WHERE name = ?", (stamp(self.now()), name))
        return self.sessions.start(name, address)

    def admit(self, identity: str, wanted_name: str, role: Role, *, partner: str | None, display: str) -> Account:
        """The account of one whom an identity provider vouches for, made or brought up to date. A name that somebody
        else has is never taken over: it gets a tail of the identity's digest.

        Raises:
            AccountError: the account was disabled here, or partner and role do not go together.
        """
        row = self.database.row("SELECT * FROM accounts WHERE identity = ?", identity)
        if row is None:
            name = self._free_name(wanted_name, identity)
            self._insert(name, role, partner, display, None, identity)
            return self.get(name)
        if row["disabled"]:
            raise AccountError(f"The account '{row['name']}' is disabled at this desk.")
        _check_role(role, partner)
        with self.database.write() as connection:
            _change_role(connection, _account(row), role, partner)
            connection.execute("UPDATE accounts SET display = ? WHERE identity = ?", (display, identity))
        return self.get(row["name"])

    def _free_name(self, wanted: str, identity: str) -> str:
        plain = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("-._")[:48]
        if _NAME.fullmatch(plain) and not self.database.row("SELECT 1 FROM accounts WHERE name = ?", plain):
            return plain
        return f"{plain or 'person'}-{digest(identity).hex()[:8]}"

    def _insert(
        self, name: str, role: Role, partner: str | None, display: str, hashed: str | None, identity: str | None = None
    ) -> None:
        if not _NAME.fullmatch(name):
            raise AccountError(
                f"'{name}' cannot be a name: 2 to 64 of a-z, 0-9, dot, hyphen and underscore, first a letter or digit"
            )
        _check_role(role, partner)
        expires = None if hashed is None else stamp(self.now() + ONE_TIME_VALID)
        values = (
            name,
            display or name,
            role,
            partner,
            hashed,
            hashed is not None,
            expires,
            identity,
            stamp(self.now()),
        )
        try:
            with self.database.write() as connection:
                connection.execute(
                    "INSERT INTO accounts (name, display, role, partner, password_hash, must_change, "
                    "password_expires_at, identity, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        except sqlite3.IntegrityError:
            raise AccountError(f"there is an account '{name}' already; tocsin accounts list shows it") from None

    def _rehash(self, name: str, old_hash: str, password: str) -> None:
        hashed = passwords.hashed(password)
        with self.database.write() as connection:
            # Not if it was changed meanwhile.
            connection.execute(
                "UPDATE accounts SET password_hash = ? WHERE name = ? AND password_hash = ?", (hashed, name, old_hash)
            )


def first_start(settings: Settings) -> OneTime | None:
    """The first administrator and its one-time password, when there is no administrator; None ever after.

    Raises:
        DatabaseError: the file cannot be used.
    """
    accounts = Accounts(settings)
    try:
        if any(_administers(account) for account in accounts.all()):
            return None
        taken = {account.name for account in accounts.all()}
        names = (FIRST_NAME, *(f"{FIRST_NAME}-{number}" for number in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)
        return accounts.add(name, "administrator", display="Administrator")
    finally:
        accounts.close()


def _account(row: sqlite3.Row) -> Account:
    return Account(
        name=row["name"],
        display=row["display"],
        role=row["role"],
        partner=row["partner"],
        has_password=row["password_hash"] is not None,
        must_change=bool(row["must_change"]),
        disabled=bool(row["disabled"]),
        identity=row["identity"],
        created_at=moment(row["created_at"]),
        last_login_at=None if row["last_login_at"] is None else moment(row["last_login_at"]),
    )


def _is_over(expires_at: float | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= stamp(now)


def _check_role(role: Role, partner: str | None) -> None:
    if role not in ROLES:
        raise AccountError(f"'{role}' is not a role; roles are {', '.join(ROLES)}")
    if role == "partner" and not partner:
        raise AccountError("the role partner needs the id of a partner, as in partners.yml: --partner ID")
    if role != "partner" and partner:
        raise AccountError(f"only the role partner is bound to a partner; '{role}' sees every partner's alerts")


def _shut(connection: sqlite3.Connection, name: str, *, tokens: bool = True) -> None:
    connection.execute("DELETE FROM sessions WHERE account = ?", (name,))
    if tokens:
        connection.execute("DELETE FROM tokens WHERE account = ?", (name,))


def _change_role(connection: sqlite3.Connection, before: Account, role: Role, partner: str | None) -> None:
    if (before.role, before.partner) != (role, partner):
        connection.execute("UPDATE accounts SET role = ?, partner = ? WHERE name = ?", (role, partner, before.name))
        _shut(connection, before.name, tokens=False)


def _administers(account: Account) -> bool:
    reachable = account.has_password or account.identity is not None
    return account.role == "administrator" and reachable and not account.disabled


def _check_administered(connection: sqlite3.Connection, before: Account) -> None:
    """Raised inside the transaction, which is then undone."""
    left = connection.execute("SELECT * FROM accounts WHERE role = 'administrator'").fetchall()
    if _administers(before) and not any(_administers(_account(row)) for row in left):
        raise AccountError("this is the last administrator; make another one first")
