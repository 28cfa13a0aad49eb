"""The liveness check of the workers must not take the platform down with the broker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from schemas.settings import PACKAGE_ROOT


def test_asking_for_offsets_survives_broker_restarts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.recovery.asks_while_the_broker_restarts", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=PACKAGE_ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
