"""``tocsin deploy``: prepare an installation on servers of your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.environment import AUTHORITY, COMPOSE_FILE, ENV_FILE, HIDDEN, EnvironmentFileError, Wishes, write

app = typer.Typer(help="Tocsin on servers of your own: containers on one machine, or a cluster.", no_args_is_help=True)


@app.callback()
def deploy() -> None:
    """Tocsin on servers of your own: containers on one machine, or a cluster."""


@app.command()
def init(
    file: Annotated[
        Path, typer.Option(metavar="FILE.env", help="Where it goes.", show_default="beside compose.yaml")
    ] = ENV_FILE,
    cluster: Annotated[bool, typer.Option("--cluster", help="Three Kafka brokers and copies of every topic.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic: workers of a kind that can share it.")] = 4,
    partner_address: Annotated[
        str, typer.Option(metavar="IP", help="Address of this machine at which partners reach Kafka and the registry.")
    ] = "127.0.0.1",
    config_folder: Annotated[
        str, typer.Option(metavar="DIR", help="Folder of your oncall.yml and partners.yml, seen from compose.yaml.")
    ] = "../schemas",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file: new passwords for ClickHouse, a new certificate.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts; never the passwords.")] = False,
) -> None:
    """Make the passwords and settings of an installation: the `.env` that `compose.yaml` reads.

    Only its owner can read the file, and it is never overwritten without `--force`. Kafka's cluster id, what Grafana
    keeps in its volume, and the registry's password for partners stay the same even then. One broker or three is
    decided here, before the first start.

    Beside it come `ca.pem`, which partners get, and `ca.key`, which signed the brokers' certificate. That is valid for
    a year; `--force` makes a new one. To use your own, put its key and its chain, each on one line and in single
    quotes, into KAFKA_TLS_KEY and KAFKA_TLS_CHAIN.

    The same file serves a cluster: `kubectl create secret generic tocsin --from-env-file FILE.env`.
    """
    wishes = Wishes(3 if cluster else 1, partitions, partner_address, config_folder)
    try:
        values = write(file, wishes, force=force)
    except EnvironmentFileError as error:
        Console(stderr=True).print(f"[bold red]tocsin:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    compose = f"docker compose --file {_shown(COMPOSE_FILE)}"
    if file.absolute() != ENV_FILE:
        compose += f" --env-file {file}"
    start = f"{compose} up --detach --build"
    account = f"{compose} exec desk python -m deploy.cli accounts add chief --role administrator"
    if as_json:
        shown = {name: value for name, value in values.items() if name not in HIDDEN}
        typer.echo(json.dumps({"file": str(file), "settings": shown, "secrets": HIDDEN, "next": [start, account]}))
        return
    typer.echo(f"{_shown(file)} written: {len(HIDDEN)} secrets, readable by you only.")
    typer.echo(f"Start it:          {start}")
    typer.echo(f"First person:      {account}")
    typer.echo(f"Watch desk:        {values['TOCSIN_DESK_URL']}")
    typer.echo(f"Grafana:           {values['TOCSIN_GRAFANA_URL']} (admin, GRAFANA_ADMIN_PASSWORD of {_shown(file)})")
    typer.echo(f"Partners' Kafka:   {values['PARTNER_ADDRESS']}:9092 (SASL_SSL), registry by https on port 8443")
    typer.echo(f"Partners get:      {_shown(file.parent / AUTHORITY[0])}, what 'tocsin partners grant' prints, and")
    typer.echo(f"                   TOCSIN_REGISTRY_PARTNER_PASSWORD of {_shown(file)}")


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
