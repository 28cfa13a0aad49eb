"""``tocsin accounts``: who may use the desk, and with which tokens. Works on the accounts' file, so for its operator
only, and whether the desk runs or not; what changes holds at once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from dashboards.desk.auth.access_log import AccessLog, Entry
from dashboards.desk.auth.accounts import ONE_TIME_VALID, AccountError, Accounts, OneTime
from dashboards.desk.auth.database import DatabaseError
from dashboards.desk.auth.roles import PERMISSIONS, ROLES, Role
from dashboards.desk.auth.tokens import TokenError
from dashboards.explain import printable, stamp
from deploy.access_cli import access
from deploy.ask import login_name
from deploy.options import AsJson
from schemas.partners import load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

app = typer.Typer(help="Accounts and API tokens of the desk.", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(access)

DataDir = Annotated[Path | None, typer.Option(help="Folder of the platform (default .tocsin).")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
RoleName = Annotated[str, typer.Option("--role", help=f"One of {', '.join(ROLES)}.")]
Partner = Annotated[str | None, typer.Option(help="The partner whose alerts the role partner sees.")]

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@contextmanager
def _opened(data_dir: Path | None, what: str, target: str) -> Iterator[Accounts]:
    """The accounts; what is done to them goes to the access log, refusals too."""
    settings = Settings.load(data_dir)
    problem: Exception | None = None
    try:
        accounts = Accounts(settings)
        try:
            yield accounts
        finally:
            accounts.close()
    except (AccountError, DatabaseError, TokenError) as error:
        problem = error
    # Its word on a store that is away says less than ours.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    access = AccessLog(settings)
    access.take(
        Entry(
            at=datetime.now(UTC),
            person=login_name(),
            role="operator",
            what=what,
            target=target,
            allowed=problem is None,
            via="cli",
            address="",
            detail=str(problem or ""),
        )
    )
    access.close()
    if problem is not None:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1)


@contextmanager
def _read(data_dir: Path | None) -> Iterator[Accounts]:
    try:
        accounts = Accounts(Settings.load(data_dir))
    except DatabaseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    try:
        yield accounts
    finally:
        accounts.close()


@app.command()
def add(
    name: Name,
    role: RoleName,
    partner: Partner = None,
    display: Annotated[str, typer.Option(help="The name that others see.")] = "",
    machine: Annotated[bool, typer.Option(help="No password: only tokens let it in.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make an account and print its one-time password, which is shown once and must be changed at the first login."""
    _check_partner(data_dir, partner)
    made = None
    with _opened(data_dir, "account add", _about(name, role, partner)) as accounts:
        if machine:
            accounts.add_machine(name, cast("Role", role), partner=partner, display=display)
        else:
            made = accounts.add(name, cast("Role", role), partner=partner, display=display)
    if made is None:
        typer.echo(f"made {name}; next: tocsin accounts token {name} --scope view")
    else:
        _tell(made)


