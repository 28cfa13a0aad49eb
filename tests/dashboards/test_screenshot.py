"""The command that pictures the desk says what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dashboards import screenshot
from dashboards.cli import app
from dashboards.desk.auth.accounts import Accounts
from schemas.settings import Settings


def test_without_a_running_desk_it_says_how_to_start_one(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["screenshot", str(tmp_path / "a.png"), "--data-dir", str(tmp_path)])
    assert found.exit_code == 2
    assert "No picture: no desk is running in this data directory: start it with tocsin up" in found.output
    assert not (tmp_path / "a.png").exists()


def test_without_a_browser_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(screenshot.ScreenshotError, match="apt-get install chromium"):
        screenshot.take(Settings(data_dir=tmp_path, desk_url="http://127.0.0.1:9"), tmp_path / "a.png")


def test_the_account_that_looks_is_gone_afterwards(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    accounts = Accounts(settings)
    accounts.add("admin", "administrator")
    with screenshot.session(Accounts(settings)) as name:
        found = accounts.sessions.find(name)
        assert found is not None
        assert found.person.role == "watch_officer"
        assert not found.person.must_change
    assert accounts.sessions.find(name) is None
    assert [account.name for account in accounts.all()] == ["admin"]
    accounts.close()


def test_accounts_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk.sqlite3").write_text("not a database")
    monkeypatch.setenv("CHROMIUM", sys.executable)
    with pytest.raises(screenshot.ScreenshotError, match=r"desk\.sqlite3"):
        screenshot.take(Settings(data_dir=tmp_path, desk_url="http://127.0.0.1:9/"), tmp_path / "a.png")


def test_addresses_have_one_slash(tmp_path: Path) -> None:
    """The platform publishes the desk's address with a slash at its end."""
    assert screenshot.address_of(Settings(data_dir=tmp_path, desk_url="http://127.0.0.1:9/")) == "http://127.0.0.1:9"
