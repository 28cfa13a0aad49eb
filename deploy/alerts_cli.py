"""``tocsin alerts``: list alerts, show one with its evidence, explain how it came about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from confluent_kafka import KafkaException
from pydantic import ValidationError
from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dashboards.alerts import AlertFilter, AlertRow, Store, StoreAwayError, UnknownAlertError
from dashboards.explain import (
    account_of,
    age,
    as_text,
    between,
    clauses_of,
    in_order,
    matched_of,
    place_of,
    position_of,
    printable,
    stamp,
    steps_of,
)
from dashboards.palette import EXERCISE_COLOUR, LEVEL_COLOURS, LEVELS, tlp_label
from deploy.alert_actions_cli import register
from deploy.options import AsJson, DataDir
from schemas.alerts import Alert, Evidence
from schemas.settings import Settings

if TYPE_CHECKING:
    from deploy.replay import Replayed

app = typer.Typer(
    help="Alerts, what they rest on, and what people do to them.", no_args_is_help=True, pretty_exceptions_enable=False
)
register(app)

AlertId = Annotated[str, typer.Argument(metavar="ID", help="Alert id, or the start of one.")]


def open_store(data_dir: Path | None) -> Store:
    """The store of the platform whose folder is ``data_dir``."""
    return Store(Settings.load(data_dir))


@contextmanager
def readable_errors() -> Iterator[None]:
    """Errors that a person can act on go to standard error; exit 1 for a wrong id, 2 when the store is away."""
    try:
        yield
    except UnknownAlertError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except StoreAwayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except ValidationError as error:
        typer.echo(f"The stored record is not an alert of this version of Tocsin:\n{error}", err=True)
        raise typer.Exit(1) from None


@app.command("list")
def list_alerts(
    show_all: Annotated[bool, typer.Option("--all", help="Superseded alerts too.")] = False,
    level: Annotated[str | None, typer.Option(help=f"This level and above: {', '.join(LEVELS)}.")] = None,
    exercise: Annotated[bool | None, typer.Option("--exercise/--live", help="Drills only, or live only.")] = None,
    partner: Annotated[str | None, typer.Option(help="Alerts that rest on this partner's events.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List alerts, the newest change first."""
    if level is not None and level not in LEVELS:
        raise typer.BadParameter(f"'{level}' is not a level; levels are {', '.join(LEVELS)}", param_hint="--level")
    choice = AlertFilter(None if show_all else "open", level, exercise, partner, limit)
    with readable_errors():
        rows = open_store(data_dir).alerts(choice)
    if as_json:
        typer.echo(json.dumps([_plain(row) for row in rows], indent=2, ensure_ascii=False))
        return
    console = Console()
    if not rows:
        console.print("No alert to show. Events that were refused: tocsin quarantine list", highlight=False)
        return
    console.print(_list_table(rows, datetime.now(UTC)))
    if len(rows) == limit:
        console.print(f"The newest {limit}; more with --limit.", style="dim", highlight=False)


def _plain(row: AlertRow) -> dict[str, Any]:
    return {name: stamp_iso(value) if isinstance(value, datetime) else value for name, value in asdict(row).items()}


def stamp_iso(time: datetime) -> str:
    """ISO 8601 in UTC with Z and microseconds, as the alert records have it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _level(level: str) -> Text:
    return Text(level, style=f"bold {LEVEL_COLOURS.get(level, 'white')}")


def _text(value: str, style: str = "") -> Text:
    """Partners' words: never markup, never control characters."""
    return Text(printable(value), style=style)


def _list_table(rows: list[AlertRow], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="Alerts (times are UTC)", title_justify="left")
    for name in ("Id", "Level", "Story", "Partners", "Evidence", "Last event", "TLP"):
        table.add_column(name, no_wrap=name in {"Id", "Level", "Last event", "TLP"}, overflow="fold")
    for row in rows:
        level = _level(row.level)
        if row.exercise:
            level.append("\nEXERCISE", style=EXERCISE_COLOUR)
        if row.status != "open":
            level.append(f"\n{row.status}", style="dim")
        table.add_row(
            Text(row.alert_id[:13]),
            level,
            _text(row.story or row.rule_title),
            Text("\n".join(row.partners)),
            str(row.evidence_total),
            f"{age(row.last_event_at, now)} ago",
            tlp_label(row.tlp).removeprefix("TLP:"),
        )
    return table


