"""Which alerts a list shows, in which order, and how that reads in an address. Pure.

The same names are query parameters of the queue page and of ``GET /api/v1/alerts``; what has its default is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

from dashboards.palette import LEVELS
from processors.lifecycle.groups import WATCHDOG_TAG
from schemas.lifecycle import PRIORITIES, AlertState, Priority

Which = Literal["active", "open", "acknowledged", "assigned", "in_progress", "closed", "all"]
Kept = Literal["all", "live", "exercise"]
Order = Literal["oldest", "newest"]
WHICH: Final[tuple[Which, ...]] = get_args(Which)
KEPT: Final[tuple[Kept, ...]] = get_args(Kept)
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
MAX_CURSOR: Final = 1_000
"""Ours have a tenth of it; nested brackets of this length stay far from Python's limit."""
NOBODY: Final = "-"
"""As ``assignee``: alerts that nobody has."""


class CursorError(ValueError):
    """A cursor that no answer of ours gave."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a list shows. Empty means no restriction; ``level`` is the lowest level shown.

    ``state`` active leaves out what is closed, withdrawn or goes on under another id. ``hidden`` shows the silenced,
    inhibited and merged too, and the watchdog, which always fires. ``q`` are words that must all occur. ``page`` counts
    from 1.
    """

    state: Which = "active"
    priority: tuple[Priority, ...] = ()
    level: str = ""
    partner: str = ""
    family: str = ""
    country: str = ""
    assignee: str = ""
    exercise: Kept = "all"
    q: str = ""
    hidden: bool = False
    order: Order = "oldest"
    page: int = 1

    @property
    def restricts(self) -> bool:
        """Whether anything but the page differs from the default."""
        return replace(self, page=1) != Choice()


def parse(query: Mapping[str, str]) -> Choice:
    """The choice in an address; a value that is not known restricts nothing."""
    state, kept, order = query.get("state", ""), query.get("exercise", ""), query.get("order", "")
    wanted = set(query.get("priority", "").split(","))
    level = query.get("level", "")
    return Choice(
        state=state if state in WHICH else "active",
        priority=tuple(each for each in PRIORITIES if each in wanted),
        level=level if level in LEVELS else "",
        **{name: query.get(name, "").strip() for name in ("partner", "family", "country", "assignee", "q")},
        exercise=kept if kept in KEPT else "all",
        hidden=query.get("hidden") == "1",
        order=order if order in ORDERS else "oldest",
        page=_page(query.get("page", "")),
    )


def _page(value: str) -> int:
    return max(1, int(value)) if value.isascii() and value.isdigit() and len(value) < 7 else 1


def format_query(choice: Choice) -> str:
    """The choice as the query part of an address, without the question mark; empty for the default."""
    default = Choice()
    pairs = {
        field.name: _value(getattr(choice, field.name))
        for field in fields(choice)
        if getattr(choice, field.name) != getattr(default, field.name)
    }
    return urlencode(pairs)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return "1" if value is True else str(value)


def is_held_back(state: AlertState) -> bool:
    """Whether a silence, an incident or a merge takes it out of the queue."""
    return bool(state.silences or state.inhibited_by or state.merged_into)


def is_watchdog(state: AlertState) -> bool:
    """Whether it is the alert that always fires; it is nobody's work as long as it comes."""
    return WATCHDOG_TAG in state.tags


def lets_through(choice: Choice, state: AlertState) -> bool:
    """Whether the choice shows the alert, ``hidden`` and ``priority`` apart: those are counted."""
    if choice.state == "active":
        if not state.is_active:
            return False
    elif choice.state != "all" and choice.state != state.state:
        return False
    if choice.exercise != "all" and state.exercise != (choice.exercise == "exercise"):
        return False
    if choice.level and (state.level not in LEVELS or LEVELS.index(state.level) > LEVELS.index(choice.level)):
        return False
    if choice.partner and choice.partner not in state.partners:
        return False
    if choice.family and choice.family not in state.families:
        return False
    if choice.country and choice.country not in state.countries:
        return False
    if choice.assignee and (state.assignee or NOBODY) != choice.assignee:
        return False
    return not choice.q or _has_words(state, choice.q)


def _has_words(state: AlertState, words: str) -> bool:
    text = "\n".join(
        (
            *(state.alert_id, state.rule_title, state.story, state.assignee or ""),
            *(*state.group.values(), *state.partners, *state.places, *state.countries, *state.families, *state.tags),
        )
    ).casefold()
    return all(word in text for word in words.casefold().split())


def order_of(state: AlertState, order: Order = "oldest") -> tuple[int, float, str]:
    """Sort key: P1 first, within a priority what waits longest (or, on wish, what came last)."""
    raised = state.raised_at.timestamp()
    return PRIORITIES.index(state.priority), raised if order == "oldest" else -raised, state.alert_id


@dataclass(frozen=True, slots=True)
class Selection:
    """``states`` in order; ``counts`` per priority of what the rest of the choice lets through, and how many of those
    shown or not are held back."""

    states: list[AlertState]
    counts: dict[Priority, int]
    held_back: int


def select(states: Iterable[AlertState], choice: Choice, sees: Callable[[AlertState], bool]) -> Selection:
    """The alerts that the choice shows to somebody who ``sees`` those."""
    found = sift(states, choice, sees)
    found.states.sort(key=lambda state: order_of(state, choice.order))
    return found


def sift(states: Iterable[AlertState], choice: Choice, sees: Callable[[AlertState], bool]) -> Selection:
    """As :func:`select`, in the order of ``states``."""
    counts: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
    shown: list[AlertState] = []
    held_back = 0
    for state in states:
        if not lets_through(choice, state) or not sees(state) or (is_watchdog(state) and not choice.hidden):
            continue
        if is_held_back(state):
            held_back += not choice.priority or state.priority in choice.priority
            if not choice.hidden:
                continue
        counts[state.priority] += 1
        if not choice.priority or state.priority in choice.priority:
            shown.append(state)
    return Selection(shown, counts, held_back)


def page_of(states: list[AlertState], page: int, size: int) -> tuple[list[AlertState], int, int]:
    """The rows of a page, its number (the last one where there are fewer), and the number of pages, at least 1."""
    pages = max(1, -(-len(states) // size))
    page = min(page, pages)
    return states[(page - 1) * size : page * size], page, pages


def cursor_of(state: AlertState, order: Order) -> str:
    """What continues a list behind that alert, whatever has come or gone meanwhile."""
    return base64.urlsafe_b64encode(json.dumps(order_of(state, order)).encode()).decode().rstrip("=")


def after(states: list[AlertState], cursor: str, order: Order) -> list[AlertState]:
    """The rest of an ordered list behind a cursor.

    Raises:
        CursorError: it is none.
    """
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError("too long")
        found: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        mark = (int(found[0]), float(found[1]), str(found[2]))
    except (binascii.Error, ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        raise CursorError("the cursor is not one that an answer of this API gave; start again without it") from error
    return [state for state in states if order_of(state, order) > mark]


def values_of(states: Iterable[AlertState], sees: Callable[[AlertState], bool]) -> dict[str, list[str]]:
    """What may be chosen: the partners, families, countries and assignees of the active alerts, sorted."""
    found: dict[str, set[str]] = {"partner": set(), "family": set(), "country": set(), "assignee": set()}
    for state in states:
        if state.is_active and sees(state):
            found["partner"].update(state.partners)
            found["family"].update(state.families)
            found["country"].update(state.countries)
            found["assignee"].update([state.assignee] if state.assignee else [])
    return {name: sorted(values) for name, values in found.items()}
