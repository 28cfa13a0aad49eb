"""The page ``/``: the active alerts by priority and age, live, worked with the keyboard."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fastapi import Request
from nicegui import Client, ui

from dashboards.desk import dialogs, filters, keys
from dashboards.desk.asking import Asker
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.following import follow
from dashboards.desk.frame import frame, page, text
from dashboards.desk.queue_board import Board
from dashboards.desk.queue_table import COLUMNS, ROW
from dashboards.desk.rows import row_of
from dashboards.desk.selection import Choice, format_query, page_of, parse
from schemas.lifecycle import AlertState, Verb

PAGE_SIZE: Final = 50
REFRESH_S: Final = 0.2


def register(desk: Desk) -> None:
    """Serve the page."""
    board = Board(desk.live)

    @page("/")
    def queue(request: Request) -> None:
        person = person_of(request)
        with frame("Queue", person, "queue", show_title=False):
            Queue(desk, board, person, ui.context.client, parse(request.query_params)).build()


class Queue:
    """One open page. Follows the log as long as the page is open."""

    def __init__(self, desk: Desk, board: Board, person: Person, client: Client, choice: Choice) -> None:
        self._desk, self._board, self._person, self._client, self._choice = desk, board, person, client, choice
        self._asker = Asker(desk, person, client)
        self._opened = datetime.now(UTC)
        self._refresh_due = False

    def build(self) -> None:
        """Make the elements and follow the log."""
        ui.add_head_html('<script src="/static/queue.js" defer></script>')
        ui.add_head_html('<link rel="stylesheet" href="/static/queue.css">')
        self._filters = filters.Filters(self._desk.live, self._person, self._choice, self._choose)
        self._table = ui.table(columns=COLUMNS, rows=[], row_key="id").props(
            'flat dense hide-pagination wrap-cells no-data-label="No alert to show."'
        )
        self._table.classes("queue").add_slot("body", ROW)
        with ui.element("div").classes("queue-foot"):
            self._previous = ui.button("Previous", icon="chevron_left", on_click=lambda: self._turn(-1))
            self._where = text("span", "").classes("soft")
            self._next = ui.button("Next", icon="chevron_right", on_click=lambda: self._turn(1))
            for button in (self._previous, self._next):
                button.props("flat dense no-caps color=none")
            ui.element("div").classes("desk-space")
            text("span", "j k move · Enter open · a acknowledge · x mine · n note · s silence · c close · ? keys")
        self._show()
        keys.listen(self._pressed, moves=True)
        self._client.on_connect(self._show)
        follow(self._client, self._desk.live, lambda *_: self._refresh_in(REFRESH_S), "alert", "standing")

    def _refresh_in(self, seconds: float) -> None:
        if not self._refresh_due:
            self._refresh_due = True
            asyncio.get_running_loop().call_later(seconds, self._refresh)

    def _refresh(self) -> None:
        self._refresh_due = False
        if self._client.has_socket_connection:
            with self._client:
                self._show()

    def _show(self) -> None:
        look = self._board.look(self._choice, self._person, self._desk.eyes(self._person))
        if look.stale_s is not None:
            self._refresh_in(max(look.stale_s, REFRESH_S))
        found = look.found
        shown, page, pages = page_of(found.states, self._choice.page, PAGE_SIZE)
        rows = [{**row_of(state), "new": self._is_new(state)} for state in shown]
        if rows != self._table.rows:
            self._table.rows = rows
        self._filters.show(found, self._desk.live.standing)
        self._where.text = f"Page {page} of {pages}"
        self._previous.set_enabled(page > 1)
        self._next.set_enabled(page < pages)

    def _is_new(self, state: AlertState) -> bool:
        return state.state == "open" and state.raised_at >= self._opened

    def _choose(self, choice: Choice) -> None:
        self._choice = choice
        query = format_query(choice)
        ui.navigate.history.replace(f"/?{query}" if query else "/")
        self._show()

    def _turn(self, by: int) -> None:
        self._choose(replace(self._choice, page=max(1, self._choice.page + by)))
        ui.run_javascript("scrollTo(0, 0)")

    async def _pressed(self, verb: Verb, alert_id: str) -> None:
        state = self._desk.live.states.get(alert_id)
        if state is None or not self._person.sees(state.partners):
            self._asker.say("Choose an alert first: j and k move.")
            return
        if not self._asker.may(verb):
            self._asker.refuse(verb)
            return
        await self._do(verb, state)

    async def _do(self, verb: Verb, state: AlertState) -> None:
        if verb == "acknowledge":
            await self._asker.ask("acknowledge", state)
        elif verb == "assign":
            await self._asker.ask("assign", state, assignee=self._person.name)
        elif verb == "note":
            dialogs.note(self._asker, state)
        elif verb == "silence":
            dialogs.silence(self._asker, state)
        elif verb == "close":
            dialogs.close(self._asker, state)
