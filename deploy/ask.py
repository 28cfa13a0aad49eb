"""How a command line asks for something: through the desk where there is one, else through Kafka."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import typer
from pydantic import ValidationError

from processors.commands import CommandError, CommandSender, NoAnswerError
from schemas.lifecycle import Action, Command
from schemas.settings import Settings

REFUSED = 3
AWAY = 2
TIMEOUT_S = 15.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class DeskError(RuntimeError):
    """The desk did not do as asked; the message names its address and the reason."""


def login_name() -> str:
    """Who sits at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def new_command(verb: str, by: str | None, **fields: Any) -> Command:
    """A command of now, by ``by`` or whoever is logged in here.

    Raises:
        typer.BadParameter: a field is out of range.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return Command.model_validate(
            {
                "command_id": str(uuid.uuid4()),
                "verb": verb,
                "by": by or login_name(),
                "via": "cli",
                "at": dt.datetime.now(dt.UTC),
                **given,
            }
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(_problem(each) for each in error.errors())) from None


def _problem(error: Any) -> str:
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def asker(settings: Settings) -> Callable[[Command], Action]:
    """The way to ask that these settings lead to: the desk, and Kafka only where there is none. A desk without a token
    is no reason to go past it."""
    if settings.desk_url:
        return lambda command: ask_desk(settings, command)

    def through_kafka(command: Command) -> Action:
        with CommandSender(settings) as sender:
            return sender.ask(command, TIMEOUT_S)

    return through_kafka


ALERT_FIELDS = {"verb", "revision", "for_s", "assignee", "verdict", "target", "text", "by"}
SILENCE_FIELDS = {"matchers", "reason", "starts_at", "ends_at", "partner"}


def request_of(command: Command) -> tuple[str, str, dict[str, Any] | None]:
    """Method, path below ``/api/v1`` and JSON body of a command. Who asks counts for the token of this machine only; of
    others the desk records the account."""
    if command.verb == "silence" and command.silence is not None:
        return "POST", "silences", command.silence.model_dump(mode="json", include=SILENCE_FIELDS) | {"by": command.by}
    if command.verb == "expire_silence":
        query = urlencode({"why": command.text, "by": command.by})
        return "DELETE", f"silences/{quote(command.silence_id or '', safe='')}?{query}", None
    body = command.model_dump(mode="json", include=ALERT_FIELDS, exclude_none=True)
    return "POST", f"alerts/{quote(command.alert_id, safe='')}/commands", body


def ask_desk(settings: Settings, command: Command) -> Action:
    """Ask through the desk's JSON API, which knows by the token who asks and what they may do.

    Raises:
        DeskError: it is not there, does not know the token, or does not let its owner do this.
    """
    if not settings.api_token:
        raise DeskError(
            f"there is no token for the desk at {settings.desk_url}: set TOCSIN_API_TOKEN (tocsin accounts token makes "
            "one), or start the platform again (tocsin up) when the account 'local' is enabled"
        )
    method, path, body = request_of(command)
    url = f"{(settings.desk_url or '').rstrip('/')}/api/v1/{path}"
    try:
        answer = httpx.request(
            method,
            url,
            json=body,
            headers={"Authorization": f"Bearer {settings.api_token}"},
            timeout=TIMEOUT_S,
            # A proxy set for the internet would get the token, and not find the desk.
            trust_env=urlsplit(url).hostname not in LOOPBACK,
        )
    except httpx.HTTPError as error:
        raise DeskError(f"the desk at {settings.desk_url} does not answer: {error}") from error
    if answer.status_code in (200, 409):
        with contextlib.suppress(ValidationError):
            return Action.model_validate_json(answer.content)
    raise DeskError(f"the desk at {settings.desk_url} answers {answer.status_code}: {_said(answer)}")


def _said(answer: httpx.Response) -> str:
    try:
        content = answer.json()
    except ValueError:
        return answer.text[:300].strip() or answer.reason_phrase
    detail = content.get("detail", content) if isinstance(content, dict) else content
    return detail if isinstance(detail, str) else json.dumps(detail)


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Exit 2 with a readable line where nobody answers."""
    try:
        yield
    except (CommandError, NoAnswerError, DeskError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(AWAY) from None


def tell(action: Action, as_json: bool, done: str) -> None:
    """Print what became of a command; exit 3 where it was refused."""
    if as_json:
        typer.echo(action.model_dump_json(indent=2))
    elif action.accepted:
        typer.echo(done)
    else:
        typer.echo(f"refused: {action.reason}", err=True)
    if not action.accepted:
        raise typer.Exit(REFUSED)
