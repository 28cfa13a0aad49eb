"""What all pages of the watch desk share: header, navigation, who is logged in, the night theme, and the alarm.

Tailwind is off: it would compile style sheets in the browser at every change. Style with the classes and variables of
``static/desk.css`` and with Quasar's own (``row``, ``col``, ``q-pa-sm``, ...).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal, cast

from nicegui import Client, app, ui
from nicegui.elements.mixins.text_element import TextElement

from dashboards.desk import markup
from dashboards.desk.auth.permissions import needed
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.following import follow
from dashboards.desk.live import Keys, Live
from dashboards.desk.markup import Html, tag
from dashboards.desk.selection import is_held_back, is_watchdog
from schemas.lifecycle import AlertState

NAVIGATION: Final = (
    ("queue", "Queue", "/", "view_list"),
    ("feeds", "Feeds", "/feeds", "sensors"),
    ("rules", "Rules", "/rules", "rule"),
    ("silences", "Silences", "/silences", "notifications_off"),
    ("oncall", "On call", "/oncall", "support_agent"),
)
"""What a watch needs: name, label, path and icon of each entry."""
MORE: Final = (
    ("quarantine", "Quarantine", "/quarantine", "report_off"),
    ("exercises", "Exercises", "/exercises", "fitness_center"),
    ("runbooks", "Runbooks", "/runbooks", "menu_book"),
    ("access", "Access", "/access", "visibility"),
    ("accounts", "Accounts", "/accounts", "manage_accounts"),
)
"""What is looked at now and then: behind one entry, so that the header of a laptop is one line."""
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

BUILD_S: Final = 30.0
"""Seconds in which a page has to be built. It says itself when what it needs is away, or slow; that the machine is busy
is no reason to answer with an error, as NiceGUI does after 3 seconds."""
page = partial(ui.page, response_timeout=BUILD_S)
"""Registers a page of the desk at a path."""


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
    of an entry of ``NAVIGATION`` or ``MORE``, or empty. With ``show_title`` off the heading is for screen readers only.
    """
    client = ui.context.client
    live = this_desk().live
    for style in ("desk", "header", "quasar"):
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


# What never changes while a page is open is one element each: the server keeps and serialises every element of a page.


def _fixed(content: Html, tag_name: str = "div") -> ui.html:
    return ui.html(content, sanitize=False, tag=tag_name)


def _brand() -> None:
    picture = tag("img", src="/static/icon.svg", alt="", width="22", height="22")
    _fixed(markup.join([picture, tag("span", "Tocsin")]), "a").props('href="/"').classes("desk-brand")


def _navigation(person: Person, active: str) -> None:
    entries = [_entry(*each, active) for each in NAVIGATION if person.may(needed(each[2]))]
    more = [_entry(*each, active) for each in MORE if person.may(needed(each[2]))]
    if more:
        here = next((label for name, label, _, _ in MORE if name == active), None)
        said = tag("span", f"(you are at {here})", class_="sr-only") if here else ""
        summary = tag("summary", "More", markup.icon("expand_more"), said, class_="is-current" if here else None)
        entries.append(tag("details", summary, tag("div", *more, class_="desk-menu"), class_="desk-more"))
    _fixed(markup.join(entries, ""), "nav").props('aria-label="Main"').classes("desk-nav")


def _entry(name: str, label: str, path: str, icon: str, active: str) -> Html:
    current = "page" if name == active else None
    return tag("a", markup.icon(icon), tag("span", label), href=path, aria_current=current)


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
        follow(self._client, self._live, self._changed, "alert")

    def _counts(self, state: AlertState) -> bool:
        return is_urgent(state) and self._person.sees(state.partners)

    def _changed(self, _: str, keys: Keys) -> None:
        before, new = set(self._urgent), None
        for key in keys:
            state = self._live.states.get(key)
            if state is None or not self._counts(state):
                self._urgent.discard(key)
            elif key not in self._urgent:
                self._urgent.add(key)
                new = state
        if new is not None:
            where = "Exercise. " if new.exercise else ""
            self._spoken.text = f"{where}New {new.priority} alert, {new.level}: {new.rule_title}"
            if self._live.standing.loaded:
                self._client.run_javascript("tocsin.alarm()")
        if self._urgent != before:
            self._show()

    def _show(self) -> None:
        count = len(self._urgent)
        self._chip.set_visibility(count > 0)
        self._count.text = f"{count} urgent, not taken"
        self._client.run_javascript(f"tocsin.count({json.dumps(count)})")


def _standing(client: Client, live: Live) -> None:
    label = text("span", live.standing.text).classes("desk-standing").props('role="status"')

    def show(*_: object) -> None:
        label.text = live.standing.text
        label.classes(**{"add" if live.standing.text == "live" else "remove": "is-live"})

    show()
    follow(client, live, show, "standing")


def _switches(client: Client) -> None:
    dark = ui.dark_mode(client.request.cookies.get(THEME_COOKIE) != "light")

    def switch() -> None:
        dark.toggle()
        name = "dark" if dark.value else "light"
        cookie = f"{THEME_COOKIE}={name}; path=/; max-age=31536000; samesite=lax"
        client.run_javascript(f"document.cookie = {json.dumps(cookie)}")

    keys_on = client.request.cookies.get(KEYS_COOKIE) != "off"
    _fixed(Html(_sound() + _keys(keys_on))).classes("desk-switches")
    theme = ui.element("button").props('type="button" title="Dark or light" aria-label="Dark or light theme"')
    with theme.classes("desk-switch").on("click", switch):
        ui.icon("contrast")


def _sound() -> Html:
    return _switch(
        tag("span", markup.icon("volume_off"), tag("span", "Sound off"), class_="when-off"),
        tag("span", markup.icon("volume_up"), tag("span", "Sound on"), class_="when-on"),
        tag("span", "Sound held back by the browser: press a key", class_="when-blocked"),
        id="sound",
        aria_pressed="false",
        title="Sound when an urgent alert comes",
    )


def _keys(on: bool) -> Html:
    return _switch(
        markup.icon("keyboard"),
        tag("span", "Keys"),
        tag("b", "on", class_="keys-on", aria_hidden="true"),
        tag("b", "off", class_="keys-off", aria_hidden="true"),
        id="keys",
        aria_pressed="true" if on else "false",
        title="Single-letter keys: ? lists them where there are any",
    )


def _switch(*inside: Html, **attributes: str) -> Html:
    """A button that the script of the page knows by its id."""
    return tag("button", *inside, type="button", class_="desk-switch", **attributes)


def _who(person: Person) -> None:
    name = tag("span", person.display or person.name, title=ROLE_NAMES.get(person.role, person.role))
    out = tag("a", markup.icon("logout"), href="/logout", title="Log out", aria_label="Log out", class_="desk-switch")
    _fixed(Html(markup.icon("account_circle") + name + out)).classes("desk-who")
