"""A store that takes connections and never answers: the desk says so, and soon."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboards.alerts import Client, Store, StoreAwayError
from dashboards.desk import app
from schemas.settings import Settings


def test_a_silent_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "READ_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = app._store(Settings(data_dir=tmp_path, clickhouse_url=url))
        with pytest.raises(StoreAwayError, match="ClickHouse at"):
            store.alert("a")


def test_who_waits_while_another_tries_in_vain_is_told_the_same(tmp_path: Path) -> None:
    askers, tried = threading.Barrier(5), list[float]()

    def connect() -> Client:
        tried.append(time.monotonic())
        time.sleep(0.5)  # until all have asked
        raise StoreAwayError("nobody listens")

    store = Store(Settings(data_dir=tmp_path), connect)

    def ask(_: int) -> BaseException | None:
        askers.wait()
        try:
            store.rows("SELECT 1")
        except StoreAwayError as error:
            return error
        return None

    with ThreadPoolExecutor(5) as pool:
        told = list(pool.map(ask, range(5)))
    assert [str(each) for each in told] == ["nobody listens"] * 5
    assert len(tried) == 1
    with pytest.raises(StoreAwayError):
        store.rows("SELECT 1")
    assert len(tried) == 2
