"""The bar above the queue in which one chooses what it shows; every choice goes into the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from dashboards.desk import markup
from dashboards.desk.auth.roles import Person
from dashboards.desk.frame import text
from dashboards.desk.live import Live, Standing
from dashboards.desk.selection import NOBODY, Choice, Selection, parse, values_of
from dashboards.palette import LEVELS
from schemas.lifecycle import PRIORITIES, Priority

STATES: Final = {
    "active": "Active",
    "open": "Open",
    "acknowledged": "Acknowledged",
    "assigned": "Assigned",
    "in_progress": "In progress",
    "closed": "Closed",
    "all": "All",
}
EXERCISES: Final = {"all": "Live, exercise", "live": "Live only", "exercise": "Exercise only"}
ORDERS: Final = {"oldest": "Oldest first", "newest": "Newest first"}


class Filters:
    """The bar; ``choose`` is called with every new choice, whose page is the first."""

    def __init__(self, live: Live, person: Person, choice: Choice, choose: Callable[[Choice], None]) -> None:
        self._choice, self._choose = choice, choose
        known = values_of(live.states.values(), lambda state: person.sees(state.partners))
        if person.role == "partner":
            # What these lists offer would tell who works here, and of places that are held back.
            known |= {"assignee": [], "country": []}
        self._priorities: dict[Priority, Any] = {}
        with ui.element("form").classes("queue-bar").props('role="search" aria-label="Filter the queue"') as form:
            form.on("submit", js_handler="(event) => event.preventDefault()")
            for priority in PRIORITIES:
                self._priority(priority)
            self._select("state", "State", STATES)
            self._select("exercise", "Kind", EXERCISES)
            self._select("level", "Level", {"": "Any level", **{level: f"{level} and above" for level in LEVELS}})
            self._select("partner", "Partner", _any("Any partner", known["partner"], choice.partner))
            self._select("family", "Family", _any("Any family", known["family"], choice.family))
            self._select("country", "Country", _any("Any country", known["country"], choice.country))
            people = {"": "Anybody's", person.name: "Mine", NOBODY: "Nobody's"}
            self._select("assignee", "Assignee", people | _any("Anybody's", known["assignee"], choice.assignee, people))
            self._select("order", "Order", ORDERS)
            self._search()
            self._hidden()
            with ui.element("a").props('href="/"').classes("desk-switch") as self._clear:
                ui.icon("filter_alt_off")
                text("span", "Clear")
            self._summary = text("p", "").props('role="status"').classes("queue-summary soft")

    def show(self, found: Selection, standing: Standing) -> None:
        """Bring counts and marks up to date."""
        for priority, (button, count) in self._priorities.items():
            count.text = f"{found.counts[priority]:,}"
            button.props('aria-pressed="true"' if priority in self._choice.priority else 'aria-pressed="false"')
        self._held.text = f"{found.held_back:,} silenced, inhibited or merged"
        self._clear.set_visibility(self._choice.restricts)
        several = "alert" if len(found.states) == 1 else "alerts"
        unread = "" if standing.loaded else f" ({standing.text})"
        hidden = "" if self._choice.hidden or not found.held_back else f", {found.held_back:,} hidden"
        self._summary.text = f"{len(found.states):,} {several}{hidden}{unread}"

    def _change(self, **changes: Any) -> None:
        self._choice = replace(self._choice, **changes, page=1)
        self._choose(self._choice)

    def _priority(self, priority: Priority) -> None:
        with ui.element("button").props('type="button"').classes("priority-filter") as button:
            button.classes.append(f"priority-{priority}")
            text("span", priority)
            count = text("b", "0")
        self._priorities[priority] = (button, count)

        def press() -> None:
            wanted = set(self._choice.priority) ^ {priority}
            self._change(priority=tuple(each for each in PRIORITIES if each in wanted))

        button.on("click", press)

    def _select(self, name: str, label: str, options: Mapping[str, str]) -> None:
        chosen = str(getattr(self._choice, name))
        # One element whatever it offers: the server keeps and serialises each of a page.
        select = ui.html(markup.options(options, chosen), sanitize=False, tag="select")
        select.props["aria-label"] = label
        select.props["name"] = name

        def change(event: GenericEventArguments) -> None:
            # Through the parser: what comes from a browser may be anything.
            self._change(**{name: getattr(parse({name: str(event.args)}), name)})

        select.on("change", change, js_handler="(event) => emit(event.target.value)")

    def _search(self) -> None:
        box = ui.element("input").props('type="search" id="search" aria-label="Search" placeholder="Search  /"')
        # As an attribute: a property would be set back at every change of the page, in the midst of typing.
        box.props["^value"] = self._choice.q
        box.on(
            "input",
            lambda event: self._change(q=str(event.args).strip()[:200]),
            js_handler="(event) => emit(event.target.value)",
            throttle=0.25,
        )

    def _hidden(self) -> None:
        with ui.element("label").classes("queue-hidden"):
            box = ui.element("input").props('type="checkbox" name="hidden"')
            if self._choice.hidden:
                box.props["checked"] = True
            self._held = text("span", "")
        box.on(
            "change", lambda event: self._change(hidden=event.args is True), js_handler="(e) => emit(e.target.checked)"
        )


def _any(label: str, values: Sequence[str], chosen: str, named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Options: no restriction, the values that occur, and the one chosen even where it does not."""
    taken = named or {}
    more = sorted({*values, *([chosen] if chosen else [])} - set(taken))
    return ({} if named else {"": label}) | {value: value for value in more}
