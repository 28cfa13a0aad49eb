"""``tocsin accounts access``: the access log, for oversight at a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk.access_queries import MAX_ENTRIES, AccessFilter, accesses
from dashboards.explain import printable, stamp
from deploy.ask import AWAY
from deploy.moments import micros_at
from deploy.options import AsJson, DataDir
from processors.times import moment
from schemas.settings import Settings

DEFAULT_SINCE = "7d"


def access(
    person: Annotated[str, typer.Option(help="Only this person's.")] = "",
    what: Annotated[str, typer.Option(help="Only this: view, change, login, 'account add', ...")] = "",
    target: Annotated[str, typer.Option(help="A part of the path, or the account.")] = "",
    alert: Annotated[str, typer.Option(metavar="ID", help="Who looked at this alert, under earlier ids too.")] = "",
    partner: Annotated[str, typer.Option(metavar="ID", help="Only accounts of this partner.")] = "",
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="7d or 24h ago, or a date or time. Default 7d; all with --alert."),
    ] = None,
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="To then, not included.")] = "now",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_ENTRIES, help="At most so many, the latest.")] = 100,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show who looked at what, did what, and was refused what, the latest first."""
    now = datetime.now(UTC)
    choice = AccessFilter(
        person=person,
        what=what,
        target=target,
        alert=alert,
        partner=partner,
        allowed=False if refused else None,
        since=None if alert and not since else moment(micros_at(since or DEFAULT_SINCE, now, "--since")),
        until=moment(micros_at(until, now, "--to")),
    )
    try:
        found = accesses(Store(Settings.load(data_dir)), choice, limit=limit)
    except StoreAwayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(AWAY) from None
    if as_json:
        typer.echo(json.dumps([asdict(each) | {"at": each.at.isoformat()} for each in found.entries], indent=2))
        return
    table = Table("When (UTC)", "Who", "Role", "What", "Of what", "From", "Details", box=box.SIMPLE_HEAD)
    for each in found.entries:
        row = (
            stamp(each.at).removesuffix(" UTC"),
            each.person or "not logged in",
            f"{each.role}{f', {each.partner}' if each.partner else ''}",
            each.what if each.allowed else f"refused: {each.what}",
            each.target,
            f"{each.via} {each.address}".strip(),
            each.detail,
        )
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table if found.entries else "Nothing goes by this filter.", highlight=False)
    if found.next:
        typer.echo(f"There are more: narrow it down, or --limit up to {MAX_ENTRIES}.", err=True)
