"""Programs on the engine in memory (``memory_engine.py``) in a process of their own: the engine opens one path a
process, and other tests have theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from schemas.migrations import MIGRATIONS_DIR


def report_of(program: str) -> dict[str, Any]:
    """What the program prints, an object of JSON."""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=MIGRATIONS_DIR.parents[1],
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report
