"""``tocsin rules run``: rules over files of JSON lines, without a platform."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from dashboards.explain import printable
from deploy.json_lines import STDIN, JsonLines
from processors.event_time import EventTime, iso
from processors.offline import Offline, OfflineAlert, without_collector
from processors.rule_files import RuleError, load
from processors.rulebook import Rulebook
from schemas.registry import FAMILIES

BATCH = 20_000


def run(
    rules: Annotated[list[Path], typer.Option(help="Rule file or folder; may be repeated.", show_default=False)],
    events: Annotated[
        list[str], typer.Option(help="File of JSON lines, - for standard input; may be repeated.", show_default=False)
    ],
    time_field: Annotated[
        str | None, typer.Option(help="Field with the event's time, dotted. Default: the usual ones are tried.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Family of all events. Default: as each event says, or by its fields.")
    ] = None,
    ignore_logsource: Annotated[
        bool, typer.Option("--ignore-logsource", help="Let every rule see every event, whatever its logsource.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines also on a terminal.")] = False,
) -> None:
    """Run rules over files of events and print what would alert. Needs no platform.

    \b
    Any JSON lines, nested or flat, in any order of time; and events as `tocsin publish` takes them:
    - `tocsin rules run --rules brute_force.yml --events auth.jsonl --ignore-logsource`
    - `tocsin rules run --rules processors/rules --events tips.jsonl --family tip_report`

    \b
    Prints one JSON line an alert, by time of the first evidence:
    - `{"rule": ID, "title": ..., "group": {...}, "first": TIME, "last": TIME, "events": [LINE, ...], ...}`
    - with several files, `"files"` names the file of each line.

    Times without a zone are UTC; numbers are seconds, milli-, micro- or nanoseconds since 1970 by their size. Windows
    end with the last event: what might still come is not known.

    A rule or line that cannot be used is refused on standard error with its place and reason, and the others go on.
    Exit code: 0, or 1 when there is no usable rule or no event could be read.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if family is not None and family not in FAMILIES:
        raise typer.BadParameter(f"no family {family!r}; there is: {', '.join(FAMILIES)}", param_hint="--family")
    broken: list[RuleError] = []
    book = load(rules, ignore_logsource, broken)
    for each in broken:
        errors.print(f"refused {printable(str(each))}", markup=False)
    if not book.rules:
        errors.print("no rule can be used")
        raise typer.Exit(1)
    started = time.monotonic()
    clock = EventTime(time_field)
    with without_collector(), JsonLines([Path(each) for each in events], clock, _refuse) as lines:
        try:
            alerts = _alerts(book, family, lines, events, errors)
        except OSError as error:
            errors.print(f"{error.filename}: {error.strerror}", markup=False)
            raise typer.Exit(1) from error
        _print(alerts, lines, with_files=len(events) > 1, as_json=as_json)
        seconds = time.monotonic() - started
        for name, count in clock.taken.most_common():
            errors.print(f"time taken from {name}: events {count:,}", markup=False)
        errors.print(
            f"events read {len(lines):,}, refused {lines.refused:,}, alerts {len(alerts):,}; "
            f"{seconds:.1f} s, {len(lines) / max(seconds, 1e-3):,.0f} events/s"
        )
        raise typer.Exit(1 if lines.refused and not len(lines) else 0)


def _refuse(file: str, line: int, reason: str) -> None:
    print(f"{file}:{line}: refused: {printable(reason)}", file=sys.stderr)


def progress_on(errors: Console) -> Progress:
    """Bars for work on events, with what was found so far; nothing where nobody looks."""
    return Progress(
        *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()),
        TextColumn("{task.fields[found]}"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def _alerts(
    book: Rulebook, family: str | None, lines: JsonLines, events: Sequence[str], errors: Console
) -> list[OfflineAlert]:
    engine = Offline(book, family)
    last = 0
    with progress_on(errors) as progress:
        size = sum(path.stat().st_size for each in events if each != STDIN and (path := Path(each)).is_file())
        reading = progress.add_task("reading", total=size or None, found="")
        lines.read(lambda more: progress.advance(reading, more))
        matching = progress.add_task("matching", total=len(lines), found="")
        for batch in lines.batches(BATCH):
            engine.add(batch.events, batch.occurred_us, batch.numbers)
            last = batch.occurred_us[-1]
            progress.update(matching, advance=len(batch.events), found=f"{engine.alerts:,} alerts")
    return engine.close(last)


def _print(alerts: Sequence[OfflineAlert], lines: JsonLines, *, with_files: bool, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        for alert in alerts:
            sys.stdout.buffer.write(orjson.dumps(_plain(alert, lines, with_files)) + b"\n")
        sys.stdout.flush()
        return
    times = (Column(name, no_wrap=True, min_width=20) for name in ("first event", "last event"))
    table = Table("level", "rule", "about", *times, Column("events", justify="right"))
    for alert in alerts:
        about = ", ".join(f"{name} {value}" for name, value in alert.group.items())
        first, last = iso(alert.first_us), iso(alert.last_us)
        texts = (alert.rule.meta.level, alert.rule.meta.title, about, first, last, f"{len(alert.numbers):,}")
        table.add_row(*(Text(printable(text)) for text in texts))
    Console().print(table)


def _plain(alert: OfflineAlert, lines: JsonLines, with_files: bool) -> dict[str, Any]:
    places = [lines.line(number) for number in alert.numbers]
    first = iso(alert.first_us)
    return {
        "rule": alert.rule.meta.id,
        "title": alert.rule.meta.title,
        "group": alert.group,
        "first": first,
        "last": first if alert.last_us == alert.first_us else iso(alert.last_us),
        "events": [line for _, line in places],
        **({"files": [file for file, _ in places]} if with_files else {}),
        "level": alert.rule.meta.level,
        "count": len(places),
    }
