"""A fetch waits long, and for the first byte, only where nothing has come for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer import consumer, fetcher

from schemas.settings import Settings
from streams import fetcher as ours
from streams.batching import batch_app
from streams.fetcher import FETCH_MAX_WAIT_MS, QUIET_MAX_WAIT_MS, Fetcher

MIN_BYTES = 1 << 20


async def test_it_waits_longer_once_nothing_has_come_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]

    async def answer(self: Any, *_: Any) -> bool:
        return answers.pop(0)

    def init(self: Any, fetch_min_bytes: int) -> None:
        self._fetch_min_bytes = fetch_min_bytes

    def asked(self: Any, _: Any) -> tuple[int, int]:
        return self._fetch_max_wait_ms, self._fetch_min_bytes

    for name, replaced in (("__init__", init), ("_get_actions_per_node", asked), ("_proc_fetch_request", answer)):
        monkeypatch.setattr(fetcher.Fetcher, name, replaced)
    monkeypatch.setattr(ours, "QUIET_AFTER_S", 0.5)
    tried = Fetcher(fetch_min_bytes=MIN_BYTES)
    assert tried._get_actions_per_node(None) == (FETCH_MAX_WAIT_MS, MIN_BYTES)
    await asyncio.sleep(0.55)
    assert await tried._proc_fetch_request(None, 1, None) is False
    assert tried._get_actions_per_node(None) == (QUIET_MAX_WAIT_MS, 1)
    assert await tried._proc_fetch_request(None, 1, None) is True
    assert tried._get_actions_per_node(None) == (FETCH_MAX_WAIT_MS, MIN_BYTES)


def test_workers_fetch_with_it(tmp_path: Path) -> None:
    batch_app("fetching", Settings(data_dir=tmp_path), "0")
    assert consumer.Fetcher is Fetcher  # type: ignore[attr-defined]
