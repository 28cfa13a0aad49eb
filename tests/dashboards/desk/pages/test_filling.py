"""Contents of a page that ClickHouse has to be asked for: in the answer when they come soon, else behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import Request
from nicegui import Client, core, ui

from dashboards.alerts import StoreAwayError
from dashboards.desk.frame import text
from dashboards.desk.pages import filling
from dashboards.desk.pages.filling import fill

LATER_S = 0.05


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(filling, "SOON_S", LATER_S)
    monkeypatch.setattr(filling, "PAUSES_S", (LATER_S,))
    # The loop of the test, which is there when the test runs.
    monkeypatch.setattr(core, "loop", None)
    made = Client(ui.page("/of-this-test"), request=Request({"type": "http", "path": "/of-this-test", "headers": []}))
    yield made
    if not made.is_deleted:
        made.delete()


@contextmanager
def page(client: Client) -> Iterator[None]:
    core.loop = asyncio.get_running_loop()
    with client:
        yield


def said(client: Client) -> list[str]:
    return [found for each in client.elements.values() if (found := each.props.get("innerHTML") or each._text)]


async def test_what_comes_soon_is_in_the_answer(client: Client) -> None:
    async def load() -> str:
        return "evidence"

    with page(client):
        await fill(load, lambda found: text("p", found))
    assert said(client) == ["evidence"]


async def test_what_takes_longer_is_announced_and_comes_later(client: Client) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def load() -> str:
        return await answer

    with page(client):
        await fill(load, lambda found: text("p", found))
    assert said(client) == ["Loading …"]
    answer.set_result("evidence")
    await asyncio.sleep(LATER_S)
    assert said(client) == ["evidence"]


async def test_a_store_that_is_away_is_asked_again_until_it_answers(client: Client) -> None:
    answers = [StoreAwayError("nobody listens"), StoreAwayError("nobody listens"), "evidence"]
    shown: list[list[str]] = []

    async def load() -> str:
        shown.append(said(client))
        answer = answers.pop(0)
        if isinstance(answer, StoreAwayError):
            raise answer
        return answer

    with page(client):
        await fill(load, lambda found: text("p", found))
    away = ["ClickHouse does not answer; trying again.", "nobody listens"]
    assert said(client) == away
    await asyncio.sleep(LATER_S * 4)
    assert shown == [[], away, away]
    assert said(client) == ["evidence"]


async def test_a_page_that_is_left_asks_no_more(client: Client) -> None:
    asked = 0

    async def load() -> str:
        nonlocal asked
        asked += 1
        raise StoreAwayError("nobody listens")

    with page(client):
        await fill(load, lambda found: text("p", found))
    client.delete()
    before = asked
    await asyncio.sleep(LATER_S * 4)
    assert asked <= before + 1


async def test_what_is_wrong_otherwise_is_said(client: Client) -> None:
    async def load() -> str:
        raise OSError("partners.yml is not there")

    with page(client):
        await fill(load, lambda found: text("p", found))
    assert said(client) == ["This cannot be shown right now. partners.yml is not there"]
