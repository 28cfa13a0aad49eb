"""What a person may do to an alert: buttons of what its state allows, a dialog where the verb needs to know more.

Every request carries the revision that the person had in sight when the dialog opened, so that of two officers one
wins; the other is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from nicegui import ui
from nicegui.element import Element

from dashboards.desk import dialogs, keys
from dashboards.desk.asking import Asker
from dashboards.desk.frame import heading, text
from dashboards.desk.pages.parts import button
from processors.lifecycle.machine import allowed, refusal
from schemas.lifecycle import AlertState, State, Verb

HOLDS: Final = {900: "15 minutes", 1800: "30 minutes", 3600: "1 hour", 4 * 3600: "4 hours", 8 * 3600: "8 hours"}
BUTTONS: Final[tuple[tuple[Verb, str, str], ...]] = (
    ("acknowledge", "Acknowledge", "visibility"),
    ("assign", "Assign", "person_add"),
    ("start", "Start work", "play_arrow"),
    ("note", "Note", "edit_note"),
    ("close", "Close", "check"),
    ("reopen", "Reopen", "replay"),
    ("unacknowledge", "Give back", "undo"),
    ("merge", "Merge", "call_merge"),
    ("split", "Split off", "call_split"),
    ("silence", "Silence", "notifications_off"),
)
NEXT: Final[dict[State, Verb]] = {
    "open": "acknowledge",
    "acknowledged": "start",
    "assigned": "start",
    "in_progress": "close",
    "closed": "reopen",
}
"""What usually comes next: its button stands out."""
MAX_TARGETS: Final = 200
FOCUS_MS: Final = 500
"""Longer than it takes Quasar to put a dialog away, after which it gives the focus back."""


def offered(state: AlertState, may: Callable[[Verb], bool]) -> list[Verb]:
    """Verbs whose buttons are shown, in the order of the bar."""
    possible = {*allowed(state), *(("silence",) if state.is_active else ())}
    return [verb for verb, _, _ in BUTTONS if verb in possible and may(verb)]


def targets(state: AlertState, others: list[AlertState]) -> dict[str, str]:
    """Alerts that this one can be put under, with a name for each: those that share most of its group first, then those
    of its rule, then those raised at about the same time."""
    possible = [
        other for other in others if other.is_active and other.alert_id != state.alert_id and other.merged_into is None
    ]
    group = set(state.group.items())
    possible.sort(
        key=lambda each: (
            -len(group & set(each.group.items())),
            each.rule_id != state.rule_id,
            abs(each.raised_at - state.raised_at),
        )
    )
    return {each.alert_id: f"{each.priority} · {each.story or each.rule_title}" for each in possible[:MAX_TARGETS]}


def _remark(state: AlertState | None, shown: list[Verb]) -> str:
    if state is None:
        return "No actions yet: the lifecycle worker has not taken the alert in."
    return "" if shown else "Your role may look, not act."


class ActionBar:
    """The buttons of one alert; ``current`` is its state as the page shows it."""

    def __init__(self, asker: Asker, current: Callable[[], AlertState | None]) -> None:
        self._asker, self._current = asker, current
        self._buttons: dict[Verb, Element] = {}
        self._asked: Verb | None = None

    def build(self) -> None:
        """Make the bar where the page stands."""
        with ui.element("div").classes("action-bar").props('role="group" aria-label="Actions"'):
            self._remark = text("span", "").classes("quiet")
            for verb, label, icon in BUTTONS:
                if self._asker.may(verb):
                    key = next((key for key, named in keys.VERBS.items() if named == verb), "")
                    made = button(label, icon, partial(self._open, verb))
                    made.props(f'title="{label}, key {key}" aria-keyshortcuts="{key}"' if key else f'title="{label}"')
                    self._buttons[verb] = made
        self.refresh()
        keys.listen(self._key)

    def refresh(self) -> None:
        """The state has changed. Buttons are shown and hidden, not made anew: the focus stays where it is."""
        state = self._current()
        shown = offered(state, self._asker.may) if state is not None else []
        for verb, made in self._buttons.items():
            made.set_visibility(verb in shown)
            made.classes(**{"add" if state is not None and verb == NEXT[state.state] else "remove": "is-main"})
        self._remark.text = _remark(state, shown)
        self._remark.set_visibility(not shown)
        if state is not None and self._asked is not None and self._asked not in shown:
            self._asked = None
            self._focus(self._buttons.get(NEXT[state.state]))

    def _focus(self, next_one: Element | None) -> None:
        """Where the button that somebody just pressed has gone, the focus goes to the next, once the dialog is away."""
        if next_one is not None:
            look = f"document.activeElement === document.body && getHtmlElement({next_one.id})?.focus()"
            self._asker.client.run_javascript(f"setTimeout(() => {look}, {FOCUS_MS})")

    async def _key(self, verb: Verb, _: str) -> None:
        state = self._current()
        if state is None:
            return
        if not self._asker.may(verb):
            self._asker.refuse(verb)
        elif verb not in offered(state, self._asker.may):
            self._asker.say(f"Not possible: {refusal(state)}", "warning")
        elif verb == "acknowledge":
            await self._asker.ask("acknowledge", state)
        elif verb == "assign":
            await self._asker.ask("assign", state, assignee=self._asker.person.name)
        else:
            self._open(verb)

    def _open(self, verb: Verb) -> None:
        """Ask what the verb needs to know, then do it."""
        self._asked = verb
        state = self._current()
        if state is None:
            return
        # Not among the buttons: those are made anew when the state changes, and an open dialog must outlive that.
        with self._asker.client:
            self._ask(verb, state)

    def _ask(self, verb: Verb, state: AlertState) -> None:
        match verb:
            case "note":
                dialogs.note(self._asker, state)
            case "close":
                dialogs.close(self._asker, state)
            case "silence":
                dialogs.silence(self._asker, state)
            case "assign":
                accounts = self._asker.desk.accounts.all()
                names = [each.name for each in accounts if each.role != "partner" and not each.disabled]
                dialogs.assign(self._asker, state, names)
            case "acknowledge":
                self._acknowledge(state)
            case "merge":
                self._merge(state)
            case _:
                self._plain(verb, state)

    def _acknowledge(self, state: AlertState) -> None:
        def inputs() -> Callable[[], dict[str, Any]]:
            text("p", "It is yours to look at. When the time is over and nobody has acted, it is open again.")
            held = ui.select(HOLDS, value=1800, label="For").props("outlined dense").classes("full-width")
            return lambda: {"for_s": held.value}

        self._dialog("Acknowledge", "acknowledge", state, inputs)

    def _merge(self, state: AlertState) -> None:
        person, states = self._asker.person, self._asker.desk.live.states
        names = targets(state, [each for each in states.values() if person.sees(each.partners)])

        def inputs() -> Callable[[], dict[str, Any]]:
            text("p", "This alert goes under the one you choose. Both keep their evidence; it can be split off again.")
            chosen = ui.select(names, label="Under which alert", with_input=True).props("outlined dense")
            chosen.classes("full-width")
            return lambda: {"target": chosen.value}

        self._dialog("Merge", "merge", state, inputs)

    def _plain(self, verb: Verb, state: AlertState) -> None:
        label = next(label for named, label, _ in BUTTONS if named == verb)
        self._dialog(label, verb, state, lambda: dict)

    def _dialog(
        self, title: str, verb: Verb, state: AlertState, inputs: Callable[[], Callable[[], dict[str, Any]]]
    ) -> None:
        with ui.dialog() as dialog, ui.element("div").classes("desk-dialog"):
            dialog.props(f'aria-label="{title}"').on("hide", dialog.delete)
            heading(title)
            fields = inputs()
            why = ui.textarea("Why (kept in the history)").props("autogrow outlined dense maxlength=10000")
            why.classes("full-width")

            async def go() -> None:
                found = {name: value for name, value in fields().items() if value}
                if verb == "merge" and "target" not in found:
                    self._asker.say("Choose the alert that this one goes under.", "warning")
                    return
                if await self._asker.ask(verb, state, text=why.value.strip(), **found):
                    dialog.close()

            with ui.element("div").classes("desk-buttons"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button(title, on_click=go).props("unelevated no-caps color=primary")
        dialog.open()
