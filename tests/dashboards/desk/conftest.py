from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dashboards.alerts import Store
from dashboards.desk.app import create_api
from schemas.settings import Settings
from tests.dashboards.desk.site import STATES, Site
from tests.dashboards.desk.states import HandFed
from tests.dashboards.engine import EngineClient


@pytest.fixture
async def site(engine: EngineClient, tmp_path: Path) -> AsyncIterator[Site]:
    # The discard port: nothing here reaches a platform that runs on this machine.
    nowhere = "127.0.0.1:9"
    settings = Settings(data_dir=tmp_path, kafka_bootstrap=nowhere, clickhouse_url=f"http://{nowhere}")
    live = HandFed(settings, STATES)
    app, desk = create_api(settings, live=live, store=Store(settings, connector=lambda: engine))
    async with app.router.lifespan_context(app):
        yield Site(desk, live, httpx.ASGITransport(app))
