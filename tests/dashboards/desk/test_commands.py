"""Sending commands: what it costs the process while nobody answers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from dashboards.desk.commands import Commands, NoAnswerError, command
from schemas.settings import Settings
from tests.dashboards.desk.states import NOW, HandFed


async def test_many_requests_share_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.desk.commands.ANSWER_S", 0.2)
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:9")
    commands = Commands(settings, HandFed(settings))
    before = set(threading.enumerate())
    asked = (commands.ask(command("note", "a", "ana", NOW, text=str(number))) for number in range(40))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NoAnswerError] * 40
    added = set(threading.enumerate()) - before
    assert [thread.name for thread in added] == ["commands"]
    commands.close()
    for thread in added:
        await asyncio.to_thread(thread.join, 5.0)
        assert not thread.is_alive()
