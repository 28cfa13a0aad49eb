"""The page of one alert, ``/alerts/{id}``: what it is about, what it rests on, what was done, and what may be done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from nicegui import Client, background_tasks, ui

from dashboards.alerts import StoreAwayError
from dashboards.desk import markup
from dashboards.desk.asking import Asker
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.following import follow
from dashboards.desk.frame import frame, page, text
from dashboards.desk.live import Keys
from dashboards.desk.markup import Html
from dashboards.desk.pages import alert_view as view
from dashboards.desk.pages import graph, timeline, worldmap
from dashboards.desk.pages.alert_actions import ActionBar
from dashboards.desk.pages.alert_subject import Subject, load, load_history, load_similar
from dashboards.desk.pages.filling import PAUSES_S, SOON_S, ask_on, loading
from dashboards.desk.pages.parts import chart, failure, notice, now, panel, partner_names, raw, style
from dashboards.desk.pages.story import tell
from dashboards.desk.similar import verdicts
from schemas.alerts import Alert

SETTLE_S = 0.6
"""Changes come in bursts; and rows reach ClickHouse a little after the log."""


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/alerts/{alert_id}")
    async def alert_page(request: Request, alert_id: str) -> Response | None:
        person = person_of(request)
        subject = Subject(alert_id, desk.eyes(person))
        subject.see(desk.live.states.get(alert_id))
        loads = asyncio.create_task(load(desk, subject))
        # What the log does not know, or knows to be gone, cannot be spoken of before the store has been asked.
        known = subject.seen_by(person) and not subject.successor
        done, _ = await asyncio.wait({loads}, timeout=SOON_S if known else None)
        wrong = loads.exception() if done else None
        if wrong is not None and not isinstance(wrong, StoreAwayError):
            raise wrong
        # Before anything is said of it, were it only that it goes on under another id.
        if not subject.seen_by(person):
            return missing(person, alert_id, wrong)
        if subject.successor:
            came_from = request.query_params.get("from", alert_id)
            return RedirectResponse(f"/alerts/{subject.successor}?from={came_from}", 302)
        opened = Page(desk, person, subject, request.query_params.get("from"))
        opened.build()
        if wrong is not None or not done:
            opened.catch_up(loads)
        return None


def missing(person: Person, alert_id: str, wrong: StoreAwayError | None = None) -> Response:
    """No such alert, or none that this person may see: both read the same."""
    with frame("No such alert", person, ""):
        style()
        if wrong is not None:
            failure(wrong)
            ui.timer(PAUSES_S[-1], lambda: ui.navigate.reload(), once=True, immediate=False)
        else:
            text("p", f"There is no alert with the id {alert_id}, or it is not for you to see.")
        with ui.element("p"), ui.element("a").props('href="/"'):
            text("span", "Back to the queue")
    return ui.context.client.build_response(ui.context.client.request, 503 if wrong else 404)


class Page:
    """The elements of one open page, and how they follow the log."""

    def __init__(self, desk: Desk, person: Person, subject: Subject, came_from: str | None) -> None:
        self._desk, self._person, self._subject, self._came_from = desk, person, subject, came_from
        self._names = partner_names(desk.settings)
        self._client: Client = ui.context.client
        self._asker = Asker(desk, person, self._client)
        self._bar = ActionBar(self._asker, lambda: subject.state)
        self._due: set[str] = set()
        self._parts: dict[str, ui.html] = {}

    def build(self) -> None:
        """Make the elements, of what is known, and follow the log."""
        subject = self._subject
        title = subject.record.rule.title if subject.record else subject.state.rule_title if subject.state else "Alert"
        with frame(title, self._person, "queue"):
            style()
            self._wrong = ui.element("div").classes("filling")
            if self._came_from and self._came_from != subject.alert_id:
                notice(
                    f"You asked for alert {self._came_from}. An earlier event came to light, so the same situation "
                    "goes on as this alert."
                )
            self._part("chips")
            self._bar.build()
            self.head()
            self.contents()
        follow(self._client, self._desk.live, self._changed, "alert", "notification")
        if subject.record is not None:
            ui.timer(0.05, self._find_similar, once=True)
        # "for 12 min more" and "5 min ago" would grow stale.
        ui.timer(30, self._tick, immediate=False)

    def catch_up(self, loads: asyncio.Task[None]) -> None:
        """Show the rest when it is there; ``loads`` is the question that is on its way, or was not answered."""
        questions = chain([loads], (load(self._desk, self._subject) for _ in repeat(None)))
        before = self._subject.record

        def away(error: StoreAwayError) -> bool:
            if not self._client.is_deleted:
                self._wrong.clear()
                with self._wrong:
                    failure(error)
            return not self._client.is_deleted

        async def go() -> None:
            await ask_on(lambda: next(questions), away)
            if not self._client.is_deleted:
                self._wrong.clear()
                self._show_loaded(before)

        background_tasks.create(go(), name="alert page")

    def _texts(self) -> dict[str, Html]:
        """The parts that change while the page is open, as they read now."""
        subject, at = self._subject, now()
        record, state = subject.record, subject.state
        texts = {"history": view.history(subject.history), "deliveries": view.deliveries(subject.deliveries)}
        if record is None:
            return texts | {"chips": Html("")}
        return texts | {
            "chips": view.chips(record, state, at),
            "story": view.story(tell(record, self._names, at)),
            "urgency": view.urgency(state) if state is not None else Html(""),
            "standing": view.standing(state, at),
            "about": view.about(record, self._names, inspects=self._person.may("inspect")),
        }

    def _part(self, name: str, look: str = "") -> None:
        self._parts[name] = raw(self._texts()[name]).classes(look)

    def _tick(self) -> None:
        """Bring the parts up to date. What reads the same stays as it is: whoever has the focus in it keeps it."""
        for name, content in self._texts().items():
            if name in self._parts and self._parts[name].content != content:
                self._parts[name].content = content

    @ui.refreshable_method
    def head(self) -> None:
        subject = self._subject
        if subject.record is None:
            if subject.loaded:
                notice("The evidence is not stored yet; this page fills itself when it is.")
            else:
                loading("Loading the evidence …")
            if subject.state is not None:
                text("p", subject.state.story).classes("story")
            return
        with ui.element("div").classes("page-grid"):
            with panel("What happened", 8):
                self._part("story")
                self._part("urgency")
            with panel("Standing", 4):
                self._part("standing", "standing")
                self._part("about", "standing")

    @ui.refreshable_method
    def contents(self) -> None:
        record = self._subject.record
        if record is None:
            return
        events = timeline.events_of(record)
        with ui.element("div").classes("page-grid"):
            self._timeline(events)
            self._map(events)
            with panel("Evidence"):
                raw(view.evidence(record, self._names))
            self._graph(record)
            with panel("Why the rule fired", 6):
                raw(view.explanation(record))
            with panel("Similar past alerts", 6):
                self.similar()
            self._past()

    def _timeline(self, events: list[timeline.Event]) -> None:
        rows = timeline.lanes(events, self._names)
        with panel("Timeline across partners", 7):
            if rows:
                chart(timeline.options(rows), max(timeline.height(rows), 380), timeline.told(rows))
            text("p", "Numbers are those of the evidence below, times are UTC.").classes("quiet")

    def _map(self, events: list[timeline.Event]) -> None:
        with panel("Places, in order", 5):
            if not worldmap.spots(events):
                text("p", "No event says where it happened.").classes("quiet")
                return
            drawn = ui.leaflet(
                center=(20.0, 0.0),
                zoom=2,
                options=worldmap.options(events),
                additional_resources=[worldmap.SCRIPT],
            ).classes("desk-map")
            drawn.props["role"] = "region"
            drawn.props["aria-label"] = f"Map. {worldmap.told(events)}"
            # The element brings a tile server of the internet; the desk has its own world.
            drawn.clear_layers()
            text("p", f"{worldmap.told(events)}. Outlines: Natural Earth; they take no position on borders.").classes(
                "quiet"
            )

    def _graph(self, record: Alert) -> None:
        nodes = graph.entities(record)
        if not nodes:
            return
        with panel("What links the events", 7):
            # Its labels need their room: on a narrow screen it is moved sideways.
            with ui.element("div").classes("table-scroll").props('tabindex="0" role="region" aria-label="Graph"'):
                chart(graph.options(record, nodes), graph.height(record, nodes), graph.told(nodes)).classes("is-wide")
            text("p", graph.told(nodes)).classes("quiet")
        with panel("Entities", 5):
            raw(view.entities(nodes, self._names))

    @ui.refreshable_method
    def similar(self) -> None:
        found = self._subject.similar
        if found is None:
            text("p", "Looking for similar alerts …").props('role="status"')
            return
        text("p", verdicts(found))
        if found:
            raw(view.similar(found))

    async def _find_similar(self) -> None:
        before = self._subject.similar
        try:
            await load_similar(self._desk, self._person, self._subject)
        except StoreAwayError as error:
            self._asker.say(str(error), "warning")
            return
        if self._subject.similar != before:
            self.similar.refresh()

    def _past(self) -> None:
        with panel("History"):
            self._part("history")
            if self._person.may("oversee"):
                raw(markup.link("Who looked at this alert", "/access", alert=self._subject.alert_id))
        # Who is called when is not a partner's business.
        if self._person.may("inspect"):
            with panel("Notified"):
                self._part("deliveries")

    def _changed(self, kind: str, keys: Keys) -> None:
        """Follow the log: at once where the log has all, a moment later where ClickHouse is asked."""
        subject = self._subject
        if kind == "alert":
            if subject.alert_id not in keys:
                return
            before = subject.state
            if (latest := self._desk.live.states.get(subject.alert_id)) is not None:
                subject.see(latest)
            if self._left():
                return
            self._tick()
            self._bar.refresh()
            if before is None or subject.state is None or before.alert_version != subject.state.alert_version:
                self._later("contents", self._reload)
            self._later("history", self._reload_history)
            return
        told = (self._desk.live.notifications.get(key) for key in keys)
        if any(each is not None and not set(subject.ids).isdisjoint(each.alert_ids) for each in told):
            self._later("history", self._reload_history)

    def _left(self) -> bool:
        """Leave the page, which is not to be shown any longer: for its successor's, or for what says that it is not for
        this person to see."""
        subject = self._subject
        successor = subject.successor if subject.seen_by(self._person) else subject.alert_id
        if successor:
            self._client.open(f"/alerts/{successor}?from={subject.alert_id}")
        return bool(successor)

    def _later(self, what: str, call: Callable[[], Awaitable[Any]]) -> None:
        if what in self._due:
            return
        self._due.add(what)

        async def do() -> None:
            await asyncio.sleep(SETTLE_S)
            self._due.discard(what)
            try:
                await call()
            except StoreAwayError as error:
                self._asker.say(str(error), "warning")

        background_tasks.create(do(), name=f"alert page {what}")

    async def _reload_history(self) -> None:
        await load_history(self._desk, self._subject)
        if not self._left():
            self._tick()

    async def _reload(self) -> None:
        before = self._subject.record
        await load(self._desk, self._subject)
        self._show_loaded(before)

    def _show_loaded(self, before: Alert | None) -> None:
        if self._left():
            return
        if before is None:
            self.head.refresh()
        self._tick()
        self._bar.refresh()
        if self._subject.record != before:
            self.contents.refresh()
            background_tasks.create(self._find_similar(), name="alert page similar")
