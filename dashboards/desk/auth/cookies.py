"""The desk's cookies: HttpOnly, SameSite=Lax, and with the __Host- prefix where the desk is reached by https."""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

SESSION: Final = "tocsin_session"
BEFORE: Final = "tocsin_before"
"""Of a browser that is not logged in yet: from it follows the token of the login form, and OpenID Connect's state is
tied to it."""


def is_https(connection: HTTPConnection) -> bool:
    """Whether the browser reached the desk by https, as far as the server knows."""
    return connection.scope.get("scheme") in ("https", "wss")


def get(connection: HTTPConnection, name: str) -> str:
    """The cookie's value, empty without one."""
    return connection.cookies.get(f"__Host-{name}" if is_https(connection) else name, "")


def session_of(connection: HTTPConnection) -> str:
    """The id of the session that the browser says it has."""
    return get(connection, SESSION)


def put(connection: HTTPConnection, response: Response, name: str, value: str, max_age_s: int) -> None:
    """Set a cookie, or remove it with an empty value."""
    https = is_https(connection)
    response.set_cookie(
        f"__Host-{name}" if https else name,
        value,
        max_age=max_age_s if value else 0,
        path="/",
        secure=https,
        httponly=True,
        samesite="lax",
    )
