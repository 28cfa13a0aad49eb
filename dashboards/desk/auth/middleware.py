"""The gate: nobody passes without a session or a token, except to what is open to everybody.

Pure ASGI, so that websockets and long answers pass it too, and are ended when the session behind them ends.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import nicegui
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.desk.auth import csrf
from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.answers import is_api, refusal, to_login
from dashboards.desk.auth.cookies import session_of
from dashboards.desk.auth.permissions import SCOPE_KEY, Visitor, needed
from dashboards.desk.auth.roles import MEANINGS, Person

# Exact paths, and assets that are the same for everybody. Uploads and what pages make dynamically are not among them.
OPEN: Final = frozenset({"/login", "/login/style.css", "/logout", "/health", "/favicon.ico"})
OPEN_OIDC: Final = frozenset({"/oidc/login", "/oidc/callback"})
_ASSET: Final = "(static|libraries|components|resources|esm)/.+"
OPEN_ASSETS: Final = re.compile(rf"/static/.+|/_nicegui/{re.escape(nicegui.__version__)}/{_ASSET}")
ASSETS_OF_ANY_VERSION: Final = re.compile(rf"/_nicegui/[^/]+/{_ASSET}")
SOCKET: Final = "/_nicegui_ws/"
# The form's handler checks its token; the socket's polling and uploads cannot send one and are checked by origin.
FORMS: Final = ("/account/password", SOCKET, "/_nicegui/client/")
PASSWORD_PAGE: Final = "/account/password"
CHECK_EVERY: Final = timedelta(seconds=1)
SESSION_ENDED: Final = 4401
DEED: Final = re.compile(r'4[25][0-9]*-?\["event"')
"""An event of an element of a page, in Socket.IO's framing."""

log = logging.getLogger(__name__)


class Gate:
    """Authenticates, checks the origin, the CSRF token and the place's permission, and writes the access log."""

    def __init__(self, app: ASGIApp, accounts: Accounts, access: AccessLog) -> None:
        self.app, self.accounts, self.access = app, accounts, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # Never from outside: a server might pass on what it should not.
        scope.pop(SCOPE_KEY, None)
        connection = HTTPConnection(scope)
        if is_open(scope):
            if not _is_safe(scope) and not csrf.from_here(connection.headers):
                await self._refuse(connection, None, 403, FOREIGN)(scope, receive, send)
                return
            await self.app(scope, receive, send)
            return
        # A page that is left open opens its socket again by itself; what a person does there is told by its messages.
        visitor = self._visitor(connection, use=not scope["path"].startswith(SOCKET))
        if visitor is None:
            await self._nobody(connection, receive, send)
            return
        reason = self._reason_against(connection, visitor)
        if reason is not None:
            await self._turn_away(connection, visitor, reason, receive, send)
            return
        scope[SCOPE_KEY] = visitor
        guard = _Guard(
            scope, receive, send, lambda used: self._visitor(connection, use=used) == visitor, self.accounts.now
        )
        if scope["type"] == "websocket":
            await self.app(scope, guard.receive, guard.send_socket)
            return
        try:
            await self.app(scope, receive, guard.send)
        except OSError:
            if not guard.ended:
                raise
        finally:
            if not scope["path"].startswith((SOCKET, "/_nicegui/")):
                self._note(connection, visitor.person, guard.status)

    def _visitor(self, connection: HTTPConnection, *, use: bool) -> Visitor | None:
        """Who asks; ``use`` puts off the idle end of the session. A token that is no good is not made up for by a
        cookie, and tokens open the API only."""
        given = connection.headers.get("authorization")
        if given is not None and connection.scope["type"] == "http" and connection.scope["path"].startswith("/api/"):
            scheme, _, secret = given.partition(" ")
            person = self.accounts.tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
            return None if person is None else Visitor(person, None, "")
        session = session_of(connection)
        found = self.accounts.sessions.find(session, use=use) if session else None
        return None if found is None else Visitor(found.person, found.id, csrf.token_of(found.id))

    def _reason_against(self, connection: HTTPConnection, visitor: Visitor) -> tuple[str, str] | None:
        path, person = connection.scope["path"], visitor.person
        is_socket = connection.scope["type"] == "websocket"
        if visitor.session is not None and (is_socket or not _is_safe(connection.scope)):
            if not csrf.from_here(connection.headers, websocket=is_socket):
                return FOREIGN
            checked_later = is_socket or path.startswith(FORMS)
            if not checked_later and not csrf.is_right(visitor.session, connection.headers.get(csrf.HEADER)):
                return NO_TOKEN
        if person.must_change and path != PASSWORD_PAGE:
            return CHANGE_FIRST
        permission = needed(path)
        if not person.may(permission) and path != PASSWORD_PAGE:
            return ("Not allowed", f"{person.display} ({person.role}) may not: {MEANINGS[permission]}")
        return None

    async def _nobody(self, connection: HTTPConnection, receive: Receive, send: Send) -> None:
        scope = connection.scope
        if scope["type"] == "websocket":
            self._log(connection, None, "websocket", allowed=False, detail="no session")
            await _close(receive, send)
        elif is_api(scope["path"]):
            if "authorization" in connection.headers:
                self._log(connection, None, "token", allowed=False, detail="unknown, expired or revoked")
            await refusal(connection, 401, *NOBODY)(scope, receive, send)
        elif ASSETS_OF_ANY_VERSION.fullmatch(scope["path"]):
            # Of a page from before an upgrade: a script that gets the login page instead would only break.
            await JSONResponse({"detail": "no such file in this version"}, 404)(scope, receive, send)
        else:
            await to_login(connection)(scope, receive, send)

    async def _turn_away(
        self, connection: HTTPConnection, visitor: Visitor, reason: tuple[str, str], receive: Receive, send: Send
    ) -> None:
        scope = connection.scope
        if scope["type"] == "websocket":
            self._log(connection, visitor.person, "websocket", allowed=False, detail=reason[1])
            await _close(receive, send)
        elif reason is CHANGE_FIRST and not is_api(scope["path"]):
            await Response(status_code=303, headers={"Location": PASSWORD_PAGE})(scope, receive, send)
        else:
            await self._refuse(connection, visitor.person, 403, reason)(scope, receive, send)

    def _refuse(
        self, connection: HTTPConnection, person: Person | None, status: int, reason: tuple[str, str]
    ) -> Response:
        self._log(connection, person, _what(connection.scope), allowed=False, detail=reason[1])
        return refusal(connection, status, *reason)

    def _note(self, connection: HTTPConnection, person: Person, status: int) -> None:
        query = connection.scope["query_string"].decode("latin-1")
        detail = f"{connection.scope['method']} {status}" + (f" ?{query}" if query else "")
        allowed = status not in (401, 403)
        self._log(connection, person, _what(connection.scope), allowed=allowed, detail=detail)

    def _log(self, connection: HTTPConnection, person: Person | None, what: str, *, allowed: bool, detail: str) -> None:
        self.access.write(
            person,
            what,
            connection.scope["path"],
            allowed=allowed,
            via="api" if is_api(connection.scope["path"]) else "desk",
            address=address_of(connection),
            detail=detail,
        )


