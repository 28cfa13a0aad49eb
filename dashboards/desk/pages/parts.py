"""Building blocks of the pages: panels, charts with their words, buttons, and what is said when something fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from nicegui import ui
from nicegui.element import Element

from dashboards.desk import markup
from dashboards.desk.frame import heading, text
from schemas.partners import Partner, load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

_PANELS = count(1)
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


def notice(content: str, look: str = "") -> Element:
    """A framed remark."""
    made = text("p", content).classes("notice")
    made.classes.extend(look.split())
    return made


def failure(error: Exception) -> None:
    """What is wrong, where the page's contents would have been."""
    with ui.element("div").props('role="alert"'):
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
