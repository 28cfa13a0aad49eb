"""``python -m tests.dashboards.desk.auth.served FOLDER PORT``: a desk of NiceGUI pages behind the real gate."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI
from nicegui import ui

from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.binding import bind_clients
from dashboards.desk.auth.install import install_auth
from dashboards.desk.auth.permissions import current_person, person_of, requires
from dashboards.desk.auth.roles import Person
from schemas.settings import Settings


@ui.page("/")
def home(person: Person = Depends(current_person)) -> None:
    """What NiceGUI has that a policy could forbid: templates, charts, maps, workers, sounds, events."""
    ui.label(f"hello {person.name}")
    said = ui.label("nothing yet")
    ui.button("Say", on_click=lambda: said.set_text(f"said by {person_of(ui.context.client).name}"))
    columns = [{"name": "a", "label": "A", "field": "a"}]
    table = ui.table(columns=columns, rows=[{"a": "cell"}])
    table.add_slot("body-cell-a", '<q-td :props="props"><b>{{ props.value }} of a template</b></q-td>')
    ui.echart({"xAxis": {"type": "category"}, "yAxis": {}, "series": [{"type": "bar", "data": [1]}]})
    ui.leaflet(center=(52.5, 13.4)).clear_layers()
    ui.audio("data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=")


@ui.page("/rules-of-old")
def unlisted(person: Person = Depends(requires("rules"))) -> None:
    """A page that only its own dependency protects."""
    ui.label(f"rules for {person.name}")


def main() -> None:
    """Serve until stopped."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    settings, app = Settings(data_dir=folder), FastAPI()
    access = AccessLog(settings, insert=lambda _: None)
    install_auth(app, settings, access=access)
    ui.run_with(app, show_welcome_message=False, dark=True, language="en-US")
    bind_clients()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
    access.close()


if __name__ == "__main__":
    main()
