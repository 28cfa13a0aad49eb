"""Workers that the bench starts have the settings that it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bench.tocsin import environment
from schemas.settings import Settings


def test_settings_survive_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(data_dir=Path("somewhere"), store=False, desk_hosts=("desk.example",), oidc_roles={"a": "analyst"})
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given
