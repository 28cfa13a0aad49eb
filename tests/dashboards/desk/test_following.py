"""Pages follow the log while a browser shows them; what they missed is told once when it is back."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request
from nicegui import Client, core, ui

from dashboards.desk.following import follow
from dashboards.desk.live import COALESCE_S
from schemas.settings import Settings
from tests.dashboards.desk.states import HandFed, state


async def test_a_page_hears_while_it_is_shown_and_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "path": "/of-this-test", "headers": []})
    live, client, heard = HandFed(Settings()), Client(ui.page("/of-this-test"), request=request), list[str]()
    follow(client, live, lambda _, keys: heard.extend(keys), "alert")

    async def change(*names: str) -> None:
        live.put(*map(state, names))
        await asyncio.sleep(COALESCE_S * 2)

    async def connect(tab: str) -> None:
        await client.handle_handshake(f"socket-of-{tab}", tab, None, "document", None)

    await change("a", "b")
    await change("b")
    assert heard == []
    await connect("tab")
    assert heard == ["a", "b"]
    await change("a")
    assert heard == ["a", "b", "a"]
    client.handle_disconnect("socket-of-tab")
    await change("c")
    assert len(heard) == 3
    await connect("tab-again")
    assert heard[3:] == ["c"]
    client.delete()
    await change("a")
    assert len(heard) == 4