@app.command()
def show(alert_id: AlertId, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show one alert: its story and the evidence in order of time."""
    alert = _load(alert_id, as_json, data_dir)
    if alert is None:
        return
    table = Table(box=box.SIMPLE_HEAD, title="Evidence, in order of time (UTC)", title_justify="left")
    for name in ("No.", "Happened", "From", "Where", "What matched"):
        table.add_column(name, overflow="fold", no_wrap=name in {"Happened", "From"})
    for number, item in enumerate(in_order(alert), start=1):
        table.add_row(
            str(number),
            stamp(item.occurred_at).removesuffix(" UTC"),
            _text(f"{item.partner}\n{item.family}"),
            _text(place_of(item)),
            _matched(item),
        )
    Console().print(_headline(alert), table, *_hidden(alert))


def _load(alert_id: str, as_json: bool, data_dir: Path | None) -> Alert | None:
    """The alert, or ``None`` after its record went out as JSON."""
    with readable_errors():
        store = open_store(data_dir)
        full_id = store.resolve(alert_id)
        if as_json:
            typer.echo(json.dumps(json.loads(store.record(full_id) or "{}"), indent=2, ensure_ascii=False))
            return None
        alert = store.alert(full_id)
    if alert is None:
        typer.echo(f"The alert '{full_id}' is gone from the store.", err=True)
        raise typer.Exit(1)
    return alert


def _headline(alert: Alert) -> RenderableType:
    title = _level(alert.level)
    if alert.exercise:
        title.append("  EXERCISE: a drill, nothing here is real", style=f"bold {EXERCISE_COLOUR}")
    title.append(f"  {tlp_label(alert.tlp)}  {alert.status}  confidence {alert.confidence} of 100", style="dim")
    lines = [title, _text(alert.story, "bold")]
    if alert.superseded_by:
        lines.append(Text(f"Superseded by {alert.superseded_by}", style="bold"))
    lines += [
        _text(f"Rule      {alert.rule.title}, version {alert.rule.version}"),
        _text("About     " + (", ".join(f"{name} = {value}" for name, value in alert.group.items()) or "one event")),
        _text(f"Partners  {', '.join(alert.partners)}"),
    ]
    if alert.rule.response:
        lines.append(_text(f"To do     {alert.rule.response}"))
    return Panel(Group(*lines), title=Text(alert.alert_id), title_align="left", border_style=_border(alert))


def _border(alert: Alert) -> str:
    return LEVEL_COLOURS.get(alert.level, "white")


def _matched(item: Evidence) -> Text:
    lines = [item.rule_title, *(f"{name} = {value}" for name, value in matched_of(item))]
    return _text("\n".join(lines)).append(f"\n{printable(position_of(item))}", style="dim")


def _hidden(alert: Alert) -> list[Text]:
    hidden = alert.evidence_total - len(alert.evidence)
    return [Text(f"{hidden} more events counted and are not kept with the alert.", style="dim")] if hidden > 0 else []


@app.command()
def explain(
    alert_id: AlertId,
    replayed: Annotated[
        bool, typer.Option("--replay", help="Fetch the very records again and put them through the rule again.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Explain one alert: which rule version, which values met which clause, and how long each step took.

    With --replay its records are fetched from Kafka, or from ClickHouse where Kafka holds them no more, and the rule
    runs on them again, in the version that fired: exit status 3 where it does not fire.
    """
    again = _replay(alert_id, data_dir) if replayed else None
    if as_json and again:
        typer.echo(json.dumps({**_record(alert_id, data_dir), "replay": asdict(again)}, indent=2, ensure_ascii=False))
    else:
        _explain(alert_id, as_json, data_dir, again)
    if again and not again.fires:
        raise typer.Exit(3)


def _record(alert_id: str, data_dir: Path | None) -> dict[str, Any]:
    with readable_errors():
        store = open_store(data_dir)
        return dict(json.loads(store.record(store.resolve(alert_id)) or "{}"))


def _replay(alert_id: str, data_dir: Path | None) -> Replayed:
    from deploy.replay import book_of, replay  # the whole engine, which no other command here needs
    from streams.store import connect

    alert = Alert.model_validate(_record(alert_id, data_dir))
    settings = Settings.load(data_dir)
    try:
        return replay(settings, connect(settings, reader=True), alert, book_of(settings, alert))
    except (KafkaException, TimeoutError, LookupError, ClickHouseError) as error:
        typer.echo(f"cannot replay: {error}", err=True)
        raise typer.Exit(2) from error


def _explain(alert_id: str, as_json: bool, data_dir: Path | None, again: Replayed | None) -> None:
    alert = _load(alert_id, as_json, data_dir)
    if alert is None:
        return
    account = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    account.add_row(Text("Rule", style="dim"), _text(f"{alert.rule.title} ({alert.rule.id})"))
    account.add_row(Text("Rule version", style="dim"), Text(alert.rule.version))
    for name, value in account_of(alert):
        account.add_row(Text(name, style="dim"), _text(value))
    steps = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, at, took in steps_of(alert):
        steps.add_row(Text(name, style="dim"), stamp(at), f"+ {took}" if took else "")
    blocks: list[RenderableType] = [_headline(alert), Text("\nWhy it fired", style="bold"), account]
    blocks += [Text("\nHow long it took", style="bold"), steps, Text("\nEvidence, in order of time", style="bold")]
    blocks += [_evidence_block(number, item, alert) for number, item in enumerate(in_order(alert), start=1)]
    if again:
        blocks += [Text("\nReplayed", style="bold"), _text(again.message)]
        blocks += [_text(f"{event_id} is found nowhere any more") for event_id in again.gone]
    Console().print(*blocks, *_hidden(alert))


def _evidence_block(number: int, item: Evidence, alert: Alert) -> Table:
    """One event: who, when, where in Kafka, which values met which base rule, and its way through the steps."""
    block = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    place = place_of(item)
    block.add_row(
        Text(f"{number}", style=f"bold {_border(alert)}"),
        _text(f"{item.partner}, {item.family}, {stamp(item.occurred_at)}" + (f", {place}" if place else ""), "bold"),
    )
    if item.summary:
        block.add_row("", _text(item.summary))
    block.add_row("", _text(f"{position_of(item)}, event {item.event_id}", "dim"))
    block.add_row(
        "", _text(f"met the rule '{item.rule_title}'" + (f": {clauses_of(item)}; " if item.clauses else " ") + "with")
    )
    for name, value in item.matched.items():
        block.add_row("", _text(f"  {name} = {as_text(value)}"))
    raised = "the alert was raised" if item.ingested_at <= alert.created_at else "the alert had been raised before"
    block.add_row(
        "",
        Text(
            f"published {between(item.occurred_at, item.published_at)} after it happened, "
            f"ingested {between(item.published_at, item.ingested_at)} later, "
            f"{raised}"
            + (f" {between(item.ingested_at, alert.created_at)} later" if item.ingested_at <= alert.created_at else ""),
            style="dim",
        ),
    )
    return block
