"""Puts the gate, the headers and the pages of logging in around the desk's application."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import nicegui
from fastapi import FastAPI, Request
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.answers import refusal
from dashboards.desk.auth.headers import SecurityHeaders
from dashboards.desk.auth.middleware import Gate
from dashboards.desk.auth.oidc import Oidc
from dashboards.desk.auth.pages import Pages
from dashboards.desk.auth.permissions import ForbiddenError
from schemas.settings import Settings


def install_auth(
    app: FastAPI,
    settings: Settings,
    *,
    access: AccessLog,
    hosts: tuple[str, ...] = (),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Accounts:
    """Let nobody into ``app`` who is not logged in, whatever is added to it later. Call it before ``ui.run_with``.

    ``hosts`` (``settings.desk_hosts`` when empty) are the names that a request may address the desk by: a page of
    another origin whose name was pointed at loopback (DNS rebinding) is turned away. ``now`` returns aware UTC. The
    caller closes the accounts and ``access``.

    Raises:
        DatabaseError: the accounts' file cannot be used.
        OidcSettingError: the settings of the identity provider do not fit together.
        RuntimeError: NiceGUI is mounted already, and would answer before the login page.
    """
    if any(isinstance(route, Mount) and route.path == "" for route in app.router.routes):
        raise RuntimeError("install_auth must be called before ui.run_with: NiceGUI answers every path after it")
    accounts = Accounts(settings, now)
    oidc = Oidc(settings, accounts) if settings.oidc_issuer or settings.oidc_client_id else None
    app.include_router(Pages(accounts, access, oidc, settings.session_max_s).router)
    app.add_middleware(Gate, accounts=accounts, access=access)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts or settings.desk_hosts), www_redirect=False)
    for each in (app, nicegui.app):
        each.add_exception_handler(ForbiddenError, _forbidden)
    _wrap_all(app)
    return accounts


async def _forbidden(request: Request, error: Exception) -> Response:
    assert isinstance(error, ForbiddenError)
    return refusal(request, 403, "Not allowed", error.detail)


def _wrap_all(app: FastAPI) -> None:
    """Outside of everything that Starlette builds, so that its own error responses carry the headers too."""
    build = app.build_middleware_stack

    def with_headers() -> ASGIApp:
        return SecurityHeaders(build())

    app.build_middleware_stack = with_headers  # type: ignore[method-assign]
