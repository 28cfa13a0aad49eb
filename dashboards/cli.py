"""``tocsin dashboards``: build the Grafana dashboard from code, check that its queries run, picture the watch desk."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dashboards.grafana import build as grafana_build
from dashboards.grafana import check as grafana_check
from schemas.settings import Settings
from streams import store as clickhouse

app = typer.Typer(help="Grafana dashboards as code, and pictures of the watch desk.", no_args_is_help=True)


@app.command()
def build(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the file differs.")] = False,
) -> None:
    """Write the dashboard's JSON from its code."""
    built, path = grafana_build.text(), grafana_build.DASHBOARD_FILE
    same = path.is_file() and path.read_text() == built
    if check:
        if not same:
            typer.echo(f"{path} is not what the code builds. Run: tocsin dashboards build", err=True)
            raise typer.Exit(1)
        typer.echo(f"{path} is what the code builds.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(built)
    typer.echo(f"{path} {'was up to date' if same else 'written'}.")


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print outcomes as JSON.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (.tocsin).")] = None,
) -> None:
    """Run every query of the dashboard against the store as its read-only user; exit 1 if any would not show."""
    settings = Settings.load(data_dir)
    try:
        client = clickhouse.connect(settings, reader=True)
    except (ClickHouseError, OSError) as error:
        first = (str(error).strip().splitlines() or ["no answer"])[0]
        typer.echo(
            f"ClickHouse at {settings.clickhouse_url} does not answer: {first}\nStart it with: tocsin up", err=True
        )
        raise typer.Exit(2) from error
    outcomes = grafana_check.check(client, now=datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        Console().print(_table(outcomes))
    if any(outcome.errors for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def screenshot(
    file: Annotated[Path, typer.Argument(metavar="FILE.png", help="Where the picture of the queue goes.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (.tocsin).")] = None,
) -> None:
    """Take a picture of the running watch desk's queue, and of an alert beside it (FILE-alert.png).

    Needs Playwright (pip install playwright) and a Chromium. Looks through an account that exists only meanwhile.
    """
    from dashboards.screenshot import ScreenshotError, take  # the desk's libraries only where they are needed

    try:
        taken = take(Settings.load(data_dir), file)
    except ScreenshotError as error:
        typer.echo(f"No picture: {error}", err=True)
        raise typer.Exit(2) from error
    for path in taken:
        typer.echo(f"{path} written.")


def _table(outcomes: list[grafana_check.Outcome]) -> Table:
    table = Table("Query", "Rows", "Outcome", title="Dashboard queries, last hour")
    for outcome in outcomes:
        verdict = "[green]ok[/]" if not outcome.errors else "[red]" + escape("\n".join(outcome.errors)) + "[/]"
        table.add_row(escape(outcome.where), str(outcome.rows), verdict)
    return table
