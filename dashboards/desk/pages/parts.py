"""Building blocks of the pages: panels, charts with their words, buttons, and what is said when something fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

from nicegui import ui
from nicegui.element import Element

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk import markup
from dashboards.desk.frame import heading, text, this_desk
from schemas.partners import Partner, load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 3.0
PATIENCE: Final = 10
_PANELS = count(1)
BUILD_S = 10.0
"""Seconds in which a page has to be built; it says itself that ClickHouse is slow or away. After NiceGUI's 3 seconds
the answer was an empty error 500."""
STYLE = '<link rel="stylesheet" href="/static/pages.css">'


def now() -> datetime:
    """The present, UTC: the one place where the pages ask for it."""
    return datetime.now(UTC)


async def asked(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask something that blocks, on a thread. What it raises is raised here."""
    return await asyncio.to_thread(call, *args, **kwargs)


def style() -> None:
    """The pages' style sheet."""
    ui.add_head_html(STYLE)


def raw(content: markup.Html) -> ui.html:
    """HTML that :mod:`dashboards.desk.markup` made, which escapes what comes from outside."""
    return ui.html(content, sanitize=False)


@contextmanager
def panel(title: str, span: int = 12) -> Iterator[Element]:
    """A titled section of the page's grid."""
    anchor = f"panel-{next(_PANELS)}"
    with ui.element("section").classes("panel") as section:
        section.classes.append(f"span-{span}")
        # By item: the texts that props() takes are parsed, and what is in some of them is run in the browser.
        section.props["aria-labelledby"] = anchor
        heading(title, 2).props["id"] = anchor
        yield section


def chart(options: dict[str, Any], height: int, told: str) -> ui.echart:
    """A chart that looks right in both themes; ``told`` says in words what it shows."""
    drawn = ui.echart(options, renderer="svg").classes("chart")
    drawn.style["height"] = f"{height}px"
    drawn.props["role"] = "img"
    drawn.props["aria-label"] = told
    return drawn


def button(label: str, icon: str, on_click: Callable[[], Any], *, main: bool = False) -> Element:
    """A button of the desk's look."""
    made = ui.element("button").props('type="button"').classes("desk-button is-main" if main else "desk-button")
    with made.on("click", on_click):
        ui.icon(icon).props('aria-hidden="true"')
        text("span", label)
    return made


def table(name: str, columns: Sequence[str]) -> Element:
    """A table of elements with its head, for rows that have buttons; they are made inside what is returned. A column
    without a name holds the buttons."""
    scroll = ui.element("div").classes("table-scroll").props('tabindex="0" role="region"')
    scroll.props["aria-label"] = name
    with scroll, ui.element("table").classes("desk-table"):
        with ui.element("thead"), ui.element("tr"):
            for column in columns:
                with ui.element("th").props('scope="col"'):
                    text("span", column or "Action").classes("" if column else "sr-only")
        return ui.element("tbody")


def notice(content: str, look: str = "") -> Element:
    """A framed remark."""
    made = text("p", content).classes("notice")
    made.classes.extend(look.split())
    return made


def failure(error: Exception, again: Callable[[], Awaitable[None]] | None = None) -> None:
    """What is wrong, where the page's contents would have been. While the store is away it is asked every few seconds
    whether it is back; then ``again`` fills the gap, or the whole page is loaded anew."""
    with ui.element("div").props('role="alert"') as shown:
        if not isinstance(error, StoreAwayError):
            notice(f"This cannot be shown right now. {error}", "is-bad")
            return
        notice(f"This cannot be shown right now. {error} The page fills itself once the store answers.", "is-bad")
        _Return(shown, again).wait()


async def _answers(store: Store) -> bool:
    try:
        await asked(store.rows, "SELECT 1")
    except StoreAwayError:
        return False
    return True


class _Return:
    """Waits for the store. All open pages ask it by one question at a time: a store that takes long to say nothing must
    not hold every thread."""

    _question: ClassVar[asyncio.Task[bool] | None] = None

    def __init__(self, shown: Element, again: Callable[[], Awaitable[None]] | None) -> None:
        self._shown, self._again, self._client = shown, again, ui.context.client
        self._store = this_desk().store
        self._asked, self._was_away = 0, False

    def wait(self) -> None:
        """Begin to ask."""
        self._timer = ui.timer(ASK_AGAIN_S, self._ask, immediate=False)

    async def _ask(self) -> None:
        self._asked += 1
        question = _Return._question
        if question is None or question.done():
            question = _Return._question = asyncio.create_task(_answers(self._store))
        if not await asyncio.shield(question):
            self._was_away = True
            return
        # A store that answers this, and not what the page asks, would have it loaded without end.
        if not self._was_away and self._asked < PATIENCE:
            return
        self._timer.deactivate()
        if self._again is None:
            self._client.run_javascript("location.reload()")
            return
        try:
            await self._again()
        except StoreAwayError:
            self._asked, self._was_away = 0, False
            self._timer.activate()
        else:
            # Whoever filled the gap may have put it away with what was around it.
            if not self._shown.is_deleted:
                self._shown.delete()


@cache
def _partners(path: Path, _: float) -> Mapping[str, Partner]:
    return load_partners(path).by_id


def partners(settings: Settings) -> Mapping[str, Partner]:
    """The partners of ``partners.yml`` by id, read again when the file has changed."""
    return _partners(settings.partners_file, settings.partners_file.stat().st_mtime)


def partner_names(settings: Settings) -> dict[str, str]:
    """Names of partners by id; while the file is broken those known last, and none (so that pages show ids) before."""
    path = settings.partners_file
    try:
        _names[path] = {partner.id: partner.name for partner in partners(settings).values()}
    except (ConfigError, OSError) as error:
        log.warning("names of partners are those known last: %s", error)
    return dict(_names.get(path, {}))


_names: dict[Path, dict[str, str]] = {}
