"""A store that takes connections and never answers: the desk says so."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dashboards.alerts import StoreAwayError
from dashboards.desk import app
from schemas.settings import Settings


def test_a_silent_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "READ_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = app._store(Settings(data_dir=tmp_path, clickhouse_url=url))
        with pytest.raises(StoreAwayError, match="ClickHouse at"):
            store.alert("a")
