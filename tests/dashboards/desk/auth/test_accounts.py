"""Accounts, passwords and their file."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from dashboards.desk.auth import passwords
from dashboards.desk.auth.accounts import AccountError, Accounts, Refused, first_start
from dashboards.desk.auth.database import Database, DatabaseError
from dashboards.desk.auth.local import local_token
from dashboards.desk.auth.throttle import ACCOUNT, ADDRESS, MAX_WAIT_S
from dashboards.desk.auth.tokens import TokenError
from schemas.settings import Settings
from tests.dashboards.desk.auth.site import GOOD, Clock


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    made = Accounts(Settings(data_dir=tmp_path), Clock())
    yield made
    made.close()


def test_the_first_administrator_is_made_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert local_token(settings).startswith("tocsin_")
    made = first_start(settings)
    assert made is not None
    assert made.password not in repr(made)
    assert first_start(settings) is None
    accounts = Accounts(settings)
    account = accounts.get("admin")
    assert (account.role, account.must_change) == ("administrator", True)
    assert isinstance(accounts.login("admin", made.password, "192.0.2.1"), str)
    accounts.close()
    everything = b"".join(file.read_bytes() for file in tmp_path.glob("desk.sqlite3*"))
    assert made.password.encode() not in everything


def test_the_first_administrator_finds_a_name(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    accounts = Accounts(settings)
    accounts.add("admin", "analyst")
    accounts.add("admin-2", "analyst")
    made = first_start(settings)
    assert made is not None
    assert made.name == "admin-3"
    assert accounts.get("admin").role == "analyst"
    accounts.close()


def test_the_commands_token_is_renewed_at_each_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = local_token(settings), local_token(settings)
    accounts = Accounts(settings)
    assert accounts.tokens.find(first) is None
    person = accounts.tokens.find(second)
    assert person is not None
    assert person.permissions == {"view", "inspect", "act", "silence", "act_as"}
    accounts.disable("local")
    accounts.close()
    assert local_token(settings) == ""


def test_the_file_is_its_owners_alone(tmp_path: Path, accounts: Accounts) -> None:
    accounts.add("ada", "analyst")
    files = list(tmp_path.glob("desk.sqlite3*"))
    assert files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite3"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(DatabaseError, match=r"desk\.sqlite3: .*schema 99.*use the newer Tocsin"):
        Database(path)
    path.write_text("not a database")
    with pytest.raises(DatabaseError, match=r"desk\.sqlite3"):
        Database(path)


def test_somebody_can_always_administer(accounts: Accounts) -> None:
    accounts.add("ada", "administrator")
    accounts.add_machine("robot", "administrator")
    for change in (accounts.disable, accounts.delete, lambda name: accounts.set_role(name, "analyst")):
        with pytest.raises(AccountError, match="last administrator"):
            change("ada")
    assert accounts.get("ada").role == "administrator"
    accounts.add("bob", "administrator")
    accounts.disable("ada")
    accounts.delete("robot")
    with pytest.raises(AccountError, match="last administrator"):
        accounts.delete("bob")


@pytest.mark.parametrize(
    ("name", "role", "partner", "why"),
    [
        ("A", "analyst", None, "cannot be a name"),
        ("a b", "analyst", None, "cannot be a name"),
        ("ada\n", "analyst", None, "cannot be a name"),
        ("ada", "king", None, "roles are watch_officer"),
        ("ada", "partner", None, "needs the id of a partner"),
        ("ada", "analyst", "hub-ke", "only the role partner"),
        ("taken", "analyst", None, "already"),
    ],
)
def test_what_cannot_be_an_account(accounts: Accounts, name: str, role: str, partner: str | None, why: str) -> None:
    accounts.add("taken", "analyst")
    with pytest.raises(AccountError, match=why):
        accounts.add(name, role, partner=partner)  # type: ignore[arg-type]
    assert [account.name for account in accounts.all()] == ["taken"]


def test_many_guesses_at_once_gain_nothing(accounts: Accounts) -> None:
    accounts.add("ada", "analyst")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: accounts.login("ada", "wrong", "192.0.2.1"), range(24)))
    tried = [each for each in outcomes if isinstance(each, Refused) and each.retry_after_s == 0]
    assert len(tried) == ACCOUNT.free + 1


@given(st.integers(min_value=0, max_value=10_000))
def test_waits_only_grow_and_have_an_end(count: int) -> None:
    for allowance in (ACCOUNT, ADDRESS):
        assert allowance.wait_s(count) <= allowance.wait_s(count + 1) <= MAX_WAIT_S
        assert (allowance.wait_s(count) == 0) == (count <= allowance.free)


def test_a_hash_of_older_parameters_is_made_anew_at_login(accounts: Accounts) -> None:
    made = accounts.add("ada", "analyst")
    accounts.change_password("ada", made.password, GOOD, "")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    with accounts.database.write() as connection:
        connection.execute("UPDATE accounts SET password_hash = ?", (weak,))
    assert isinstance(accounts.login("ada", GOOD, "192.0.2.1"), str)
    row = accounts.database.row("SELECT password_hash FROM accounts")
    assert row is not None
    assert row[0] != weak
    assert row[0].startswith("$argon2id$")
    assert isinstance(accounts.login("ada", GOOD, "192.0.2.1"), str)


def test_no_account_takes_any_password(accounts: Accounts) -> None:
    accounts.add_machine("robot", "analyst")
    for name in ("robot", "nobody", ""):
        for password in ("", "x" * 12, "x" * 100_000):
            assert isinstance(accounts.login(name, password, f"192.0.2.{len(password) % 250}"), Refused)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", "too short"),
        ("x" * 257, "too long"),
        ("ada.lovelace", "little more than the name"),
        ("Ada.Lovelace12", "little more than the name"),
        ("password1234", "first that anybody tries"),
        ("aaaaaaaaaaaaaaa", "first that anybody tries"),
        ("Tocsin123456!", "first that anybody tries"),
    ],
)
def test_passwords_that_may_not_be_used(password: str, why: str) -> None:
    with pytest.raises(passwords.WeakPasswordError, match=why) as refused:
        passwords.check(password, "ada.lovelace")
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password", [GOOD, "k#9vQ2mmZx!p", "пароль из слов", "ada.lovelace met a heron", "        q w e r"]
)
def test_any_kind_of_characters_will_do(password: str) -> None:
    passwords.check(password, "ada.lovelace")


def test_letters_are_the_same_however_a_keyboard_writes_them() -> None:
    assert passwords.verify(passwords.hashed("cafe\u0301 am Rande"), "caf\u00e9 am Rande")


def test_one_time_passwords_may_be_used_and_are_not_alike() -> None:
    made = {passwords.one_time() for _ in range(100)}
    assert len(made) == 100
    for each in made:
        passwords.check(each, "admin")


@pytest.mark.parametrize(
    ("scope", "valid", "why"),
    [
        (["view", "fly"], timedelta(days=1), "names fly"),
        ([], timedelta(days=1), "names nothing"),
        (["accounts"], timedelta(days=1), "analyst may not accounts"),
        (["view"], timedelta(days=400), "valid for"),
        (["view"], timedelta(0), "valid for"),
    ],
)
def test_tokens_that_cannot_be_made(accounts: Accounts, scope: list[str], valid: timedelta, why: str) -> None:
    accounts.add("ada", "analyst")
    with pytest.raises(TokenError, match=why):
        accounts.tokens.make("ada", scope, valid)
    assert accounts.tokens.all() == []
