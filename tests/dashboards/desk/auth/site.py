"""A small desk behind the real gate, with a clock that the test moves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, WebSocket
from httpx2 import Response as ClientResponse
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboards.desk.auth.access_log import AccessLog, Entry
from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.install import install_auth
from dashboards.desk.auth.permissions import current_person, requires
from dashboards.desk.auth.roles import Person
from schemas.settings import Settings

SOCKET = "ws://127.0.0.1:8090/_nicegui_ws/socket.io/"
GOOD = "four random words here"
SECRET = "only for those who may in"
ORIGIN = {"sec-fetch-site": "same-origin"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def on(self, **by: float) -> None:
        self.time += timedelta(**by)


@dataclass
class Site:
    """The desk, its accounts, its clock and what its access log has written."""

    app: FastAPI
    accounts: Accounts
    clock: Clock
    access: AccessLog
    written: list[Entry] = field(default_factory=list)

    def client(self, address: str = "192.0.2.1", **options: Any) -> TestClient:
        options.setdefault("base_url", "http://127.0.0.1:8090")
        return TestClient(self.app, follow_redirects=False, client=(address, 50000), **options)

    def person(self, name: str, role: Any = "watch_officer", partner: str | None = None) -> None:
        """An account whose password is GOOD."""
        made = self.accounts.add(name, role, partner=partner)
        self.accounts.change_password(name, made.password, GOOD, "192.0.2.99")

    def logged_in(self, name: str, **options: Any) -> TestClient:
        client = self.client(**options)
        answer = log_in(client, name)
        assert answer.status_code == 303, answer.text
        return client

    def log(self) -> list[Entry]:
        assert self.access.flush()
        return self.written


def field_of(page: ClientResponse, name: str = "csrf_token") -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


def log_in(client: TestClient, name: str, password: str = GOOD, target: str = "/") -> ClientResponse:
    page = client.get(f"/login?next={target}")
    return client.post(
        "/login",
        data={"csrf_token": field_of(page), "next": field_of(page, "next"), "name": name, "password": password},
    )


def socket_refusal(client: TestClient, headers: dict[str, str]) -> int:
    """The code with which a websocket is refused; fails when it is opened."""
    try:
        with client.websocket_connect(SOCKET, headers=headers):
            raise AssertionError("the websocket was opened")
    except WebSocketDisconnect as refused:
        return refused.code


def build(folder: Path, **settings: Any) -> Site:
    """A desk with its accounts in ``folder``."""
    clock, written, app = Clock(), [], FastAPI()
    made = Settings(data_dir=folder, **settings)

    def insert(entries: Sequence[Entry]) -> None:
        written.extend(entries)

    access = AccessLog(made, insert=insert, now=clock, flush_every_s=3600)
    accounts = install_auth(app, made, access=access, now=clock)
    _serve(app, clock)
    return Site(app, accounts, clock, access, written)


def _serve(app: FastAPI, clock: Clock) -> None:
    @app.get("/")
    def home(person: Person = Depends(current_person)) -> Response:
        return PlainTextResponse(f"{SECRET} {person.name}")

    @app.get("/feeds")
    def feeds(person: Person = Depends(requires("inspect"))) -> Response:
        return PlainTextResponse(f"{SECRET} {person.name}")

    @app.get("/rules-of-old")
    def unlisted(person: Person = Depends(requires("rules"))) -> Response:
        return PlainTextResponse(f"{SECRET} {person.name}")

    @app.get("/health")
    def health() -> Response:
        return PlainTextResponse("ok")

    @app.get("/api/v1/alerts")
    def alerts(person: Person = Depends(requires("view"))) -> dict[str, str]:
        return {"secret": SECRET, "by": person.name}

    @app.get("/api/v1/feeds")
    def api_feeds() -> dict[str, str]:
        return {"secret": SECRET}

    @app.post("/api/v1/alerts/{alert_id}/acknowledge")
    def acknowledge(alert_id: str, person: Person = Depends(requires("act"))) -> dict[str, str]:
        return {"secret": SECRET, "by": person.name, "alert": alert_id}

    @app.get("/api/v1/events")
    def events() -> Response:
        async def lines() -> AsyncIterator[str]:
            for number in range(100):
                clock.on(minutes=10)
                yield f"data: {number}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/broken")
    def broken() -> Response:
        raise RuntimeError("a defect")

    @app.websocket("/_nicegui_ws/socket.io/")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{SECRET} {text}")
