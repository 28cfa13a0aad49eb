"""``tocsin dashboards``: Grafana from code, checked, timed and synced; pictures and times of the watch desk."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dashboards.grafana import bench as grafana_bench
from dashboards.grafana import build as grafana_build
from dashboards.grafana import check as grafana_check
from dashboards.grafana import provisioned
from schemas.partners import load_partners
from schemas.settings import Settings
from streams import store as clickhouse

app = typer.Typer(help="Grafana dashboards as code, pictures and times of the watch desk.", no_args_is_help=True)


@app.command()
def build(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")] = False,
) -> None:
    """Write the provisioning files from their code: dashboards, data source, alert rules, contact point, policy."""
    folder = grafana_build.PROVISIONING
    boards = folder / grafana_build.JSON_FOLDER
    stale = [*grafana_build.stale(boards), *provisioned.stale(folder)]
    if check:
        for path in stale:
            typer.echo(f"{path} is not what the code builds. Run: tocsin dashboards build", err=True)
        if stale:
            raise typer.Exit(1)
        typer.echo(f"{folder} is what the code builds.")
        return
    grafana_build.write(boards)
    provisioned.write(folder)
    for path in stale:
        typer.echo(f"{path} {'written' if path.exists() else 'removed'}.")
    if not stale:
        typer.echo(f"{folder} was up to date.")


@app.command()
def check(
    expect_rows: Annotated[
        bool, typer.Option("--expect-rows", help="A query without rows is an error, but where the demo has none.")
    ] = False,
    hours: Annotated[float | None, typer.Option(min=0.1, help="Time range; else each dashboard's own.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Print so many of the first rows that each query shows.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print outcomes as JSON.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (.tocsin).")] = None,
) -> None:
    """Run every query of the dashboards against the store as its read-only user; exit 1 if any would not show.

    Exercises are included, for the demo's events are one.
    """
    settings = Settings.load(data_dir)
    try:
        client = clickhouse.connect(settings, reader=True)
    except (ClickHouseError, OSError) as error:
        first = (str(error).strip().splitlines() or ["no answer"])[0]
        typer.echo(
            f"ClickHouse at {settings.clickhouse_url} does not answer: {first}\nStart it with: tocsin up", err=True
        )
        raise typer.Exit(2) from error
    outcomes = grafana_check.check(
        client,
        now=datetime.now(UTC),
        values={"exercise": "all"},
        span=timedelta(hours=hours) if hours else None,
        expect_rows=expect_rows,
        keep=rows,
    )
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, default=str))
    else:
        Console().print(*map(_shown, filter(lambda each: each.shown, outcomes)), _table(outcomes), sep="\n")
    if any(outcome.errors for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def sync(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; print what would change, and exit 1 if anything would.")
    ] = False,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Send password and token again, after one was changed.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (.tocsin).")] = None,
) -> None:
    """Bring data source, folder, dashboards and alerting over the API to a Grafana that cannot read files.

    Needs TOCSIN_GRAFANA_URL and TOCSIN_GRAFANA_TOKEN (or GRAFANA_URL and GRAFANA_TOKEN). Grafana cannot show the
    secrets that it has: they are sent with what is made or changed. What is not ours is never touched. Exits with 2
    when Grafana cannot be used, with 3 when something that is not ours is in the way.
    """
    from dashboards.grafana.sync import Sync, SyncError, wanted  # the client only where it is needed
    from dashboards.grafana.sync_plan import NotOursError

    settings = Settings.load(data_dir)
    url = settings.grafana_url or os.environ.get("GRAFANA_URL", "")
    token = settings.grafana_token or os.environ.get("GRAFANA_TOKEN", "")
    try:
        grafana = Sync(url, token, settings)
        built = grafana_build.dashboards(settings.desk_url or grafana_build.DEFAULT_DESK_URL)
        changes = grafana.plan(wanted(settings, built), secrets=secrets)
        for change in changes if dry_run else grafana.apply(changes):
            typer.echo(f"would {change}\n{change.diff()}" if dry_run else str(change))
    except SyncError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except NotOursError as error:
        typer.echo(f"Nothing was changed at {url}:\n{error}", err=True)
        raise typer.Exit(3) from error
    if not changes:
        typer.echo(f"{url} was up to date.")
    elif dry_run:
        raise typer.Exit(1)


@app.command()
def bench(
    events: Annotated[int, typer.Option(min=1, help="How many events to make up.")] = 10_000_000,
    days: Annotated[int, typer.Option(min=1, help="How many days they spread over.")] = grafana_bench.DAYS,
    folder: Annotated[Path | None, typer.Option(help="Where the store lies meanwhile, if not in /tmp.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print timings as JSON.")] = False,
) -> None:
    """Time every query of the dashboards over made-up events in a store of its own, which needs no running platform.

    Exits with 1 when a query fails, or takes more than 200 ms over its dashboard's time range or over 24 hours and
    nothing justifies that.
    """
    say = Console(stderr=True).print
    partners = load_partners(Settings.load(None).partners_file)
    timings = grafana_bench.bench(events, partners, days=days, folder=folder, say=say)
    bad = [each for each in timings if each.errors or (each.slow and not each.note)]
    if as_json:
        found = {"events": events, "days": days, "limit_ms": grafana_bench.LIMIT_MS, "failed": len(bad)}
        typer.echo(json.dumps(found | {"queries": [asdict(each) for each in timings]}, indent=2))
    else:
        Console().print(_timings(timings, f"Dashboard queries over {events:,} events of {days} days"))
    if bad:
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


@app.command()
def times(
    seconds: Annotated[float, typer.Option("--for", metavar="SECONDS", min=1, help="How long to ask.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (.tocsin).")] = None,
) -> None:
    """Measure how long the running watch desk takes to answer: one page after the other, for a while.

    Milliseconds at the 50th, 95th, 99th and 100th percentile, twice: "server" from the request's arrival at the desk
    until the page was made, as its Server-Timing header says, "wall" from the question to the last byte here, which
    waits for the machine's processors as well. A page is complete when all its contents were in the answer; of others
    what ClickHouse took long to give is pushed later. Looks through an account that exists only meanwhile; Ctrl-C ends
    it earlier. Exit 1 when an answer was not the page that was asked for.
    """
    from dashboards.page_times import measure  # the desk's libraries only where they are needed
    from dashboards.screenshot import ScreenshotError

    until = time.monotonic() + seconds
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        found = measure(Settings.load(data_dir), lambda: time.monotonic() < until and not stopped.is_set())
    except ScreenshotError as error:
        typer.echo(f"No times: {error}", err=True)
        raise typer.Exit(2) from error
    figures = [each.figures() for each in found]
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        Console().print(_times(figures))
    if any(each["problems"] for each in figures):
        raise typer.Exit(1)


def _times(figures: list[dict[str, Any]]) -> Table:
    from dashboards.page_times import SHARES

    table = Table("Page", "Asked", "Complete", title="Milliseconds until the page was there")
    columns = [(what, key, f"p{share}") for what, key in (("server", "server_ms"), ("wall", "ms")) for share in SHARES]
    for what, _, share in columns:
        table.add_column(f"{what}\n{share}", justify="right")
    table.add_column("Problems")
    for each in figures:
        cells = (str(each[key].get(share, "")) for _, key, share in columns)
        problems = ", ".join(f"{count} {problem}" for problem, count in each["problems"].items())
        counts = (str(each["asked"]), str(each["complete"]))
        table.add_row(escape(each["page"]), *counts, *cells, escape(problems))
    return table


def _shown(outcome: grafana_check.Outcome) -> Table:
    more = outcome.rows - len(outcome.shown)
    table = Table(*map(escape, outcome.columns), title=escape(outcome.where), caption=f"{more} more" if more else None)
    for row in outcome.shown:
        table.add_row(*(escape(str(value)) for value in row))
    return table


def _table(outcomes: list[grafana_check.Outcome]) -> Table:
    table = Table("Query", "Rows", "ms", "Outcome", title="Dashboard queries")
    for outcome in outcomes:
        verdict = "[green]ok[/]" if not outcome.errors else "[red]" + escape("\n".join(outcome.errors)) + "[/]"
        table.add_row(escape(outcome.where), str(outcome.rows), f"{outcome.took_ms:.0f}", verdict)
    return table


def _timings(timings: list[grafana_bench.Timing], title: str) -> Table:
    table = Table("Query", "Rows", "ms", "Rows, 24 h", "ms, 24 h", "", title=title)
    for each in timings:
        verdict = "[green]ok[/]"
        if each.errors:
            verdict = "[red]" + escape("\n".join(each.errors)) + "[/]"
        elif each.slow:
            verdict = f"above {grafana_bench.LIMIT_MS:.0f} ms: {escape(each.note)}" if each.note else "[red]slow[/]"
        figures = (str(each.rows), f"{each.own_ms:.0f}", str(each.day_rows), f"{each.day_ms:.0f}")
        table.add_row(escape(each.where), *figures, verdict)
    return table
