"""``tocsin`` commands on the shared platform, run within the test: a process each would spend its time on imports."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from deploy.cli import app
from tests.stack import Stack


def said(stack: Stack, *words: str) -> tuple[int, str, str]:
    """Exit status and output of a command."""
    done = CliRunner().invoke(app, [*words, "--data-dir", str(stack.settings.data_dir)])
    return done.exit_code, done.stdout, done.stderr


def tocsin(stack: Stack, *words: str, status: int = 0) -> Any:
    """What a command prints with ``--json``."""
    found, output, error = said(stack, *words, "--json")
    assert found == status, f"{found}: {output}\n{error}"
    return json.loads(output)
