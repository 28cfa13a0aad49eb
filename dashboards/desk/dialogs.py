"""The dialogs in which a person says what to do with an alert: note, close, assign, silence. Pages share them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nicegui import ui

from dashboards.desk.asking import Asker
from dashboards.desk.frame import heading, text
from dashboards.desk.rows import VERDICT_NAMES, counts_text
from dashboards.desk.scope import PREVIEW_DAYS, Scope, preview
from schemas.lifecycle import AlertState, Matcher, Silence

DURATIONS: Final = {1: "1 hour", 4: "4 hours", 8: "8 hours (one watch)", 24: "1 day", 72: "3 days", 168: "7 days"}
MIN_REASON: Final = 3
SILENCED: Final = "Silenced alerts notify nobody. They stay on the desk, marked and counted."

Scoped = tuple[list[Matcher], str | None]
"""Matchers of a silence, and the partner of a maintenance window."""


@contextmanager
def asking(title: str) -> Iterator[ui.dialog]:
    """A dialog with that title around what is made inside; it opens, and is forgotten once it is closed."""
    with ui.dialog() as dialog, ui.element("div").classes("desk-dialog"):
        # Quasar's dialog has the role; the name has to be given.
        dialog.props(f'aria-label="{title}"')
        heading(title)
        yield dialog
    dialog.on("hide", dialog.delete)
    dialog.open()


def buttons(dialog: ui.dialog, label: str, go: Callable[[], Any]) -> None:
    """Its last line: away with it, or go."""
    with ui.element("div").classes("desk-buttons"):
        ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
        ui.button(label, on_click=go).props("unelevated no-caps color=primary")


def area_of(label: str, placeholder: str = "") -> ui.textarea:
    """A field for some lines of text."""
    area = ui.textarea(label, placeholder=placeholder).classes("full-width")
    return area.props("autogrow autofocus outlined dense stack-label")


def note(asker: Asker, state: AlertState) -> None:
    """Ask for a note's text."""
    with asking("Add a note") as dialog:
        text("p", state.rule_title).classes("soft")
        area = area_of("Note")

        async def go() -> None:
            if not area.value.strip():
                area.error = "A note needs a text."
                return
            if await asker.ask("note", state, revision=None, text=area.value.strip()):
                dialog.close()

        area.on("keydown.ctrl.enter", go)
        buttons(dialog, "Add note", go)


def close(asker: Asker, state: AlertState) -> None:
    """Ask for a verdict and why."""
    with asking("Close the alert") as dialog:
        text("p", state.rule_title).classes("soft")
        verdict = ui.radio(dict(VERDICT_NAMES), value="exercise" if state.exercise else None)
        verdict.props('dense aria-label="Verdict"')
        complaint = text("p", "").classes("bad").props('role="alert"')
        area = area_of("Why (kept in the history)").props(remove="autofocus")

        async def go() -> None:
            if verdict.value is None:
                complaint.text = "Choose a verdict: it is how rules get better."
                return
            if await asker.ask("close", state, verdict=verdict.value, text=area.value.strip()):
                dialog.close()

        buttons(dialog, "Close alert", go)


def assign(asker: Asker, state: AlertState, people: list[str]) -> None:
    """Ask who shall have it."""
    with asking("Assign the alert") as dialog:
        text("p", state.rule_title).classes("soft")
        names = sorted({asker.person.name, *people})
        choice = ui.select(names, value=asker.person.name, label="To", with_input=True).props("outlined dense")
        choice.classes("full-width")

        async def go() -> None:
            if choice.value and await asker.ask("assign", state, assignee=choice.value):
                dialog.close()

        buttons(dialog, "Assign", go)


def matchers_of(state: AlertState) -> list[Matcher]:
    """The scope that a silence of this alert begins with: its rule, its group, live or exercise."""
    return [
        Matcher(field="rule_id", value=state.rule_id),
        *(Matcher(field=f"group.{name}", value=value) for name, value in state.group.items()),
        Matcher(field="exercise", value="true" if state.exercise else "false"),
    ]


