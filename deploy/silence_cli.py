"""``tocsin silence``: keep alerts from notifying for a time. They stay on the desk, marked."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk.scope import PREVIEW_DAYS
from dashboards.desk.scope import preview as preview_of
from dashboards.explain import printable
from deploy.alert_actions_cli import seconds
from deploy.ask import AWAY, asker, errors_for_people, login_name, new_command, tell
from deploy.options import AsJson, By, DataDir
from schemas.lifecycle import Matcher, Silence
from schemas.matcher_text import parse_matcher
from schemas.settings import Settings
from streams.store import connect

app = typer.Typer(help="Silences and maintenance windows.", no_args_is_help=True, pretty_exceptions_enable=False)

Matchers = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MATCHER...",
        help="Conditions that must all hold: level=high, partners=fiu-nl, rule_id!=ID, countries=~DE|NL",
    ),
]
Partner = Annotated[
    str | None, typer.Option(metavar="ID", help="A maintenance window: silences alerts about this partner's feed.")
]


@app.command()
def add(
    matchers: Matchers = None,
    hold: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 2h, 1d.")] = ...,  # type: ignore[assignment]
    reason: Annotated[str, typer.Option(help="Why; at least three letters.")] = ...,  # type: ignore[assignment]
    partner: Partner = None,
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="ISO 8601, default now.")] = None,
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Set a silence. See first what it would hide: tocsin silence preview MATCHER..."""
    now = dt.datetime.now(dt.UTC)
    starts_at = _time(start) if start else now
    author = by or login_name()
    try:
        silence = Silence(
            silence_id=str(uuid.uuid4()),
            matchers=_scope(matchers, partner),
            author=author,
            reason=reason,
            starts_at=starts_at,
            ends_at=starts_at + dt.timedelta(seconds=seconds(hold)),
            created_at=now,
            partner=partner,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    command = new_command("silence", author, silence=silence, silence_id=silence.silence_id, text=reason)
    with errors_for_people():
        action = asker(Settings.load(data_dir))(command)
    # The desk gives silences ids of its own.
    silence_id = action.details.get("silence", {}).get("silence_id", silence.silence_id)
    tell(action, as_json, f"{silence_id} holds until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC")


@app.command()
def expire(
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="Silence id, or the start of one.")],
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """End a silence now."""
    settings = Settings.load(data_dir)
    found = [row["silence_id"] for row in _read(settings) if row["silence_id"].startswith(silence_id)]
    if len(found) != 1:
        what = "No silence has" if not found else f"{len(found)} silences have"
        typer.echo(f"{what} an id that starts with '{silence_id}'. See them with: tocsin silence list --all", err=True)
        raise typer.Exit(1)
    command = new_command("expire_silence", by, silence_id=found[0])
    with errors_for_people():
        action = asker(settings)(command)
    tell(action, as_json, f"{found[0]} has ended")


@app.command("list")
def list_silences(
    show_all: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List silences that hold or will hold, the next to end first."""
    now = dt.datetime.now(dt.UTC)
    rows = [row for row in _read(Settings.load(data_dir)) if show_all or row["ends_at"] > now]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=_iso, ensure_ascii=False))
        return
    table = Table("Id", "Until (UTC)", "Scope", "By", "Why", box=box.SIMPLE_HEAD)
    for row in rows:
        state = "" if row["ends_at"] > now else "\nended"
        begins = f"\nfrom {row['starts_at']:%Y-%m-%d %H:%M}" if row["starts_at"] > now else ""
        table.add_row(
            row["silence_id"][:13],
            f"{row['ends_at']:%Y-%m-%d %H:%M}{state}{begins}",
            _text(_in_words(row)),
            _text(row["author"]),
            _text(row["reason"]),
        )
    Console().print(table if rows else "No silence holds.", highlight=False)


@app.command()
def preview(
    matchers: Matchers = None,
    partner: Partner = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days back.")] = PREVIEW_DAYS,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show which alerts of the last days a silence of this scope would have hidden."""
    now = dt.datetime.now(dt.UTC)
    try:
        scope = preview_of(Store(Settings.load(data_dir)), _matchers(matchers, partner), partner, now, days=days)
    except StoreAwayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(AWAY) from None
    if not scope.complete:
        typer.echo("There are too many alerts to look at all of them: give fewer --days.", err=True)
    if as_json:
        content = {
            "days": days,
            "alerts": scope.alerts,
            "hidden": [json.loads(state.model_dump_json()) for state in scope.hidden],
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    table = Table("Id", "Raised (UTC)", "Priority", "Level", "Story", "Verdict", box=box.SIMPLE_HEAD)
    for state in scope.hidden:
        raised = f"{state.raised_at:%Y-%m-%d %H:%M}"
        table.add_row(state.alert_id[:13], raised, state.priority, state.level, _text(state.story), state.verdict or "")
    console = Console()
    if scope.hidden:
        console.print(table)
    console.print(
        f"{scope.total} of {scope.alerts} alerts of the last {days} days would have told nobody.", highlight=False
    )


def _scope(texts: list[str] | None, partner: str | None) -> list[Matcher]:
    """The matchers; of a maintenance window without any, those of alerts about that partner's feed.

    Raises:
        typer.BadParameter: a text is no matcher, or nothing says what is to be silenced.
    """
    found = _matchers(texts, partner)
    if not found and partner:
        return [Matcher(field="kind", value="platform"), Matcher(field="partners", value=partner)]
    return found


def _matchers(texts: list[str] | None, partner: str | None) -> list[Matcher]:
    found: list[Matcher] = []
    for text in texts or []:
        try:
            found.append(parse_matcher(text))
        except (PydanticCustomError, ValidationError) as error:
            said = error.message() if isinstance(error, PydanticCustomError) else error.errors()[0]["msg"]
            raise typer.BadParameter(f"'{text}': {said}", param_hint="MATCHER") from None
    if not found and not partner:
        raise typer.BadParameter("say what: at least one matcher, or --partner", param_hint="MATCHER")
    return found


def _time(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is no time of ISO 8601, as 2026-03-01T20:00Z", param_hint="--from"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def _read(settings: Settings) -> list[dict[str, Any]]:
    sql = (
        "SELECT silence_id, matchers, author, reason, partner, starts_at, ends_at, created_at FROM silences FINAL "
        "ORDER BY ends_at, silence_id"
    )
    rows = _query(settings, sql, {})
    return [
        row
        | {"matchers": json.loads(row["matchers"])}
        | {name: row[name].replace(tzinfo=dt.UTC) for name in ("starts_at", "ends_at", "created_at")}
        for row in rows
    ]


def _query(settings: Settings, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        result = connect(settings, reader=True).query(sql, parameters=parameters)
    except (ClickHouseError, OSError) as error:
        typer.echo(f"ClickHouse at {settings.clickhouse_url} does not answer: {error}", err=True)
        raise typer.Exit(AWAY) from None
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def _in_words(row: dict[str, Any]) -> str:
    scope = ", ".join(f"{each['field']}{each['op']}{each['value']}" for each in row["matchers"])
    return f"maintenance of {row['partner']}: {scope}" if row["partner"] else scope


def _text(value: str) -> Text:
    return Text(printable(value))


def _iso(value: Any) -> str:
    return str(value.isoformat()) if isinstance(value, dt.datetime) else str(value)
