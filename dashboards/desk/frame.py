"""What all pages of the watch desk share: header, navigation, who is logged in, the night theme, and the alarm.

Tailwind is off: it would compile style sheets in the browser at every change. Style with the classes and variables of
``static/desk.css`` and with Quasar's own (``row``, ``col``, ``q-pa-sm``, ...).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, cast

from nicegui import Client, app, ui
from nicegui.elements.mixins.text_element import TextElement

from dashboards.desk.auth.permissions import needed
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.following import follow
from dashboards.desk.live import Live
from dashboards.desk.selection import is_held_back, is_watchdog
from schemas.lifecycle import AlertState

NAVIGATION: Final = (
    ("queue", "Queue", "/", "view_list"),
    ("feeds", "Feeds", "/feeds", "sensors"),
    ("rules", "Rules", "/rules", "rule"),
    ("quarantine", "Quarantine", "/quarantine", "report_off"),
    ("silences", "Silences", "/silences", "notifications_off"),
    ("oncall", "On call", "/oncall", "support_agent"),
    ("exercises", "Exercises", "/exercises", "fitness_center"),
    ("runbooks", "Runbooks", "/runbooks", "menu_book"),
    ("access", "Access", "/access", "visibility"),
    ("accounts", "Accounts", "/accounts", "manage_accounts"),
)
THEME_COOKIE: Final = "tocsin_theme"
KEYS_COOKIE: Final = "tocsin_keys"
"""``off``: single-letter keys do nothing (WCAG 2.1.4). The script reads and writes it."""
ROLE_NAMES: Final = {
    "watch_officer": "Watch officer",
    "analyst": "Analyst",
    "partner": "Partner (read only)",
    "oversight": "Oversight",
    "administrator": "Administrator",
}


def this_desk() -> Desk:
    """The desk that this process serves, as :func:`dashboards.desk.app.create_app` put it there."""
    return cast(Desk, app.state.desk)


def text(tag: str, content: str) -> TextElement:
    """An element of that HTML tag with plain text in it."""
    return TextElement(tag=tag, text=content)


def heading(content: str, level: Literal[1, 2, 3] = 2) -> TextElement:
    """A heading; pages begin at level 2, the frame has the 1."""
    return text(f"h{level}", content)


def is_urgent(state: AlertState) -> bool:
    """Whether it is worth an alarm: P1, or critical and no exercise; nobody has taken it yet, nothing holds it back."""
    pressing = state.priority == "P1" or (state.level == "critical" and not state.exercise)
    return pressing and state.is_active and state.state == "open" and not is_held_back(state) and not is_watchdog(state)


@contextmanager
def frame(title: str, person: Person, active: str, *, show_title: bool = True) -> Iterator[None]:
    """The page around what is made inside, which becomes its main part.

    ``title`` is the page's heading and, before the product's name, the document's title. ``active`` is the first value
    of an entry of ``NAVIGATION``, or empty. With ``show_title`` off the heading is for screen readers only.
    """
    client = ui.context.client
    live = this_desk().live
    for style in ("desk", "quasar"):
        ui.add_head_html(f'<link rel="stylesheet" href="/static/{style}.css">')
    for script in ("desk", "keys"):
        ui.add_head_html(f'<script src="/static/{script}.js" defer></script>')
    ui.page_title(f"{title} · Tocsin")
    with ui.header(elevated=False).classes("desk-header"):
        _brand()
        _navigation(person, active)
        ui.element("div").classes("desk-space")
        alarm = _Alarm(client, live, person)
        _standing(client, live)
        _switches(client)
        _who(person)
    content = client.content.classes("desk-main")
    ui.skip_link("Skip to the main part", target=content)
    heading(title, 1).classes("desk-title" if show_title else "sr-only")
    alarm.begin()
    client.on_connect(lambda: client.run_javascript(f"tocsin.clock({time.time() * 1000:.0f})"))
    yield


def _brand() -> None:
    with ui.element("a").props('href="/"').classes("desk-brand"):
        ui.element("img").props('src="/static/icon.svg" alt="" width="22" height="22"')
        text("span", "Tocsin")


def _navigation(person: Person, active: str) -> None:
    with ui.element("nav").props('aria-label="Main"').classes("desk-nav"):
        for name, label, path, icon in NAVIGATION:
            if not person.may(needed(path)):
                continue
            with ui.element("a").props(f'href="{path}"') as link:
                ui.icon(icon)
                text("span", label)
            if name == active:
                link.props('aria-current="page"')


class _Alarm:
    """Counts the urgent alerts that nobody has taken: in the header, in the title, aloud, and by sound when a new one
    comes. Follows the log as long as the page is open."""

    def __init__(self, client: Client, live: Live, person: Person) -> None:
        self._client, self._live, self._person = client, live, person
        self._urgent: set[str] = set()
        with ui.element("a").props('href="/?priority=P1&state=open"').classes("desk-urgent") as self._chip:
            ui.icon("notification_important")
            self._count = text("span", "")
        self._spoken = text("div", "").classes("sr-only").props('role="alert"')

    def begin(self) -> None:
        self._urgent = {key for key, state in self._live.states.items() if self._counts(state)}
        self._show()
        follow(self._client, self._live, self._changed)

    def _counts(self, state: AlertState) -> bool:
        return is_urgent(state) and self._person.sees(state.partners)

    def _changed(self, kind: str, key: str) -> None:
        if kind != "alert":
            return
        state = self._live.states.get(key)
        urgent = state is not None and self._counts(state)
        if urgent == (key in self._urgent):
            return
        if state is not None and urgent:
            self._urgent.add(key)
            where = "Exercise. " if state.exercise else ""
            self._spoken.text = f"{where}New {state.priority} alert, {state.level}: {state.rule_title}"
            if self._live.standing.loaded:
                self._client.run_javascript("tocsin.alarm()")
        else:
            self._urgent.discard(key)
        self._show()

    def _show(self) -> None:
        count = len(self._urgent)
        self._chip.set_visibility(count > 0)
        self._count.text = f"{count} urgent, not taken"
        self._client.run_javascript(f"tocsin.count({json.dumps(count)})")


def _standing(client: Client, live: Live) -> None:
    label = text("span", live.standing.text).classes("desk-standing").props('role="status"')

    def show(kind: str = "standing", _: str = "") -> None:
        if kind == "standing":
            label.text = live.standing.text
            label.classes(**{"add" if live.standing.text == "live" else "remove": "is-live"})

    show()
    follow(client, live, show)


def _switches(client: Client) -> None:
    dark = ui.dark_mode(client.request.cookies.get(THEME_COOKIE) != "light")

    def switch() -> None:
        dark.toggle()
        name = "dark" if dark.value else "light"
        cookie = f"{THEME_COOKIE}={name}; path=/; max-age=31536000; samesite=lax"
        client.run_javascript(f"document.cookie = {json.dumps(cookie)}")

    with ui.element("button").props('type="button" id="sound" aria-pressed="false"').classes("desk-switch") as sound:
        ui.icon("volume_off").classes("when-off")
        ui.icon("volume_up").classes("when-on")
        text("span", "Sound off").classes("when-off")
        text("span", "Sound on").classes("when-on")
        text("span", "Sound held back by the browser: press a key").classes("when-blocked")
    sound.on("click", js_handler="() => tocsin.toggleSound()")
    pressed = "false" if client.request.cookies.get(KEYS_COOKIE) == "off" else "true"
    with ui.element("button").props('type="button" id="keys"').classes("desk-switch") as keys:
        keys.props["aria-pressed"] = pressed
        keys.props('title="Single-letter keys: ? lists them where there are any"')
        ui.icon("keyboard")
        text("span", "Keys")
        text("span", "on").classes("keys-on").props('aria-hidden="true"')
        text("span", "off").classes("keys-off").props('aria-hidden="true"')
    keys.on("click", js_handler="() => tocsin.keys.toggle()")
    theme = ui.element("button").props('type="button" title="Dark or light" aria-label="Dark or light theme"')
    with theme.classes("desk-switch").on("click", switch):
        ui.icon("contrast")


def _who(person: Person) -> None:
    with ui.element("div").classes("desk-who"):
        ui.icon("account_circle")
        text("span", person.display or person.name).props(f'title="{ROLE_NAMES.get(person.role, person.role)}"')
        with ui.element("a").props('href="/logout" title="Log out" aria-label="Log out"').classes("desk-switch"):
            ui.icon("logout")
