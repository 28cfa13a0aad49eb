"""What a person sees while the platform runs: partners, lag, and alerts as they fire."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.observe import AlertWatch, Seen, Totals

STYLES = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "informational": "dim",
}
SHOWN = 8
REFRESH_S = 1.0
PLAIN_EVERY_S = 10.0


def watch_run(
    console: Console,
    watch: AlertWatch,
    read: Callable[[], Totals],
    addresses: list[tuple[str, str]],
    published: Callable[[], dict[str, int]],
    keep_going: Callable[[], bool],
) -> None:
    """Show the run until ``keep_going`` says no: a live table on a terminal, lines of text elsewhere."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while keep_going():
                live.update(_screen(_totals(read), published(), watch, addresses), refresh=True)
                time.sleep(REFRESH_S)
        return
    told: set[str] = set()
    next_counts = 0.0
    while keep_going():
        for alert_id, seen in list(watch.alerts.items()):
            if alert_id not in told and seen.status == "open":
                told.add(alert_id)
                console.print(_line(seen))
        if time.monotonic() >= next_counts:
            next_counts = time.monotonic() + PLAIN_EVERY_S
            found = _totals(read)
            if found is not None:
                console.print(
                    f"{dt.datetime.now(dt.UTC):%H:%M:%S} UTC  published {sum(published().values()):,}  "
                    f"stored {found.stored:,}  refused {found.quarantined:,}  lag {found.lag:,}  alerts {len(told)}"
                )
        time.sleep(REFRESH_S / 2)


def _totals(read: Callable[[], Totals]) -> Totals | None:
    try:
        return read()
    except Exception:  # the store may be restarting: the table waits rather than the run ends
        return None


def _screen(
    found: Totals | None, published: dict[str, int], watch: AlertWatch, addresses: list[tuple[str, str]]
) -> Group:
    table = Table(title="Partners", expand=True)
    for name, justify in (("partner", "left"), ("events/s", "right"), ("published", "right"), ("accepted", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("refused", justify="right")
    table.add_column("in flight", justify="right")
    for partner, counts in sorted(found.partners.items()) if found else ():
        sent = published.get(partner)
        waiting = "" if sent is None else f"{max(sent - counts.accepted - counts.refused, 0):,}"
        table.add_row(
            partner,
            f"{counts.rate:,.1f}",
            "" if sent is None else f"{sent:,}",
            f"{counts.accepted:,}",
            Text(f"{counts.refused:,}", "yellow" if counts.refused else ""),
            waiting,
        )
    footer = Text("store is not answering, waiting", "red") if found is None else Text(f"consumer lag {found.lag:,}")
    opened = [seen for seen in watch.alerts.values() if seen.status == "open"]
    recent = sorted(opened, key=lambda seen: -seen.seen_at)[:SHOWN]
    lines = [_line(seen) for seen in recent] or [Text("none yet: the first scenarios take some 20 s", "dim")]
    links = Text("\n".join(f"{name:<10} {address}" for name, address in addresses))
    return Group(table, footer, Panel(Group(*lines), title=f"Alerts ({len(opened)})"), Panel(links, title="Open"))


def _line(seen: Seen) -> Text:
    record = seen.record
    kind = "EXERCISE " if record["exercise"] else ""
    return Text.assemble(
        (f" {record['level']} ", STYLES.get(record["level"], "")),
        " ",
        (kind, "magenta"),
        record["story"],
        (f"  [{record['alert_id'][:8]}]", "dim"),
    )
