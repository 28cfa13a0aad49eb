from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from dashboards.desk.auth import passwords
from tests.dashboards.desk.auth.site import Site, build


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # Hashes that cost little: each of some hundred logins would else take a tenth of a second on purpose.
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr(passwords, "_nobodys", cache(passwords._nobodys.__wrapped__))
    made = build(tmp_path)
    yield made
    made.access.close()
    made.accounts.close()
