"""The pages ``/runbooks`` and ``/runbooks/NAME``: what to do when the platform itself is in trouble.

They come from files in the package, so that they can be read while Kafka and ClickHouse are down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Request
from nicegui import ui

from dashboards.desk import markup
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.frame import frame, page
from dashboards.desk.pages.parts import notice, panel, raw, style

FOLDER: Final = Path(__file__).resolve().parents[2] / "runbooks"
EXTRAS: Final = ["tables", "fenced-code-blocks", "highlightjs-lang"]
"""The last one leaves code as it is: colours of a highlighter would not pass the contrast that the desk keeps to."""


@dataclass(frozen=True, slots=True)
class Runbook:
    """One page: its title, what shows that it is the right one, and the rest as Markdown."""

    name: str
    title: str
    symptom: str
    text: str


@cache
def runbooks() -> Mapping[str, Runbook]:
    """All runbooks by name, which is what links say."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.md"))}


def _read(path: Path) -> Runbook:
    title, symptom, rest = path.read_text(encoding="utf-8").split("\n\n", 2)
    return Runbook(path.stem, title.removeprefix("# "), symptom.replace("\n", " "), rest)


def register(_: Desk) -> None:
    """Serve the pages."""

    @page("/runbooks")
    def list_page(request: Request) -> None:
        with frame("Runbooks", person_of(request), "runbooks"):
            style()
            with panel("Which one is it?"):
                rows = (
                    (markup.link(each.title, f"/runbooks/{each.name}"), markup.prose(each.symptom)) for each in _all()
                )
                raw(markup.table("Runbooks by what shows", ("Runbook", "What shows"), rows, hide_caption=True))

    @page("/runbooks/{name}")
    def runbook_page(request: Request, name: str) -> None:
        found = runbooks().get(name)
        with frame(found.title if found else "No such runbook", person_of(request), "runbooks"):
            style()
            if found is None:
                notice(f"There is no runbook {name!r}. Those there are: {', '.join(runbooks())}.")
                return
            with ui.element("section").classes("panel runbook"):
                ui.markdown(found.symptom, sanitize=False)
                ui.markdown(found.text, extras=EXTRAS, sanitize=False)


def _all() -> list[Runbook]:
    return sorted(runbooks().values(), key=lambda each: each.title)
