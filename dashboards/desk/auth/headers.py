"""Security headers of every response.

Strict where the pages are ours. NiceGUI's pages carry their elements in inline scripts and styles, and Vue compiles
templates in the browser with eval: those pages allow both, from this origin only, and nothing else.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRICT_CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
DESK_CSP: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self' data:; "
    "worker-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
COMMON: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers then send forms with the origin null, which cannot be told from a foreign one.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STRICT_PLACES: Final = ("/api", "/login", "/logout", "/account", "/oidc", "/health", "/static")
ASSETS: Final = ("/static/", "/_nicegui/", "/login/style.css", "/favicon.ico")
HSTS: Final = "max-age=31536000"


class SecurityHeaders:
    """Adds the headers to every response, errors included. A policy that a route has set itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(scope=message), scope)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _complete(headers: MutableHeaders, scope: Scope) -> None:
    path: str = scope["path"]
    headers.update(COMMON)
    strict = any(path == place or path.startswith(place + "/") for place in STRICT_PLACES)
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", DESK_CSP if page and not strict else STRICT_CSP)
    if scope.get("scheme") == "https":
        headers.setdefault("Strict-Transport-Security", HSTS)
    if not path.startswith(ASSETS) or "/dynamic_resources/" in path:
        headers["Cache-Control"] = "no-store"
