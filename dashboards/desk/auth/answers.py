"""What a browser or a program is told: pages from templates, JSON, redirects to the login."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

HERE: Final = Path(__file__).resolve().parent
HOME: Final = "/"
MAX_NEXT: Final = 2_000

_environment = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """A page from its template."""
    return HTMLResponse(_environment.get_template(template).render(context), status)


def message(status: int, title: str, text: str) -> HTMLResponse:
    """A page that says one thing, with a way on."""
    return page("message.html", status, title=title, text=text)


def is_api(path: str) -> bool:
    """Whether programs ask there, and get JSON."""
    return path == "/api" or path.startswith(("/api/", "/_nicegui_ws/"))


def refusal(connection: HTTPConnection, status: int, title: str, text: str) -> Response:
    """401 or 403, as JSON for programs and as a page for people."""
    if not is_api(connection.scope["path"]):
        return message(status, title, text)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"detail": text}, status, headers)


def to_login(connection: HTTPConnection) -> Response:
    """Where a person without a session is sent, to come back afterwards."""
    wanted = connection.scope["path"]
    if query := connection.scope["query_string"].decode("latin-1"):
        wanted += f"?{query}"
    comes_back = "" if wanted == HOME else f"?next={quote(wanted, safe='')}"
    return RedirectResponse(f"/login{comes_back}", 303)


def safe_next(wanted: str | None) -> str:
    """A path of this desk out of what a link says; anything that a browser could take for another host is the start
    page."""
    if not wanted or len(wanted) > MAX_NEXT or not wanted.startswith("/") or wanted.startswith(("//", "/\\")):
        return HOME
    if any(character <= " " or character in "\\\x7f" for character in wanted):
        return HOME
    return HOME if wanted.startswith(("/login", "/logout", "/oidc", "/_nicegui")) else wanted
