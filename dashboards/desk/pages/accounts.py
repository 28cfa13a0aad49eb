"""The page of accounts, ``/accounts``: who may use the desk, and with which tokens. It does what ``tocsin accounts``
does, by the same functions, and every change goes to the access log under the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

from fastapi import Request
from nicegui import Client, ui
from nicegui.element import Element

from dashboards.desk import markup
from dashboards.desk.asking import say
from dashboards.desk.auth.accounts import ONE_TIME_VALID, Account, AccountError, OneTime
from dashboards.desk.auth.database import DatabaseError
from dashboards.desk.auth.middleware import address_of
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.auth.roles import MEANINGS, ROLE_PERMISSIONS, ROLES, Person, Role
from dashboards.desk.auth.tokens import Token, TokenError
from dashboards.desk.desk import Desk
from dashboards.desk.dialogs import asking, buttons
from dashboards.desk.frame import ROLE_NAMES, frame, page, text
from dashboards.desk.markup import Html, badge, tag
from dashboards.desk.pages.parts import asked, button, cell, panel, partner_names, raw, row, style, table

T = TypeVar("T")
ACCOUNTS: Final = ("Name", "Role", "State", "Logs in by", "Made (UTC)", "Last login (UTC)", "")
TOKENS: Final = ("Token", "Account", "May", "For", "Valid until (UTC)", "Last used (UTC)", "")
REFRESH_S: Final = 5.0
DONE: Final = {
    "account add": "Added",
    "account role": "Role changed",
    "account disable": "Disabled",
    "account enable": "Enabled",
    "account reset": "New one-time password",
    "account unlock": "Unlocked",
    "token revoke": "Revoked",
}


def cells(account: Account, waits: bool, names: Mapping[str, str]) -> list[Html]:
    """What the row of an account says, without its buttons."""
    shown = [tag("strong", account.name)]
    if account.display != account.name:
        shown.append(tag("div", account.display, class_="quiet"))
    role = markup.esc(ROLE_NAMES[account.role])
    if account.partner:
        role = Html(role + tag("div", names.get(account.partner, account.partner), class_="quiet"))
    state = [badge(account.standing, "bad" if account.disabled else "", sign="✗" if account.disabled else "")]
    if waits:
        state.append(badge("waits after wrong passwords", "bad", sign="…"))
    last = markup.time(account.last_login_at, seconds=False) if account.last_login_at else markup.esc("never")
    made = markup.time(account.created_at, seconds=False)
    return [Html("".join(shown)), role, markup.join(state), markup.esc(account.logs_in_by), made, last]


def token_cells(token: Token) -> list[Html]:
    """What the row of a token says, without its button."""
    used = markup.time(token.used_at, seconds=False) if token.used_at else markup.esc("never")
    return [
        tag("code", token.id),
        markup.esc(token.account),
        markup.esc(", ".join(token.scope)),
        markup.esc(token.label or "–"),
        markup.time(token.expires_at, seconds=False),
        used,
    ]


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/accounts")
    def accounts_page(request: Request) -> None:
        person = person_of(request)
        with frame("Accounts", person, "accounts"):
            style()
            _Page(desk, person, ui.context.client).build()


class _Page:
    """One open page. It follows what changes here, in other tabs and by commands."""

    def __init__(self, desk: Desk, person: Person, client: Client) -> None:
        self._desk, self._accounts, self._person, self._client = desk, desk.accounts, person, client
        self._names = partner_names(desk.settings)

    def build(self) -> None:
        """Make the elements."""
        text("p", "An account that acted on alerts is disabled, not deleted: what it did stays under its name. "
             "Every change here is in the access log.").classes("quiet")  # fmt: skip
        with ui.element("div").classes("action-bar"):
            button("New account", "person_add", self._add, main=True)
        with panel("Accounts"):
            self._people = _Rows[tuple[Account, bool]]("Accounts", ACCOUNTS)
        with panel("API tokens"):
            self._tokens = _Rows[Token]("API tokens", TOKENS)
            raw(markup.hint("`tocsin accounts token NAME --scope view` makes one; its secret is shown there, once."))
        with panel("What a role may"):
            raw(_roles())
        self._show()
        ui.timer(REFRESH_S, self._show, immediate=False)

    def _show(self) -> None:
        waits = self._accounts.throttle.wait_of
        people = {each.name: (each, waits(each.name) > 0) for each in self._accounts.all()}
        tokens = {each.id: each for each in self._accounts.tokens.all()}
        self._people.show(people, lambda known: cells(*known, self._names), self._account_buttons)
        self._tokens.show(tokens, token_cells, self._token_buttons)

    def _account_buttons(self, known: tuple[Account, bool]) -> None:
        account, waits = known
        name = account.name
        self._button(name, "Role", "badge", partial(self._role, account))
        if not account.identity:
            self._button(name, "New password", "key", partial(self._reset, account))
        if waits:
            self._button(name, "Unlock", "lock_open", partial(self._do, "account unlock", name, self._accounts.unlock))
        if account.disabled:
            self._button(name, "Enable", "check", partial(self._do, "account enable", name, self._accounts.enable))
        else:
            self._button(name, "Disable", "block", partial(self._disable, account))

    def _token_buttons(self, token: Token) -> None:
        self._button(f"token {token.id}", "Revoke", "block", partial(self._revoke, token))

    @staticmethod
    def _button(of: str, label: str, icon: str, on_click: Callable[[], Any]) -> None:
        button(label, icon, on_click).props["aria-label"] = f"{label}: {of}"

    def _add(self) -> None:
        with self._client, asking("New account") as dialog:
            name = ui.input("Name", placeholder="mira").props("outlined dense autofocus stack-label")
            display = ui.input("The name that others see").props("outlined dense stack-label")
            for field in (name, display):
                field.classes("full-width")
            chosen = self._choice("watch_officer", None)

            async def go() -> None:
                role, partner = chosen()
                account = (name.value or "").strip()
                shown = (display.value or "").strip()
                made = await self._do(
                    "account add", account, self._accounts.add, role, partner=partner, display=shown,
                    said=f"{role} {partner or ''}",
                )  # fmt: skip
                if made is not None:
                    dialog.close()
                    self._tell(made)

            buttons(dialog, "Add", go)

    def _role(self, account: Account) -> None:
        with self._client, asking(f"Role of {account.name}") as dialog:
            text("p", "Who is logged in under the account has to log in again.").classes("soft")
            if account.identity:
                text("p", "The identity provider's groups set the role again at the next login.").classes("soft")
            chosen = self._choice(account.role, account.partner)

            async def go() -> None:
                role, partner = chosen()
                done = await self._do(
                    "account role", account.name, self._accounts.set_role, role, partner=partner,
                    said=f"{role} {partner or ''}",
                )  # fmt: skip
                if done is not None:
                    dialog.close()

            buttons(dialog, "Change role", go)

    def _choice(self, role: Role, partner: str | None) -> Callable[[], tuple[Role, str | None]]:
        """Fields for a role and, of the role partner, its partner; what they say is returned by what is returned."""
        wanted = ui.select({each: ROLE_NAMES[each] for each in ROLES}, value=role, label="Role")
        names = self._names if partner is None or partner in self._names else {**self._names, partner: partner}
        whose = ui.select(names, value=partner, label="Partner whose alerts it sees")
        for field in (wanted, whose):
            field.props("outlined dense").classes("full-width")
        whose.bind_visibility_from(wanted, "value", value="partner")
        return lambda: (cast("Role", wanted.value), whose.value if wanted.value == "partner" else None)

    def _reset(self, account: Account) -> None:
        with self._client, asking(f"New one-time password for {account.name}") as dialog:
            text("p", "Its password, sessions and tokens end at once.").classes("soft")

            async def go() -> None:
                made = await self._do("account reset", account.name, self._accounts.reset)
                if made is not None:
                    dialog.close()
                    self._tell(made)

            buttons(dialog, "Make password", go)

    def _disable(self, account: Account) -> None:
        with self._client, asking(f"Disable {account.name}") as dialog:
            text("p", "Nobody is let in under it any more; its sessions and tokens end at once.").classes("soft")

            async def go() -> None:
                if await self._do("account disable", account.name, self._accounts.disable) is not None:
                    dialog.close()

            buttons(dialog, "Disable", go)

    def _revoke(self, token: Token) -> None:
        with self._client, asking(f"Revoke token {token.id}") as dialog:
            text("p", f"What {token.account} runs with it is refused at once.").classes("soft")

            async def go() -> None:
                if await self._do("token revoke", token.id, self._end_token) is not None:
                    dialog.close()

            buttons(dialog, "Revoke", go)

    def _end_token(self, token_id: str) -> None:
        if not self._accounts.tokens.revoke(token_id):
            raise TokenError(f"there is no token '{token_id}' any more")

    def _tell(self, made: OneTime) -> None:
        with self._client, asking(f"One-time password of {made.name}") as dialog:
            text("p", made.password).classes("one-time")
            text("p", f"Shown this once; valid for {ONE_TIME_VALID.days} days, to be changed at the first login. "
                 "Hand it over in person or by telephone.").classes("soft")  # fmt: skip
            with ui.element("div").classes("desk-buttons"):
                ui.button("Done", on_click=dialog.close).props("unelevated no-caps color=primary")

    async def _do(
        self, what: str, target: str, call: Callable[..., Any], *more: Any, said: str = "", **fields: Any
    ) -> Any:
        """Carry out a change and write it down, refused or not. ``call`` takes the target, then the rest; ``said`` is
        what the log says beside the target.

        Returns:
            What it gave, True for nothing; ``None`` when it was refused, which the person is told.
        """
        problem = ""
        made: Any = None
        try:
            made = await asked(call, target, *more, **fields) or True
        except (AccountError, TokenError, DatabaseError) as error:
            problem = str(error)
        address = address_of(self._client.request)
        about = f"{target} {said}".strip()
        self._desk.access.write(self._person, what, about, allowed=made is not None, address=address, detail=problem)
        if made is None:
            say(self._client, f"Not done: {problem}", "negative")
        else:
            say(self._client, f"{DONE[what]}: {target}", "positive")
        with self._client:
            self._show()
        return made


class _Rows(Generic[T]):
    """A table whose rows have buttons. A row stays as it is while it says the same, so that whoever has the focus in it
    keeps it."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name, self._columns = name, columns
        self._box = ui.element("div")
        self._shown: dict[str, tuple[T, Element]] = {}

    def show(self, items: Mapping[str, T], said: Callable[[T], list[Html]], buttons: Callable[[T], None]) -> None:
        """Bring the table up to date: one row an item, with what is ``said`` of it and its ``buttons``."""
        if not items or list(items) != list(self._shown):
            self._box.clear()
            self._shown = {}
            with self._box:
                if not items:
                    text("p", "None.").classes("quiet")
                    return
                body = table(self._name, self._columns)
        for key, item in items.items():
            before = self._shown.get(key)
            if before is not None and before[0] == item:
                continue
            if before is not None:
                line = before[1]
                line.clear()
            else:
                with body:
                    line = row()
            self._shown[key] = (item, line)
            with line:
                for number, (column, content) in enumerate(zip(self._columns, said(item), strict=False)):
                    with cell(column, heads=not number):
                        raw(content)
                with cell(""), ui.element("div").classes("action-bar"):
                    buttons(item)


def _roles() -> Html:
    return markup.table(
        "Roles and what they may",
        ("Role", "May"),
        (
            (ROLE_NAMES[role], markup.bullets(MEANINGS[each] for each in MEANINGS if each in ROLE_PERMISSIONS[role]))
            for role in ROLES
        ),
        hide_caption=True,
    )
