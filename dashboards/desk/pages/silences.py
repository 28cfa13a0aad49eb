"""The page of silences, ``/silences``: what holds and what is to come, what each covers now, and new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import Request
from nicegui import Client, ui

from dashboards.desk import dialogs, markup
from dashboards.desk.asking import Asker
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.following import follow
from dashboards.desk.frame import frame, page, text
from dashboards.desk.markup import Html, join, tag
from dashboards.desk.pages.parts import button, cell, now, panel, partner_names, raw, row, style, table
from dashboards.desk.rows import counts_text
from dashboards.explain import between
from processors.lifecycle.silences import covers
from schemas.lifecycle import PRIORITIES, AlertState, Matcher, Silence
from schemas.matcher_text import parse_matcher

COLUMNS: Final = ("Silences", "Reason", "By", "Holds (UTC)", "Covers now", "")
SETTLE_S: Final = 0.5
REFRESH_S: Final = 5.0
MAX_SHOWN: Final = 3
NO_SCOPE: Final = "Give a condition, or the partner of a maintenance window: without both, every alert would go silent."


@dataclass(frozen=True, slots=True)
class Line:
    """A silence with the active alerts that it covers, the most urgent first."""

    silence: Silence
    covered: tuple[AlertState, ...]


def lines(silences: Iterable[Silence], states: Iterable[AlertState], now: datetime) -> list[Line]:
    """Silences that hold or are to come, what ends first first."""
    coming = sorted((each for each in silences if each.ends_at > now), key=lambda each: (each.ends_at, each.silence_id))
    covered: dict[str, list[AlertState]] = {each.silence_id: [] for each in coming}
    later = [each for each in coming if not each.holds(now)]
    for state in states:
        if not state.is_active:
            continue
        for silence_id in state.silences:
            if silence_id in covered:
                covered[silence_id].append(state)
        for silence in later:
            if covers(silence, state):
                covered[silence.silence_id].append(state)
    return [
        Line(each, tuple(sorted(covered[each.silence_id], key=lambda state: (state.priority, state.raised_at))))
        for each in coming
    ]


def scope_of(text: str, partner: str) -> tuple[list[Matcher], str | None]:
    """The matchers that are written, one a line, and the partner of a maintenance window.

    Raises:
        ValueError: a line is no matcher, or nothing narrows the silence down; the message is for people.
    """
    found: list[Matcher] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(parse_matcher(line))
            except ValueError as error:
                raise ValueError(f"Condition {number}: {error}") from error
    if found and all(each.field == "exercise" or not each.value for each in found):
        raise ValueError(
            "These conditions alone would silence every live alert, or every exercise; add a narrower one."
        )
    if not found and not partner:
        raise ValueError(NO_SCOPE)
    return found, partner or None


def cells(line: Line, titles: Mapping[str, str], names: Mapping[str, str], now: datetime) -> list[Html]:
    """What the row says, without the button."""
    silence = line.silence
    said: list[object] = [tag("code", dialogs.describe(each, titles.get(each.value, ""))) for each in silence.matchers]
    if silence.partner:
        said.append(f"maintenance of {names.get(silence.partner, silence.partner)}: its feed's alerts")
    when = (
        f"for {between(now, silence.ends_at)} more"
        if silence.holds(now)
        else f"begins in {between(now, silence.starts_at)}"
    )
    span = join([markup.time(silence.starts_at, seconds=False), "to", markup.time(silence.ends_at, seconds=False)])
    return [
        markup.bullets(said),
        markup.esc(silence.reason),
        markup.esc(silence.author),
        Html(tag("strong", when) + tag("div", span, class_="quiet")),
        _covered(line, now),
    ]


def _covered(line: Line, now: datetime) -> Html:
    if not line.covered:
        return markup.esc("nothing")
    counts = {each: sum(state.priority == each for state in line.covered) for each in PRIORITIES}
    several = "alert" if len(line.covered) == 1 else "alerts"
    would = "" if line.silence.holds(now) else "would cover "
    shown = [
        markup.alert_link(state.alert_id, f"{state.priority} {state.rule_title}") for state in line.covered[:MAX_SHOWN]
    ]
    more = len(line.covered) - len(shown)
    listed = [*shown, *([f"and {more:,} more"] if more else [])]
    return Html(tag("div", f"{would}{len(line.covered):,} {several} ({counts_text(counts)})") + markup.bullets(listed))


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/silences")
    def silences_page(request: Request) -> None:
        person = person_of(request)
        with frame("Silences", person, "silences"):
            style()
            _Page(desk, person, ui.context.client).build()


class _Page:
    """One open page. A row stays as it is while it says the same, so that whoever has the focus in it keeps it."""

    def __init__(self, desk: Desk, person: Person, client: Client) -> None:
        self._desk, self._person, self._client = desk, person, client
        self._asker = Asker(desk, person, client)
        self._names = partner_names(desk.settings)
        self._rows: dict[str, list[ui.html]] | None = None
        self._due = False

    def build(self) -> None:
        """Make the elements and follow the log."""
        text("p", dialogs.SILENCED + " A maintenance window silences what is said of a partner's feed.")
        if self._asker.may("silence"):
            with ui.element("div").classes("action-bar"):
                button("New silence", "notifications_off", self._new, main=True)
        with panel("Now and to come"):
            self._box = ui.element("div")
        self._show()
        follow(self._client, self._desk.live, lambda *_: self._changed(), "silence")
        ui.timer(REFRESH_S, self._show, immediate=False)

    def _changed(self) -> None:
        if not self._due:
            self._due = True
            # What a silence covers comes a moment after it.
            asyncio.get_running_loop().call_later(SETTLE_S, self._show)

    def _show(self) -> None:
        self._due = False
        if self._client.is_deleted:
            return
        live, at = self._desk.live, now()
        states = (state for state in live.states.values() if self._person.sees(state.partners))
        found = lines(live.silences.values(), states, at)
        titles = {state.rule_id: state.rule_title for state in live.states.values()}
        said = {line.silence.silence_id: cells(line, titles, self._names, at) for line in found}
        if self._rows is None or list(said) != list(self._rows):
            with self._client:
                self._build_table(found, said)
            return
        for silence_id, contents in said.items():
            for element, content in zip(self._rows[silence_id], contents, strict=True):
                if element.content != content:
                    element.content = content

    def _build_table(self, found: Sequence[Line], said: Mapping[str, list[Html]]) -> None:
        self._box.clear()
        self._rows = {}
        with self._box:
            if not found:
                text("p", "No silence holds, and none is to come.").classes("quiet")
                return
            with table("Silences", COLUMNS):
                for line in found:
                    self._rows[line.silence.silence_id] = self._row(line.silence, said[line.silence.silence_id])

    def _row(self, silence: Silence, contents: Sequence[Html]) -> list[ui.html]:
        made = []
        with row():
            for number, (column, content) in enumerate(zip(COLUMNS, contents, strict=False)):
                with cell(column, heads=not number):
                    made.append(raw(content))
            with cell(""):
                if self._asker.may("expire_silence"):
                    end = button("End", "notifications_active", lambda: self._end(silence))
                    end.props["aria-label"] = f"End the silence: {silence.reason}"
        return made

    def _end(self, silence: Silence) -> None:
        with self._client, dialogs.asking("End the silence") as dialog:
            text("p", silence.reason).classes("soft")
            text("p", "Alerts that it covers notify again, beginning with those that wait now.")
            why = dialogs.area_of("Why (kept in the history)")

            async def go() -> None:
                if await self._asker.expire(silence.silence_id, why.value.strip()):
                    dialog.close()

            dialogs.buttons(dialog, "End silence", go)

    def _new(self) -> None:
        with self._client, dialogs.asking("New silence") as dialog:
            text("p", dialogs.SILENCED).classes("soft")
            conditions = dialogs.area_of("Conditions, one a line; all must hold", 'level=low\npartners=~"bpol.*"')
            text("p", "Fields: rule_id, level, priority, partners, families, countries, tags, exercise, group.<name>; "
                 "operators: = != =~ !~").classes("soft")  # fmt: skip
            partners = ui.select({"": "none", **self._names}, value="", label="Maintenance window of a partner")
            partners.props("outlined dense").classes("full-width")
            show = dialogs.silence_form(dialog, self._asker, lambda: scope_of(conditions.value or "", partners.value))
            conditions.on("blur", show)
            partners.on_value_change(show)
