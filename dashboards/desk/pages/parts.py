"""Building blocks of the pages: panels, charts with their words, buttons, and what is said when something fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from nicegui import ui
from nicegui.element import Element

from dashboards.alerts import StoreAwayError
from dashboards.desk import markup
from dashboards.desk.frame import heading, text
from schemas.partners import Partner, load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

LIMIT_S: Final = 4.0
"""A question that is not answered by then is given up. It ends by itself sooner (``app.READ_S``), but may have to wait
for a thread."""
_PANELS = count(1)
STYLE = '<link rel="stylesheet" href="/static/pages.css">'


def now() -> datetime:
    """The present, UTC: the one place where the pages ask for it."""
    return datetime.now(UTC)


async def asked(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the store something, on a thread. What ``call`` raises is raised here.

    Raises:
        StoreAwayError: as ``call`` does, or because it gives nothing within ``LIMIT_S``.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(call, *args, **kwargs), LIMIT_S)
    except TimeoutError as error:
        raise StoreAwayError(f"There was no answer within {LIMIT_S:.0f} s.") from error


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
    """A table of elements with its head, for rows that have buttons; the rows are made inside what is returned, of
    :func:`row` and :func:`cell`. A column without a name holds the buttons. Else as :func:`markup.table`."""
    scroll = ui.element("div").classes("table-scroll").props('tabindex="0" role="region"')
    scroll.props["aria-label"] = name
    with scroll, ui.element("table").classes("desk-table").props('role="table"'):
        with ui.element("thead").props('role="rowgroup"'), row():
            for column in columns:
                with ui.element("th").props('scope="col" role="columnheader"'):
                    text("span", column or "Action").classes("" if column else "sr-only")
        return ui.element("tbody").props('role="rowgroup"')


def row() -> Element:
    """A row of a :func:`table`."""
    return ui.element("tr").props('role="row"')


def cell(column: str, *, heads: bool = False) -> Element:
    """A cell of a :func:`row`, which it may head; what is in it is one element."""
    made = ui.element("th").props('scope="row" role="rowheader"') if heads else ui.element("td").props('role="cell"')
    if column:
        made.props["data-label"] = column
    return made


def notice(content: str, look: str = "") -> Element:
    """A framed remark."""
    made = text("p", content).classes("notice")
    made.classes.extend(look.split())
    return made


def failure(error: Exception) -> None:
    """What is wrong, where the page's contents would have been. Whoever asked a store that does not answer asks again:
    see ``filling``."""
    with ui.element("div").props('role="alert"'):
        if isinstance(error, StoreAwayError):
            notice("ClickHouse does not answer; trying again.", "is-bad")
            text("p", str(error)).classes("quiet")
        else:
            notice(f"This cannot be shown right now. {error}", "is-bad")


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
