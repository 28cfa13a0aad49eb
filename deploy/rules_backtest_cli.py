"""``tocsin rules backtest``: rules over the events that the platform holds, beside the alerts that it gave."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dashboards.explain import printable
from deploy.backtest import Backtest, Choice, Deployed, differences
from deploy.moments import micros_at
from deploy.rules_run_cli import progress_on
from processors.event_time import iso, micros_of
from processors.offline import OfflineAlert, without_collector
from processors.rule_files import RuleError, load
from processors.rulebook import Rulebook
from schemas.registry import FAMILIES
from schemas.settings import Settings
from streams.store import connect

TOP_GROUPS = 10
BAR = 40


def backtest(
    rules: Annotated[list[Path], typer.Option(help="Rule file or folder; may be repeated.", show_default=False)],
    begin: Annotated[
        str, typer.Option("--from", help="Begin: 7d or 24h ago, or a date or time, UTC unless it says otherwise.")
    ],
    end: Annotated[str, typer.Option("--to", help="End, not included; as --from, or now.")] = "now",
    family: Annotated[str | None, typer.Option(help="Only events of this family.")] = None,
    partner: Annotated[str | None, typer.Option(help="Only events of this partner.")] = None,
    include_late: Annotated[bool, typer.Option("--include-late", help="Also events that came too late.")] = False,
    sample: Annotated[int, typer.Option(min=0, help="How many alerts to tell in full.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the running platform (default .tocsin).")] = None,
) -> None:
    """Run rules over the platform's history: how many alerts they would have given, and which are new or gone.

    \b
    What would a changed rule have done in the last week?
    - `tocsin rules backtest --rules my_rule.yml --from 7d`
    - `tocsin rules backtest --rules processors/rules --from 2026-03-01 --to 2026-03-08T12:00:00Z --json`

    Reads only, through the same engine as the workers. An alert is new when the platform has none of the same rule and
    group that shares evidence with it; gone when it is the other way round. Windows begin empty at --from and end at
    --to: begin a timespan earlier than what you want to judge.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    now = dt.datetime.now(dt.UTC)
    choice = Choice(
        micros_at(begin, now, "--from"), micros_at(end, now, "--to"), family or "", partner or "", include_late
    )
    if choice.begin_us >= choice.end_us:
        raise typer.BadParameter(f"{iso(choice.begin_us)} is not before {iso(choice.end_us)}", param_hint="--from")
    if family is not None and family not in FAMILIES:
        raise typer.BadParameter(f"no family {family!r}; there is: {', '.join(FAMILIES)}", param_hint="--family")
    settings = Settings.load(data_dir)
    try:
        book = load(rules)
        client = connect(settings, reader=True)
        try:
            with without_collector():
                result = _run(Backtest(client, book, choice), book, choice, now, sample, errors)
        finally:
            client.close()
    except RuleError as error:
        errors.print(f"refused {error}", markup=False)
        raise typer.Exit(1) from error
    except (ClickHouseError, OSError) as error:
        reason = printable(str(error).strip().split("\n")[0])[:200]
        where = f"ClickHouse at {settings.clickhouse_url} does not answer as expected ({reason})"
        errors.print(f"{where}; is the platform up (tocsin up), and is --data-dir its folder?", markup=False)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(result, Console(highlight=False))


