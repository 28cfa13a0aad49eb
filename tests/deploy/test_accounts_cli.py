"""``tocsin accounts``, on the accounts' file and without a platform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dashboards.desk.auth.accounts import Accounts, Refused
from deploy.cli import app
from schemas.settings import Settings

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return runner.invoke(app, ["accounts", *words, "--data-dir", str(folder)])


def password_in(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("password"))


def login(folder: Path, name: str, password: str) -> bool:
    accounts = Accounts(Settings(data_dir=folder))
    try:
        return not isinstance(accounts.login(name, password, "192.0.2.1"), Refused)
    finally:
        accounts.close()


def test_an_account_from_its_making_to_its_end(folder: Path) -> None:
    first = password_in(run(folder, "add", "ada", "--role", "watch_officer", "--display", "Ada L."))
    assert login(folder, "ada", first)
    second = password_in(run(folder, "reset", "ada"))
    assert not login(folder, "ada", first)
    assert login(folder, "ada", second)
    assert run(folder, "disable", "ada").exit_code == 0
    assert not login(folder, "ada", second)
    assert run(folder, "enable", "ada").exit_code == 0
    assert run(folder, "role", "ada", "--role", "partner", "--partner", "bpol-de").exit_code == 0
    listed = json.loads(run(folder, "list", "--json").stdout)
    assert [(each["name"], each["display"], each["role"], each["partner"]) for each in listed] == [
        ("ada", "Ada L.", "partner", "bpol-de")
    ]
    assert "hash" not in json.dumps(listed)
    assert "ada" in run(folder, "list").stdout
    assert run(folder, "delete", "ada").exit_code == 0
    assert json.loads(run(folder, "list", "--json").stdout) == []


def test_a_token_is_printed_once_and_can_be_revoked(folder: Path) -> None:
    assert run(folder, "add", "robot", "--role", "analyst", "--machine").exit_code == 0
    made = run(folder, "token", "robot", "--scope", "view,act", "--expires", "12h", "--label", "nightly")
    secret = made.stdout.strip()
    assert secret.startswith("tocsin_")
    listed = json.loads(run(folder, "tokens", "--json").stdout)
    assert [(each["account"], each["scope"], each["label"]) for each in listed] == [
        ("robot", ["view", "act"], "nightly")
    ]
    assert secret not in json.dumps(listed)
    assert "nightly" in run(folder, "tokens").stdout
    assert run(folder, "revoke", listed[0]["id"]).exit_code == 0
    assert run(folder, "revoke", listed[0]["id"]).exit_code == 1
    assert json.loads(run(folder, "tokens", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["add", "ada", "--role", "king"], 1, "roles are watch_officer"),
        (["add", "ada", "--role", "partner"], 1, "--partner ID"),
        (["add", "ada", "--role", "partner", "--partner", "atlantis"], 2, "atlantis"),
        (["disable", "nobody"], 1, "no account 'nobody'"),
        (["token", "nobody", "--scope", "view"], 1, "no account 'nobody'"),
        (["token", "nobody", "--expires", "soon"], 2, "'soon' is not a time"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, words: list[str], status: int, said: str) -> None:
    result = run(folder, *words)
    assert result.exit_code == status
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_what_an_operator_does_is_kept_for_the_access_log(folder: Path) -> None:
    secret = password_in(run(folder, "add", "ada", "--role", "analyst"))
    run(folder, "disable", "nobody")
    kept = "".join(file.read_text() for file in sorted(folder.glob("access-log*"), reverse=True))
    rows = [json.loads(line) for line in kept.splitlines()]
    found = sorted((row["what"], row["target"], row["allowed"], row["via"], row["role"]) for row in rows)
    assert found == [
        ("account add", "ada analyst", True, "cli", "operator"),
        ("account disable", "nobody", False, "cli", "operator"),
    ]
    assert secret not in kept


def test_a_wait_after_wrong_passwords_is_ended(folder: Path) -> None:
    right = password_in(run(folder, "add", "ada", "--role", "watch_officer"))
    for _ in range(6):
        assert not login(folder, "ada", "wrong")
    assert not login(folder, "ada", right)
    assert run(folder, "unlock", "ada").exit_code == 0
    assert login(folder, "ada", right)
    assert run(folder, "unlock", "nobody").exit_code == 1