def describe(matcher: Matcher, title: str = "") -> str:
    """A matcher as people read it; ``title`` is that of its rule."""
    shown = f"{matcher.value} ({title})" if matcher.field == "rule_id" and title else matcher.value
    return f"{matcher.field} {matcher.op} {shown}"


def strays(matchers: Sequence[Matcher]) -> str:
    """Why a silence of these would reach beyond alerts like the one at hand; empty where it would not."""
    if any(each.field == "rule_id" or each.field.startswith("group.") for each in matchers):
        return ""
    return "Keep the rule or a part of the group: without both, alerts that have nothing to do with this one go silent."


def silence(asker: Asker, state: AlertState) -> None:
    """Ask for scope, time and reason of a silence of alerts like this one."""
    with asking("Silence alerts like this") as dialog:
        text("p", SILENCED).classes("soft")
        matchers = matchers_of(state)
        boxes = [ui.checkbox(describe(matcher, state.rule_title), value=True).props("dense") for matcher in matchers]

        def chosen() -> Scoped:
            kept = [matcher for matcher, box in zip(matchers, boxes, strict=True) if box.value]
            if complaint := strays(kept):
                raise ValueError(complaint)
            return kept, None

        show = silence_form(dialog, asker, chosen)
        for box in boxes:
            box.on_value_change(show)


def silence_form(
    dialog: ui.dialog, asker: Asker, chosen: Callable[[], Scoped]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Ask for time and reason of a silence, show what it would have hidden in the last days, and set it.

    ``chosen`` gives its matchers and the partner of a maintenance window, or raises ``ValueError`` with what is wrong.

    Returns:
        What brings the preview up to date.
    """
    hours = ui.select(DURATIONS, value=4, label="For").props("outlined dense").classes("full-width")
    area = area_of("Reason", "what is known, and whom to ask")
    would = text("p", "").props('role="status"').classes("desk-preview")
    complaint = text("p", "").props('role="alert"').classes("bad")

    async def show() -> None:
        try:
            matchers, partner = chosen()
        except ValueError as error:
            would.text, complaint.text = "", str(error)
            return
        complaint.text = ""
        would.text = "Looking at the last 7 days …"
        known = [each for each in asker.desk.live.states.values() if asker.person.sees(each.partners)]
        at = datetime.now(UTC)
        scope = await asyncio.to_thread(preview, asker.desk.store, matchers, partner, at, known=known)
        would.text = f"{preview_text(scope)} {window_text(partner)}".strip()

    async def go() -> None:
        reason = area.value.strip()
        if len(reason) < MIN_REASON:
            area.error = "Give a reason: the next watch has to understand it."
            return
        try:
            matchers, partner = chosen()
        except ValueError as error:
            complaint.text = str(error)
            return
        at = datetime.now(UTC)
        asked = Silence(
            silence_id=str(uuid.uuid4()),
            matchers=matchers,
            author=asker.person.name,
            reason=reason,
            starts_at=at,
            ends_at=at + timedelta(hours=hours.value),
            created_at=at,
            partner=partner,
        )
        if await asker.silence(asked):
            dialog.close()

    ui.timer(0.05, show, once=True)
    buttons(dialog, "Silence", go)
    return show


def window_text(partner: str | None) -> str:
    """What a maintenance window does."""
    return f"Alerts about the feed of {partner} will be silent." if partner else ""


def preview_text(scope: Scope) -> str:
    """What a silence would have hidden, in a sentence or two."""
    if not scope.total:
        found = f"In the last {PREVIEW_DAYS} days it would have hidden nothing."
    else:
        several = "alert" if scope.total == 1 else "alerts"
        found = (
            f"In the last {PREVIEW_DAYS} days it would have hidden {scope.total:,} {several} "
            f"({counts_text(scope.counts)}); {scope.active:,} of them active now. Latest: {scope.titles[0]}."
        )
    return found if scope.complete else f"{found} Not all could be looked at: some may be missing."
