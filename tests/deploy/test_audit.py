"""The dependency audit tells a clean bill from one that nobody could make out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.audit import Verdict, unreachable, verdict

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_what_a_report_says() -> None:
    assert verdict({"dependencies": [CLEAN]}) == Verdict(audited=1)
    found = verdict({"dependencies": [CLEAN, BAD, UNKNOWN]})
    assert found == Verdict(2, ("c",), ("b 2: PYSEC-2026-1, fixed in 2.1",))


def test_an_index_that_knows_nothing_is_no_clean_bill() -> None:
    assert verdict({"dependencies": [UNKNOWN, UNKNOWN]}).skipped


def test_a_service_that_is_away_is_said_and_does_not_fail(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("jinja2==3.1.6\n")
    away = ["-s", "osv", "--osv-url", "http://127.0.0.1:9/v1/query"]
    done = subprocess.run(
        [sys.executable, "-m", "deploy.audit", str(requirements), *away], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "SKIPPED, dependencies were not checked" in done.stdout
    assert "127.0.0.1" in done.stdout


@pytest.mark.parametrize(
    "error",
    [
        "HTTPError: 500 Server Error",
        "SSLError: certificate verify failed",
        "ValueError: x",
        "SSLError: bad\nConnectionError: x",
    ],
)
def test_an_error_of_the_service_is_no_absence(error: str) -> None:
    """A service that answers, or somebody in its place, must not make the check pass."""
    assert unreachable(f"Traceback\nrequests.exceptions.{error}") is None


@pytest.mark.parametrize("name", ["ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError"])
def test_absence_is_known(name: str) -> None:
    assert unreachable(f"Traceback\nrequests.exceptions.{name}: no route") == "no route"
