"""The alert page: lists alerts and shows their evidence. It reads; nothing here writes.

Every page works without a script; the script keeps the list fresh. Nothing is loaded from another host, and the
content security policy holds the browser to that.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.alerts import AlertRow, Json, Store, StoreAwayError
from dashboards.explain import stamp
from dashboards.palette import EXERCISE_COLOUR, LEVEL_COLOURS, LEVELS, TLP_COLOURS, TLP_LABELS, tlp_label
from dashboards.web import view
from schemas.alerts import Alert

HERE: Final = Path(__file__).resolve().parent
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")
MAX_SUCCESSORS: Final = 20

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


class SecurityHeaders:
    """Adds the headers above to every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "stamp": stamp,
        "tlp": tlp_label,
        "path": lambda text: quote(str(text), safe=""),
        # A class name out of a value: what is not one of ours gets the neutral look.
        "level_class": lambda level: f"level-{level}" if level in LEVELS else "level-informational",
        "tlp_class": lambda tlp: f"tlp-{tlp}" if tlp in TLP_LABELS else "tlp-RED",
    }
    return environment


def _palette_css() -> str:
    lines = [f".level-{level} {{ --level: {colour}; }}" for level, colour in LEVEL_COLOURS.items()]
    lines += [f".tlp-{tlp} {{ --tlp: {colour}; }}" for tlp, colour in TLP_COLOURS.items()]
    lines.append(f":root {{ --exercise: {EXERCISE_COLOUR}; }}")
    return "\n".join(lines) + "\n"


def _json_row(row: AlertRow) -> Json:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(row).items()}


def _unchanged_or(request: Request, response: Response, tag_of: bytes) -> Response:
    """``response`` with an entity tag, or 304 when the caller has it already."""
    tag = f'"{hashlib.sha256(tag_of).hexdigest()[:24]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response


class Pages:
    """The request handlers; plain functions, which Starlette runs on threads because the store blocks."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self.store = store
        self.now = now
        self.templates = Jinja2Templates(env=_environment())
        self._said = ""

    def _page(self, request: Request, name: str, status: int = 200, **context: Any) -> Response:
        if status == 200:
            self._said = ""
        return self.templates.TemplateResponse(request, name, context | {"now": self.now()}, status_code=status)

    def home(self, request: Request) -> Response:
        choice = view.filter_from(request.query_params)
        rows = view.listed(self.store.alerts(choice), self.now())
        return self._page(
            request,
            "list.html",
            alerts=rows,
            choice=choice,
            filtered=bool(choice.level or choice.partner or choice.exercise is not None),
            chosen_exercise=request.query_params.get("exercise", ""),
            chosen_status="all" if choice.status is None else "open",
            partners=sorted({*self.store.partners(), *([choice.partner] if choice.partner else [])}),
            levels=LEVELS,
            exercises=view.EXERCISE_CHOICES,
            statuses=view.STATUS_CHOICES,
        )

    def rows(self, request: Request) -> Response:
        choice = view.filter_from(request.query_params)
        rows = self.store.alerts(choice)
        tag = json.dumps([(row.alert_id, row.version, row.status) for row in rows]).encode()
        filtered = bool(choice.level or choice.partner or choice.exercise is not None)
        page = self._page(request, "rows.html", alerts=view.listed(rows, self.now()), filtered=filtered)
        return _unchanged_or(request, page, tag)

    def alert(self, request: Request) -> Response:
        alert_id = request.path_params["alert_id"]
        alert = self.store.alert(alert_id)
        if alert is None:
            return self._page(request, "missing.html", status=404, alert_id=alert_id)
        successor = self._successor(alert)
        if successor != alert_id:
            return RedirectResponse(f"/alerts/{quote(successor, safe='')}?from={quote(alert_id, safe='')}", 302)
        came_from = request.query_params.get("from", "")
        came_from = came_from if came_from in alert.supersedes else ""
        return self._page(request, "alert.html", page=view.alert_page(alert), alert=alert, came_from=came_from)

    def _successor(self, alert: Alert) -> str:
        """The id at the end of the chain of successors; the last one that exists, should the chain be broken."""
        seen = [alert.alert_id]
        while alert.superseded_by and alert.superseded_by not in seen and len(seen) < MAX_SUCCESSORS:
            successor = self.store.alert(alert.superseded_by)
            if successor is None:
                break
            alert = successor
            seen.append(alert.alert_id)
        return seen[-1]

    def api_alerts(self, request: Request) -> Response:
        rows = self.store.alerts(view.filter_from(request.query_params))
        return JSONResponse({"alerts": [_json_row(row) for row in rows]})

    def api_alert(self, request: Request) -> Response:
        alert_id = request.path_params["alert_id"]
        record = self.store.record(alert_id)
        if record is None:
            return JSONResponse({"error": f"no alert has the id '{alert_id}'"}, status_code=404)
        return _unchanged_or(request, Response(record, media_type="application/json"), record.encode())

    def health(self, _request: Request) -> Response:
        """200 while this process serves; ``clickhouse`` says whether the store answers."""
        try:
            self.store.rows("SELECT 1 AS up")
        except StoreAwayError as error:
            return JSONResponse({"status": "ok", "clickhouse": "away", "message": str(error)})
        return JSONResponse({"status": "ok", "clickhouse": "ok"})

    def palette(self, _request: Request) -> Response:
        return Response(_palette_css(), media_type="text/css")

    def away(self, request: Request, error: Exception) -> Response:
        # Once for each outage: open pages ask every two seconds.
        if str(error) != self._said:
            self._said = str(error)
            log.warning("%s", error)
        retry = {"Retry-After": "2"}
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": str(error)}, status_code=503, headers=retry)
        response = self._page(request, "away.html", status=503, message=str(error))
        response.headers.update(retry)
        return response

    def not_found(self, request: Request, _error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": f"nothing is served at {request.url.path}"}, status_code=404)
        return self._page(request, "missing.html", status=404, alert_id="")

    def broken(self, request: Request, error: Exception) -> Response:
        log.error("a page could not be made: %s", request.url.path, exc_info=error)
        text = "This page could not be made. The log of the web process says why."
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": text}, status_code=500)
        return self._page(request, "away.html", status=500, message=text)


def create_app(
    store: Store,
    *,
    hosts: tuple[str, ...] = LOOPBACK_NAMES,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ASGIApp:
    """The ASGI application.

    ``hosts`` are the names that a request may address it by: a page of another origin whose name was pointed at
    loopback (DNS rebinding) is turned away. ``now`` returns aware UTC.
    """
    pages = Pages(store, now)
    app = Starlette(
        routes=[
            Route("/", pages.home),
            Route("/rows", pages.rows),
            Route("/alerts/{alert_id:path}", pages.alert),
            Route("/api/alerts", pages.api_alerts),
            Route("/api/alerts/{alert_id:path}", pages.api_alert),
            Route("/health", pages.health),
            Route("/palette.css", pages.palette),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={StoreAwayError: pages.away, 404: pages.not_found, 500: pages.broken},
    )
    # Outermost, so that Starlette's own error responses carry the headers too.
    return SecurityHeaders(app)