@app.command("list")
def list_accounts(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the accounts."""
    with _read(data_dir) as accounts:
        found = accounts.all()
    if as_json:
        typer.echo(json.dumps([_plain(asdict(account)) for account in found], indent=2))
        return
    table = Table("name", "role", "partner", "state", "logs in by", "last login (UTC)", box=box.SIMPLE_HEAD)
    for each in found:
        last = stamp(each.last_login_at) if each.last_login_at else "never"
        partner = printable(each.partner or "")
        table.add_row(each.name, each.role, partner, each.standing, each.logs_in_by, last)
    Console().print(table)


@app.command()
def disable(name: Name, data_dir: DataDir = None) -> None:
    """Shut an account out; its sessions and tokens end at once."""
    with _opened(data_dir, "account disable", name) as accounts:
        accounts.disable(name)
    typer.echo(f"{name} is disabled, its sessions and tokens have ended")


@app.command()
def enable(name: Name, data_dir: DataDir = None) -> None:
    """Let a disabled account in again."""
    with _opened(data_dir, "account enable", name) as accounts:
        accounts.enable(name)
    typer.echo(f"{name} is enabled")


@app.command()
def unlock(name: Name, data_dir: DataDir = None) -> None:
    """End the wait after wrong passwords."""
    with _opened(data_dir, "account unlock", name) as accounts:
        accounts.unlock(name)
    typer.echo(f"{name} may log in at once")


@app.command()
def delete(name: Name, data_dir: DataDir = None) -> None:
    """Remove an account. One that acted on alerts is better disabled, so that its name is not given to another."""
    with _opened(data_dir, "account delete", name) as accounts:
        accounts.delete(name)
    typer.echo(f"{name} is deleted")


@app.command()
def reset(name: Name, data_dir: DataDir = None) -> None:
    """Print a new one-time password; sessions and tokens of the account end, and so does a wait after wrong ones."""
    made = None
    with _opened(data_dir, "account reset", name) as accounts:
        made = accounts.reset(name)
    if made:
        _tell(made)


@app.command()
def role(name: Name, role: RoleName, partner: Partner = None, data_dir: DataDir = None) -> None:
    """Give an account another role; who is logged in under it has to log in again."""
    _check_partner(data_dir, partner)
    with _opened(data_dir, "account role", _about(name, role, partner)) as accounts:
        accounts.set_role(name, cast("Role", role), partner=partner)
    typer.echo(f"{name} is {role}")


@app.command()
def token(
    name: Name,
    scope: Annotated[str, typer.Option(help=f"What it may do, with commas: {', '.join(PERMISSIONS)}.")] = "view",
    expires: Annotated[str, typer.Option(metavar="TIME", help="Until when, as 30d, 12h or 15m.")] = "30d",
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make an API token and print it, once."""
    valid = _duration(expires)
    made = None
    with _opened(data_dir, "token make", f"{name} {scope}") as accounts:
        made = accounts.tokens.make(name, [each.strip() for each in scope.split(",") if each.strip()], valid, label)
    if made is None:
        return
    if as_json:
        typer.echo(json.dumps(_plain(asdict(made.token)) | {"secret": made.secret}, indent=2))
        return
    typer.echo(made.secret)
    typer.echo(f"id {made.token.id}, valid until {stamp(made.token.expires_at)} UTC; it is not shown again", err=True)


@app.command()
def tokens(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the tokens that are valid; their secrets are not kept."""
    with _read(data_dir) as accounts:
        found = accounts.tokens.all()
    if as_json:
        typer.echo(json.dumps([_plain(asdict(each)) for each in found], indent=2))
        return
    table = Table("id", "account", "scope", "label", "expires (UTC)", "last used (UTC)", box=box.SIMPLE_HEAD)
    for each in found:
        used = stamp(each.used_at) if each.used_at else "never"
        table.add_row(each.id, each.account, ", ".join(each.scope), printable(each.label), stamp(each.expires_at), used)
    Console().print(table)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As tocsin accounts tokens lists it.")],
    data_dir: DataDir = None,
) -> None:
    """End a token at once."""
    with _opened(data_dir, "token revoke", token_id) as accounts:
        if not accounts.tokens.revoke(token_id):
            raise TokenError(f"there is no token '{token_id}'; tocsin accounts tokens lists those there are")
    typer.echo(f"token {token_id} is revoked")


def _tell(made: OneTime) -> None:
    typer.echo(f"name      {made.name}\npassword  {made.password}")
    typer.echo(f"Shown once; valid for {ONE_TIME_VALID.days} days, to be changed at the first login.", err=True)


def _about(name: str, role: str, partner: str | None) -> str:
    return f"{name} {role} {partner or ''}".strip()


def _check_partner(data_dir: Path | None, partner: str | None) -> None:
    if partner is None:
        return
    settings = Settings.load(data_dir)
    try:
        load_partners(settings.partners_file).get(partner)
    except (ConfigError, LookupError) as error:
        raise typer.BadParameter(str(error), param_hint="--partner") from None


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a time; examples: 30d, 12h, 15m", param_hint="--expires")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in values.items()}
