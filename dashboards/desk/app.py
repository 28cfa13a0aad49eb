"""Puts the watch desk together: one FastAPI application with the JSON API, the pages, and who may in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.staticfiles import StaticFiles

from dashboards.alerts import Store, StoreAwayError, connect
from dashboards.desk import api, docs, queue
from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.answers import is_api, message
from dashboards.desk.auth.binding import bind_clients
from dashboards.desk.auth.grafana import admit
from dashboards.desk.auth.install import install_auth
from dashboards.desk.commands import Commands
from dashboards.desk.desk import Desk
from dashboards.desk.live import Live
from dashboards.desk.pages import (
    access,
    accounts,
    alert,
    exercises,
    feeds,
    oncall,
    quarantine,
    rules,
    runbooks,
    silences,
)
from dashboards.desk.platform_alerts import PlatformAlerts
from dashboards.desk.server_timing import ServerTiming
from dashboards.desk.sound import alarm
from schemas.settings import Settings

CONNECT_S: Final = 1
READ_S: Final = 2
HERE: Final = Path(__file__).resolve().parent
DESCRIPTION: Final = """\
What the watch desk shows, for programs. Log in with a token (`Authorization: Bearer tocsin_...`), or with the desk's
session; then unsafe requests carry `X-CSRF-Token` as `GET /api/v1/me` gives it. Times are ISO 8601, UTC."""


def create_app(
    settings: Settings,
    *,
    live: Live | None = None,
    store: Store | None = None,
    access_log: AccessLog | None = None,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """The application; one a process, because NiceGUI's pages are the process's.

    ``hosts`` are the names that a request may address the desk by, ``settings.desk_hosts`` when empty. ``live``,
    ``store`` and ``access_log`` replace what follows Kafka, asks ClickHouse and writes to it.

    Raises:
        DatabaseError: the accounts' file cannot be used.
    """
    app, desk = create_api(settings, live=live, store=store, access_log=access_log, hosts=hosts)
    nicegui_app.state.desk = desk
    # The bar that Quasar shows at every request has no name for screen readers, and the pages make no requests.
    nicegui_app.config.quasar_config["loadingBar"]["skipHijack"] = True
    for page in (queue, alert, feeds, rules, quarantine, oncall, silences, exercises, runbooks, access, accounts):
        page.register(desk)
    ui.run_with(
        app,
        title="Tocsin",
        favicon=HERE / "static" / "icon.svg",
        dark=True,
        language="en-GB",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=30.0,
    )
    bind_clients()
    return app


def create_api(
    settings: Settings,
    *,
    live: Live | None = None,
    store: Store | None = None,
    access_log: AccessLog | None = None,
    hosts: tuple[str, ...] = (),
) -> tuple[FastAPI, Desk]:
    """The application without the pages, and the desk behind it.

    Raises:
        DatabaseError: the accounts' file cannot be used.
        TokenError: ``settings.grafana_desk_token`` is no token.
    """
    live = live or Live(settings)
    access_log = access_log or AccessLog(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        await live.stop()
        commands.close()
        await platform_alerts.close()
        accounts.close()
        await asyncio.to_thread(access_log.close)

    app = FastAPI(
        title="Tocsin watch desk",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        # FastAPI's own pages load their script from a content delivery network.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    accounts = install_auth(app, settings, access=access_log, hosts=hosts or settings.desk_hosts)
    # Added last, so that it is around the gate as well.
    app.add_middleware(ServerTiming)
    admit(accounts, settings.grafana_desk_token)
    commands = Commands(settings, live)
    platform_alerts = PlatformAlerts(settings, live)
    desk = Desk(
        settings, store or _store(settings), live, commands, settings.oncall_file, accounts, access_log, platform_alerts
    )
    app.include_router(api.router(desk))
    docs.register(app)
    for each in (app, nicegui_app):
        each.add_exception_handler(StoreAwayError, _away)
    app.add_api_route("/health", _health(desk), include_in_schema=False)
    app.add_api_route("/static/alarm.wav", _alarm, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    return app, desk


async def _alarm() -> Response:
    return Response(alarm(), media_type="audio/wav")


def _store(settings: Settings) -> Store:
    """The reader of the desk: people wait for it, and are told sooner that it is away than a program would be."""
    return Store(settings, lambda: connect(settings, connect_s=CONNECT_S, read_s=READ_S))


async def _away(request: Request, error: Exception) -> Response:
    if not is_api(request.url.path):
        return message(503, "ClickHouse away", str(error))
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "2"})


def _health(desk: Desk) -> Any:
    def health() -> dict[str, str]:
        """200 while this process serves; says whether the log is read up to its end."""
        return {"status": "ok", "log": desk.live.standing.text}

    return health
