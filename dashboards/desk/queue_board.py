"""What all open queues show, worked out once for those who look at the same.

A desk may have 20,000 alerts and a dozen screens, and a burst changes something many times a second. So the ordered
lists are shared, what a choice lets through is kept until the log moves on, and it is worked out at most once in
``EVERY_S`` for each choice, however many look.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from dashboards.desk.auth.roles import Person
from dashboards.desk.live import Live
from dashboards.desk.partner_view import Eyes, as_seen
from dashboards.desk.selection import Choice, Order, Selection, order_of, sift
from schemas.lifecycle import AlertState

EVERY_S: Final = 1.0
MAX_KEPT: Final = 64

Version = tuple[int, int]
_Sight = tuple[bool, str | None]


@dataclass(frozen=True, slots=True)
class Look:
    """``stale_s`` are seconds until it may be worked out anew; ``None`` when it is what the log says now."""

    found: Selection
    stale_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    version: Version
    at: float
    found: Selection


class Board:
    """The lists of one desk. Use on the event loop; ``clock`` gives seconds that never go back."""

    def __init__(self, live: Live, clock: Callable[[], float] = time.monotonic) -> None:
        self._live, self._clock = live, clock
        self._kept: OrderedDict[tuple[Choice, _Sight], _Kept] = OrderedDict()
        self._ordered: dict[tuple[bool, Order], tuple[Version, list[AlertState]]] = {}

    def look(self, choice: Choice, person: Person, eyes: Eyes) -> Look:
        """What the choice shows to the person with these ``eyes``, whatever its page."""
        key = (replace(choice, page=1), _sight(person))
        version, now = _version(self._live), self._clock()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            if kept.version == version:
                return Look(kept.found)
            if (stale_s := kept.at + EVERY_S - now) > 0:
                return Look(kept.found, stale_s)
        seen = (as_seen(state, eyes) for state in self._in_order(choice, version) if person.sees(state.partners))
        # What is blanked is not searched either.
        found = sift(seen, choice, lambda _: True)
        self._kept[key] = _Kept(version, now, found)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return Look(found)

    def _in_order(self, choice: Choice, version: Version) -> list[AlertState]:
        active = choice.state == "active"
        known = self._ordered.get((active, choice.order))
        if known is not None and known[0] == version:
            return known[1]
        states = (state for state in self._live.states.values() if state.is_active or not active)
        ordered = sorted(states, key=lambda state: order_of(state, choice.order))
        self._ordered[(active, choice.order)] = (version, ordered)
        return ordered


def _version(live: Live) -> Version:
    """Differs whenever an alert changed, came or was forgotten: each change takes a higher place in the log."""
    return live.end, len(live.states)


def _sight(person: Person) -> _Sight:
    """What :meth:`Person.sees` looks at: those with the same see the same alerts."""
    return person.may("view"), person.partner or "" if person.role == "partner" else None
