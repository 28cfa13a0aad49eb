"""``tocsin alerts ack|unack|assign|start|note|close|reopen|merge|split``: what people do to alerts.

Exit status 3 says that the alert's state does not allow it; standard error names the state and what it allows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dashboards.alerts import Store, StoreAwayError, UnknownAlertError
from deploy.ask import AWAY, asker, errors_for_people, new_command, tell
from deploy.options import By, DataDir
from schemas.durations import seconds_of
from schemas.lifecycle import Action, Verb, Verdict
from schemas.settings import Settings

AlertId = Annotated[str, typer.Argument(metavar="ID", help="Alert id, or the start of one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the action as JSON.")]
Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The reason, for the alert's history.")]
Revision = Annotated[
    int | None,
    typer.Option(metavar="N", help="Only if the alert is still at this revision: of two who act at once one wins."),
]


def seconds(text: str) -> int:
    """Seconds of ``90s``, ``30m``, ``2h``, ``1d`` or ``1h30m``.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return seconds_of(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no duration; write 90s, 30m, 2h, 1d or 1h30m") from None


def register(app: typer.Typer) -> None:
    """Add the commands to the group ``tocsin alerts``."""
    for name, command in (
        ("ack", ack),
        ("unack", _plain("unacknowledge", "open again", "Give an alert back: it is open, and escalates again.")),
        ("assign", assign),
        ("start", _plain("start", "in progress", "Say that work on an alert has begun.")),
        ("note", note),
        ("close", close),
        ("reopen", _plain("reopen", "open again", "Open a closed alert again.")),
        ("merge", merge),
        ("split", _plain("split", "stands for itself", "Take a merged alert out again: it stands for itself.")),
    ):
        app.command(name)(command)


def _plain(verb: Verb, done: str, description: str) -> Callable[..., None]:
    """A command that needs no more than the alert."""

    def command(
        alert_id: AlertId,
        why: Why = None,
        revision: Revision = None,
        by: By = None,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        _do(verb, alert_id, done, by, as_json, data_dir, {"text": why, "revision": revision})

    command.__doc__ = description
    return command


def ack(
    alert_id: AlertId,
    hold: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="After so long it is open again (default 30m).")
    ] = None,
    why: Why = None,
    revision: Revision = None,
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Acknowledge an alert: you look at it, nobody else is called. It is open again after a time unless you go on."""
    fields = {"for_s": seconds(hold) if hold else None, "text": why, "revision": revision}
    _do("acknowledge", alert_id, "acknowledged", by, as_json, data_dir, fields)


def assign(
    alert_id: AlertId,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who is to work on it.")],
    why: Why = None,
    revision: Revision = None,
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Assign an alert to somebody."""
    fields = {"assignee": to, "text": why, "revision": revision}
    _do("assign", alert_id, f"assigned to {to}", by, as_json, data_dir, fields)


def note(
    alert_id: AlertId,
    text: Annotated[str, typer.Argument(help="What there is to say.")],
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add a note to an alert's history."""
    _do("note", alert_id, "noted", by, as_json, data_dir, {"text": text})


def close(
    alert_id: AlertId,
    verdict: Annotated[str, typer.Option(help=f"What it was: {', '.join(get_args(Verdict))}.")],
    why: Why = None,
    revision: Revision = None,
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Close an alert with a verdict, by which the quality of its rule is judged."""
    if verdict not in get_args(Verdict):
        raise typer.BadParameter(
            f"'{verdict}' is no verdict; there are {', '.join(get_args(Verdict))}", param_hint="--verdict"
        )
    fields = {"verdict": verdict, "text": why, "revision": revision}
    _do("close", alert_id, f"closed as {verdict}", by, as_json, data_dir, fields)


def merge(
    alert_id: AlertId,
    into: Annotated[str, typer.Option("--into", metavar="ID", help="The alert that it belongs to.")],
    why: Why = None,
    revision: Revision = None,
    by: By = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Put an alert under another: they are worked on as one."""
    target = full_id(Settings.load(data_dir), into)
    fields = {"target": target, "text": why, "revision": revision}
    _do("merge", alert_id, f"merged into {target}", by, as_json, data_dir, fields)


def full_id(settings: Settings, prefix: str) -> str:
    """The alert's whole id. Where the store is away, what was given: whoever answers knows whether it is one.

    Exits with 1 where no alert, or more than one, has it.
    """
    try:
        return Store(settings).resolve(prefix)
    except UnknownAlertError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except StoreAwayError as error:
        if settings.desk_url and settings.api_token:
            return prefix
        typer.echo(str(error), err=True)
        raise typer.Exit(AWAY) from None


def _do(
    verb: str, alert_id: str, done: str, by: str | None, as_json: bool, data_dir: Path | None, fields: dict[str, Any]
) -> None:
    settings = Settings.load(data_dir)
    found = full_id(settings, alert_id)
    command = new_command(verb, by, alert_id=found, **fields)
    with errors_for_people():
        action: Action = asker(settings)(command)
    tell(action, as_json, f"{found}: {done} by {action.by}")
