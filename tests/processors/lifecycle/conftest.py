from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.timeline import Timeline

Begin = Callable[..., Timeline]


@pytest.fixture(params=[False, True], ids=["one engine", "restarted after every step"])
def begin(request: pytest.FixtureRequest) -> Begin:
    """Begins a timeline; every scenario runs on one engine, and with a restart after every step."""

    def begun(**fields: Any) -> Timeline:
        roster = fields.pop("roster", None) or rota()
        return Timeline(roster, restarts=request.param, **fields)

    return begun