def _run(
    test: Backtest, book: Rulebook, choice: Choice, now: dt.datetime, sample: int, errors: Console
) -> dict[str, Any]:
    started = time.monotonic()
    with progress_on(errors) as progress:
        task = progress.add_task("backtest", total=sum(rows for _, _, rows in test.slices()), found="")

        def show(events: int, alerts: int) -> None:
            rate = events / max(time.monotonic() - started, 1e-3)
            progress.update(task, completed=events, found=f"{rate:,.0f} events/s, {alerts:,} alerts")

        alerts = test.run(micros_of(now.isoformat()) or 0, show)
    seconds = time.monotonic() - started
    new, gone = differences(alerts, test.ids, test.deployed())
    counts = Counter(each.rule.meta.id for each in alerts)
    groups = Counter((each.rule.meta.id, tuple(each.group.items())) for each in alerts if each.group)
    days = Counter(iso(each.first_us)[:10] for each in alerts)
    by_id = book.by_id
    return {
        "from": iso(choice.begin_us),
        "to": iso(choice.end_us),
        "events": test.events,
        "events_per_s": round(test.events / max(seconds, 1e-3)),
        "rules": len(book.rules),
        "alerts_per_day": dict(sorted(days.items())),
        "per_rule": [
            {"rule": rule.meta.id, "title": rule.meta.title, "level": rule.meta.level, "alerts": counts[rule.meta.id]}
            for rule in sorted(book.rules, key=lambda rule: -counts[rule.meta.id])
            if rule.alerts
        ],
        "top_groups": [
            {"rule": rule, "title": by_id[rule].meta.title, "group": dict(group), "alerts": count}
            for (rule, group), count in groups.most_common(TOP_GROUPS)
        ],
        "new": [_plain(each) for each in new],
        "gone": [_known(each) for each in gone],
        "samples": [_plain(each) for each in _samples(alerts, sample)],
    }


def _samples(alerts: Sequence[OfflineAlert], count: int) -> list[OfflineAlert]:
    """Some alerts, of as many rules as can be."""
    by_rule: dict[str, list[OfflineAlert]] = defaultdict(list)
    for alert in alerts:
        by_rule[alert.rule.meta.id].append(alert)
    turns = itertools.zip_longest(*by_rule.values())
    return list(itertools.islice((each for turn in turns for each in turn if each is not None), count))


def _plain(alert: OfflineAlert) -> dict[str, Any]:
    return {
        "rule": alert.rule.meta.id,
        "title": alert.rule.meta.title,
        "group": alert.group,
        "first": iso(alert.first_us),
        "last": iso(alert.last_us),
        "count": len(alert.numbers),
        "story": alert.story,
    }


def _known(alert: Deployed) -> dict[str, Any]:
    return {
        "rule": alert.rule_id,
        "title": alert.title,
        "group": alert.group,
        "first": iso(alert.first_us),
        "last": iso(alert.last_us),
        "count": alert.total,
        "story": alert.story,
    }


def _print(result: dict[str, Any], console: Console) -> None:
    total = sum(result["alerts_per_day"].values())
    console.print(
        f"{result['from']} to {result['to']}: {result['events']:,} events ({result['events_per_s']:,}/s), "
        f"{result['rules']} rules, {total:,} alerts"
    )
    most = max(result["alerts_per_day"].values(), default=1)
    for day, count in result["alerts_per_day"].items():
        console.print(f"{day} {'█' * max(round(BAR * count / most), 1)} {count:,}")
    _table(console, result["per_rule"], {"level": "level", "rule": "title", "alerts": "alerts"})
    _table(console, result["top_groups"], {"group": "group", "rule": "title", "alerts": "alerts"})
    for name, what in (("new", "not among the platform's alerts"), ("gone", "the platform's alerts that did not come")):
        console.print(f"[bold]{name}[/]: {len(result[name]):,} ({what})")
        _stories(console, result[name][:TOP_GROUPS])
    if result["samples"]:
        console.print("[bold]samples[/]")
        _stories(console, result["samples"])


def _table(console: Console, rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> None:
    if not rows:
        return
    table = Table(*(Column(name, justify="right" if name == "alerts" else "left") for name in columns))
    for row in rows:
        table.add_row(*(Text(printable(_shown(row[key]))) for key in columns.values()))
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _stories(console: Console, alerts: Sequence[dict[str, Any]]) -> None:
    for alert in alerts:
        console.print(Text(f"  {alert['first']} {printable(alert['story'])}"))
