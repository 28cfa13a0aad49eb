"""``tocsin partners``: who may publish, and each partner's user and rights in Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from deploy.options import AsJson, DataDir
from schemas.partners import Partner, Partners, UnknownPartner, load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError
from streams.partner_access import Access, PartnerAccess, PartnerAccessError, Right, rights_of, user_of

app = typer.Typer(
    help="Partners: who may publish, and their users and rights in Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

PartnerId = Annotated[str, typer.Argument(metavar="PARTNER", help="Its id in partners.yml.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


@app.command("list")
def list_partners(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the partners of partners.yml, and whether each has a user in Kafka and the rights of its agreement."""
    settings = Settings.load(data_dir)
    with _readable_errors():
        partners = load_partners(settings.partners_file)
        access = PartnerAccess(settings)
        rows = [_standing(access, partner) for partner in partners]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("partner", "user", "can log in", "rights", box=box.SIMPLE_HEAD)
    for row in rows:
        missing, beyond = len(row["missing"]), len(row["beyond"])
        rights = "as agreed" if not missing and not beyond else f"{missing} missing, {beyond} beyond the agreement"
        table.add_row(row["partner"], row["user"], "yes" if row["user_exists"] else "no", rights)
    Console().print(table)


@app.command()
def grant(
    partner_id: PartnerId,
    rotate: Annotated[bool, typer.Option("--rotate", help="A new password; the old one ends at once.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Let a partner into Kafka: a user (SCRAM-SHA-512), and the right to write the families of its agreement.

    The password is printed once. May be repeated: rights follow partners.yml, the password stays without `--rotate`.

    Where the operator Strimzi runs Kafka, write a KafkaUser instead: it removes users that it does not know.
    """
    with _opened(partner_id, data_dir) as (partner, access):
        done = access.plan(partner) if dry_run else access.grant(partner, rotate=rotate)
        new_user = rotate or not access.has_user(partner) if dry_run else done.password is not None
    if as_json:
        typer.echo(json.dumps({"partner": partner_id, **asdict(done), "dry_run": dry_run, "new_password": new_user}))
        return
    _tell(partner, done, dry_run)
    if done.password is not None:
        typer.echo(f"user {done.user}, password {done.password}")
        typer.echo("The password is not shown again: hand it to the partner by a way that only they can read.")
    elif dry_run:
        typer.echo(f"user {done.user}: {'a new password' if new_user else 'the password stays'}")
    else:
        typer.echo(f"user {done.user} keeps its password; --rotate gives it another")


@app.command()
def revoke(partner_id: PartnerId, dry_run: DryRun = False, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Take a partner's user and rights in Kafka away, at once. What it has published stays."""
    with _opened(partner_id, data_dir) as (partner, access):
        if dry_run:
            planned = access.plan(partner)
            kept = [right for right in planned.rights if right not in planned.added]
            done = Access(planned.user, (), (), (*kept, *planned.removed))
        else:
            done = access.revoke(partner)
    if as_json:
        typer.echo(json.dumps({"partner": partner_id, **asdict(done), "dry_run": dry_run}))
        return
    _tell(partner, done, dry_run)
    typer.echo(f"user {done.user} {'would be' if dry_run else 'is'} gone")


def _tell(partner: Partner, done: Access, dry_run: bool) -> None:
    for word, rights in (("allow", done.added), ("no longer", done.removed)):
        for right in rights:
            typer.echo(f"{word:<9} {partner.kafka_principal} to {right.operation} {_named(right)}")
    unchanged = len(done.rights) - len(done.added)
    would = " (nothing was changed)" if dry_run else ""
    typer.echo(f"{len(done.added)} rights added, {len(done.removed)} taken away, {unchanged} as they were{would}")


def _named(right: Right) -> str:
    named = f"{right.resource.lower()} {right.name}{'*' if right.pattern == 'Prefixed' else ''}"
    where = f" from {right.host}" if right.host != "*" else ""
    return named + where + ("" if right.permission == "Allow" else " (denied)")


def _standing(access: PartnerAccess, partner: Partner) -> dict[str, Any]:
    planned = access.plan(partner)
    return {
        "partner": partner.id,
        "user": user_of(partner),
        "user_exists": access.has_user(partner),
        "rights": [asdict(each) for each in rights_of(partner)],
        "missing": [asdict(each) for each in planned.added],
        "beyond": [asdict(each) for each in planned.removed],
    }


@contextmanager
def _opened(partner_id: str, data_dir: Path | None) -> Iterator[tuple[Partner, PartnerAccess]]:
    settings = Settings.load(data_dir)
    with _readable_errors():
        partners: Partners = load_partners(settings.partners_file)
        yield partners.get(partner_id), PartnerAccess(settings)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, UnknownPartner, PartnerAccessError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
