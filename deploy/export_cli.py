"""``tocsin alerts export``: one alert for other systems, as STIX 2.1 or CAP 1.2. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboards.exports import Format, exported
from deploy.alerts_cli import AlertId, app, open_store, readable_errors
from deploy.options import DataDir
from schemas.settings import Settings


@app.command()
def export(
    alert_id: AlertId,
    wanted: Annotated[Format, typer.Option("--format", help="STIX 2.1 bundle (JSON) or CAP 1.2 message (XML).")],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    sender: Annotated[
        str | None, typer.Option(help="CAP sender: globally unique, such as a domain of yours (TOCSIN_CAP_SENDER).")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Export one alert for other systems. The same alert in the same state gives the same bytes.

    Each object is marked with the strictest TLP level of its evidence; whom you may send it to is for you to judge.
    """
    settings = Settings.load(data_dir)
    with readable_errors():
        store = open_store(data_dir)
        text = exported(settings, store, store.resolve(alert_id), wanted, sender or settings.cap_sender)
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_bytes(text)
    typer.echo(f"wrote {out} ({len(text)} bytes)", err=True)
