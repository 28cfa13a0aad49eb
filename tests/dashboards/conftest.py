"""Fixtures of the dashboards' tests: the real engine with the committed schema, one process a test session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.alerts import Store
from schemas.settings import Settings
from tests.dashboards.engine import EngineClient, apply_schema

TABLES = (
    *("events", "alerts", "alert_evidence", "signals", "quarantine", "pipeline_metrics", "feed_minutes"),
    *("alert_states", "alert_actions", "notifications", "silences", "access_log"),
    *("quarantine_minutes", "feed_hours", "alert_minutes"),
)


@pytest.fixture(scope="session")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    client = EngineClient(tmp_path_factory.mktemp("engine"))
    apply_schema(client)
    yield client
    client.close()


@pytest.fixture
def engine(_engine: EngineClient) -> EngineClient:
    """The engine with empty tables."""
    for table in TABLES:
        _engine.query(f"TRUNCATE TABLE {table}")
    return _engine


@pytest.fixture
def store(engine: EngineClient, tmp_path: Path) -> Store:
    """A store over the engine."""
    return Store(Settings(data_dir=tmp_path), connector=lambda: engine)
