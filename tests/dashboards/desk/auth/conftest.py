from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboards.desk.auth.site import Site, build


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = build(tmp_path)
    yield made
    made.access.close()
    made.accounts.close()
