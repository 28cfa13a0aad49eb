"""The pages of logging in and out and of changing the password: plain forms that need no script."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import FileResponse, RedirectResponse, Response

from dashboards.desk.auth import cookies, csrf
from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.accounts import AccountError, Accounts, Refused
from dashboards.desk.auth.answers import HERE, message, page, safe_next
from dashboards.desk.auth.middleware import FOREIGN, PASSWORD_PAGE, address_of
from dashboards.desk.auth.oidc import Oidc, OidcError
from dashboards.desk.auth.passwords import MIN_LENGTH, WeakPasswordError
from dashboards.desk.auth.permissions import Visitor, visitor_of
from dashboards.desk.auth.roles import PERMISSIONS, Permission, Role

MAX_FORM_BYTES: Final = 16_384
HASHES_AT_ONCE: Final = 2
WRONG: Final = "Name or password is wrong."


class Me(BaseModel):
    """Who asks, and the token that unsafe calls with a session cookie carry in X-CSRF-Token (empty for API tokens)."""

    name: str
    display: str
    role: Role
    partner: str | None
    permissions: list[Permission]
    csrf_token: str


class Pages:
    """The handlers and their routes."""

    def __init__(self, accounts: Accounts, access: AccessLog, oidc: Oidc | None, session_max_s: int) -> None:
        self.accounts, self.access, self.oidc, self.session_max_s = accounts, access, oidc, session_max_s
        # Each hash takes 64 MiB for a moment; a flood of logins must not take it all.
        self._hashing = CapacityLimiter(HASHES_AT_ONCE)
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/login", self.login_form, methods=["GET", "HEAD"], include_in_schema=False)
        add("/login", self.login, methods=["POST"], include_in_schema=False)
        add("/login/style.css", self.style, methods=["GET", "HEAD"], include_in_schema=False)
        add("/logout", self.logout_form, methods=["GET", "HEAD"], include_in_schema=False)
        add("/logout", self.logout, methods=["POST"], include_in_schema=False)
        add(PASSWORD_PAGE, self.password_form, methods=["GET", "HEAD"], include_in_schema=False)
        add(PASSWORD_PAGE, self.password, methods=["POST"], include_in_schema=False)
        add("/api/v1/me", self.me, methods=["GET"], response_model=Me, tags=["people"])
        if oidc is not None:
            add("/oidc/login", self.oidc_login, methods=["GET"], include_in_schema=False)
            add("/oidc/callback", self.oidc_callback, methods=["GET"], include_in_schema=False)

    async def style(self) -> Response:
        return FileResponse(HERE / "style.css", headers={"Cache-Control": "public, max-age=3600"})

    async def me(self, visitor: Visitor = Depends(visitor_of)) -> Me:
        """Who the caller is, and what it may do."""
        person = visitor.person
        return Me(
            name=person.name,
            display=person.display,
            role=person.role,
            partner=person.partner,
            permissions=[each for each in PERMISSIONS if person.may(each)],
            csrf_token=visitor.csrf,
        )

    async def login_form(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next"))
        if self.accounts.sessions.find(cookies.session_of(request)) is not None:
            return RedirectResponse(wanted, 303)
        ended = "Your session has ended. Log in to go on." if "ended" in request.query_params else ""
        return self._login_page(request, wanted, note=ended)

    async def login(self, request: Request) -> Response:
        form = await _form(request)
        name, wanted = form.get("name", "").strip().lower(), safe_next(form.get("next"))
        address = address_of(request)
        if not csrf.is_right(cookies.get(request, cookies.BEFORE), form.get(csrf.FIELD)):
            return self._login_page(request, wanted, error="The page was too old. Try again.", status=403)
        outcome = await to_thread.run_sync(
            self.accounts.login, name, form.get("password", ""), address, limiter=self._hashing
        )
        if isinstance(outcome, Refused):
            why = f"waiting {outcome.retry_after_s} s" if outcome.retry_after_s else "name or password"
            # What is not a name here may be a password in the wrong field: it is not written down.
            self.access.write(
                None, "login", name if outcome.known else "", allowed=False, address=address, detail=f"refused: {why}"
            )
            if not outcome.retry_after_s:
                return self._login_page(request, wanted, error=WRONG, status=401, name=name)
            error = f"Too many attempts. Try again in {outcome.retry_after_s} seconds."
            response = self._login_page(request, wanted, error=error, status=429, name=name)
            response.headers["Retry-After"] = str(outcome.retry_after_s)
            return response
        return self._let_in(request, outcome, wanted, "password")

    async def logout_form(self, request: Request) -> Response:
        session = cookies.session_of(request)
        if self.accounts.sessions.find(session) is None:
            return RedirectResponse("/login", 303)
        return page("logout.html", csrf_token=csrf.token_of(session))

    async def logout(self, request: Request) -> Response:
        session = cookies.session_of(request)
        found = self.accounts.sessions.find(session) if session else None
        if found is not None:
            if not csrf.is_right(session, (await _form(request)).get(csrf.FIELD)):
                return message(403, *FOREIGN)
            self.accounts.sessions.end(session)
            self.access.write(found.person, "logout", address=address_of(request))
        response = RedirectResponse("/login", 303)
        cookies.put(request, response, cookies.SESSION, "", 0)
        return response

    async def password_form(self, request: Request) -> Response:
        return self._password_page(visitor_of(request))

    async def password(self, request: Request) -> Response:
        visitor, form, address = visitor_of(request), await _form(request), address_of(request)
        if visitor.session is None or not csrf.is_right(visitor.session, form.get(csrf.FIELD)):
            return message(403, *FOREIGN)
        old, new, again = (form.get(field, "") for field in ("old", "new", "again"))
        name = visitor.person.name
        if new != again:
            return self._password_page(visitor, "The new password was not repeated alike.")
        try:
            await to_thread.run_sync(self.accounts.change_password, name, old, new, address, limiter=self._hashing)
        except (AccountError, WeakPasswordError) as error:
            self.access.write(
                visitor.person, "password", name, allowed=False, address=address, detail=type(error).__name__
            )
            return self._password_page(visitor, str(error))
        self.access.write(visitor.person, "password", name, address=address)
        response = RedirectResponse("/", 303)
        session = self.accounts.sessions.start(name, address)
        cookies.put(request, response, cookies.SESSION, session, self.session_max_s)
        return response

    async def oidc_login(self, request: Request) -> Response:
        assert self.oidc is not None
        browser = csrf.fresh()
        wanted = safe_next(request.query_params.get("next"))
        try:
            back = f"{str(request.base_url).rstrip('/')}/oidc/callback"
            url = await self.oidc.begin(browser, back, wanted, address_of(request))
        except OidcError as error:
            return message(error.status, "Not logged in", str(error))
        response = RedirectResponse(url, 303)
        cookies.put(request, response, cookies.BEFORE, browser, 600)
        return response

    async def oidc_callback(self, request: Request) -> Response:
        assert self.oidc is not None
        try:
            admitted = await self.oidc.finish(cookies.get(request, cookies.BEFORE), request.query_params)
        except OidcError as error:
            self.access.write(
                None, "login", allowed=False, address=address_of(request), detail=f"identity provider: {error}"
            )
            return message(error.status, "Not logged in", str(error))
        session = self.accounts.let_in(admitted.account.name, address_of(request))
        return self._let_in(request, session, admitted.next, "identity provider")

    def _let_in(self, request: Request, session: str, wanted: str, how: str) -> Response:
        self.accounts.sessions.end(cookies.session_of(request))
        found = self.accounts.sessions.find(session)
        person = found.person if found else None
        self.access.write(person, "login", person.name if person else "", address=address_of(request), detail=how)
        response = RedirectResponse(PASSWORD_PAGE if person and person.must_change else wanted, 303)
        cookies.put(request, response, cookies.SESSION, session, self.session_max_s)
        cookies.put(request, response, cookies.BEFORE, "", 0)
        return response

    def _login_page(
        self, request: Request, wanted: str, *, error: str = "", note: str = "", name: str = "", status: int = 200
    ) -> Response:
        before = cookies.get(request, cookies.BEFORE) or csrf.fresh()
        response = page(
            "login.html",
            status,
            csrf_token=csrf.token_of(before),
            next=wanted,
            error=error,
            note=note,
            name=name,
            oidc=f"/oidc/login?next={quote(wanted, safe='')}" if self.oidc else "",
        )
        cookies.put(request, response, cookies.BEFORE, before, 3600)
        return response

    def _password_page(self, visitor: Visitor, error: str = "") -> Response:
        if not self.accounts.get(visitor.person.name).has_password:
            return message(200, "No password here", "You log in at the identity provider; the password is kept there.")
        return page(
            "password.html",
            400 if error else 200,
            csrf_token=visitor.csrf,
            name=visitor.person.name,
            must_change=visitor.person.must_change,
            min_length=MIN_LENGTH,
            error=error,
        )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form; of a larger or another body nothing."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return {}
