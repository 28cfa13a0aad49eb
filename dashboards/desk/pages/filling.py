"""What a page has to ask ClickHouse for: in its answer when it comes at once, else a moment after it.

A page is sent with its frame and ``Loading …`` after ``SOON_S`` at the latest, so that a busy store keeps nobody before
an empty window; what comes later is pushed into it. A store that does not answer is asked again until it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain, repeat
from typing import Final, TypeVar

from nicegui import background_tasks, ui

from dashboards.alerts import StoreAwayError
from dashboards.desk.frame import text
from dashboards.desk.pages.parts import failure

T = TypeVar("T")

SOON_S: Final = 0.15
LOADING: Final = "is-loading"
"""Class of what is shown until the contents come."""
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Between a question that was not answered and the next; the last one is kept."""

log = logging.getLogger(__name__)


async def ask_on(ask: Callable[[], Awaitable[T]], away: Callable[[StoreAwayError], bool]) -> T | None:
    """Ask until there is an answer, with growing pauses. ``away`` is told of each that fails, and says whether to go
    on; ``None`` when it does not."""
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        try:
            return await ask()
        except StoreAwayError as error:
            if not away(error):
                return None
        await asyncio.sleep(pause_s)
    raise AssertionError("repeat() does not end")


async def fill(load: Callable[[], Awaitable[T]], show: Callable[[T], object]) -> None:
    """Show what ``load`` gives at this place of the page; returns when it, or what went wrong, is shown, and after
    ``SOON_S`` at the latest. ``show`` makes the elements."""
    place = _Place()

    async def bring() -> None:
        try:
            found = await ask_on(load, place.away)
            if found is not None:
                place.put(partial(show, found))
        except Exception as error:  # files of rules, of partners: whatever it was, the page has to say so
            log.warning("a page cannot be shown", exc_info=True)
            place.put(partial(failure, error))

    background_tasks.create(bring(), name="fill a page")
    await place.settle()


def loading(said: str) -> None:
    """Say that something is to come here."""
    made = text("p", said).classes("quiet").props('role="status"')
    made.classes.append(LOADING)


class _Place:
    """Where contents are to come, in an open page."""

    def __init__(self) -> None:
        self._box = ui.element("div").classes("filling")
        self._filled = asyncio.Event()
        self._said = ""

    async def settle(self) -> None:
        """Wait for the contents; after a moment say that they are to come."""
        try:
            await asyncio.wait_for(self._filled.wait(), SOON_S)
        except TimeoutError:
            with self._box:
                loading("Loading …")

    def away(self, error: StoreAwayError) -> bool:
        """Say so, once: it is read aloud. Whether anybody would still see an answer."""
        if str(error) != self._said:
            self._said = str(error)
            self.put(partial(failure, error))
        return not self._box.is_deleted

    def put(self, make: Callable[[], object]) -> None:
        """Fill the place anew."""
        if not self._box.is_deleted:
            self._box.clear()
            with self._box:
                make()
        self._filled.set()