FOREIGN: Final = ("Not from here", "the request came from another site; open the desk itself and try again")
NO_TOKEN: Final = ("Not from here", "the header X-CSRF-Token is missing or wrong; GET /api/v1/me gives it")
CHANGE_FIRST: Final = ("Change the password", "the one-time password must be changed first, at /account/password")
NOBODY: Final = ("Log in", "log in, or send a valid token: Authorization: Bearer tocsin_...")


class _Guard:
    """Passes messages on until the session behind them ends; then it ends the answer or closes the websocket.

    NiceGUI's server sends a ping every few seconds, so that an open page is closed within those.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, holds: Callable[[bool], bool], now: Callable[[], datetime]
    ) -> None:
        self._receive, self._send, self._holds, self._now = receive, send, holds, now
        self._is_socket = scope["path"].startswith(SOCKET)
        self._checked = now()
        self.ended = False
        self.status = 500

    async def send(self, message: Message) -> None:
        """Of an HTTP answer. Raises OSError, as if the client had gone, in an answer that goes on without a session."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message.get("more_body") and not self._still():
            self.ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            raise OSError("the session has ended")
        await self._send(message)

    async def receive(self) -> Message:
        """Of a websocket."""
        message = await self._receive()
        if message["type"] == "websocket.receive" and not self.ended and not self._still(_is_deed(message)):
            await self._end()
        return {"type": "websocket.disconnect", "code": SESSION_ENDED} if self.ended else message

    async def send_socket(self, message: Message) -> None:
        """Of a websocket; what comes after the end goes nowhere."""
        if message["type"] == "websocket.send" and not self.ended and not self._still():
            await self._end()
        if not self.ended:
            await self._send(message)

    def _still(self, used: bool = False) -> bool:
        """Whether the session holds, and its person may what they might; asked anew before each deed."""
        now = self._now()
        if not used and abs(now - self._checked) < CHECK_EVERY:
            return True
        self._checked = now
        return self._holds(used)

    async def _end(self) -> None:
        self.ended = True
        if self._is_socket:
            # NiceGUI's own message for going to another page, in Socket.IO's framing: a desk must not just stand still.
            event = json.dumps(["open", {"path": "/login?ended=1", "new_tab": False}])
            await self._send({"type": "websocket.send", "text": f"42{event}"})
        await self._send({"type": "websocket.close", "code": SESSION_ENDED})


def _is_deed(message: Message) -> bool:
    """Whether a person did something on a page: answers to pings and acknowledgements come by themselves."""
    return DEED.match(message.get("text") or "") is not None


def is_open(scope: Scope) -> bool:
    """Whether everybody may ask for this."""
    path: str = scope["path"]
    if scope["type"] != "http":
        return False
    if path in OPEN or path in OPEN_OIDC:
        return True
    return scope["method"] in ("GET", "HEAD") and OPEN_ASSETS.fullmatch(path) is not None


def address_of(connection: HTTPConnection) -> str:
    """The address that the server saw; it decides whether a proxy in front is believed."""
    return connection.client.host if connection.client else ""


def _is_safe(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in csrf.SAFE_METHODS


def _what(scope: Scope) -> str:
    return "view" if _is_safe(scope) else "change"


async def _close(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": SESSION_ENDED})
