"""The ``tocsin`` command."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.embedded.errors import PlatformError
from deploy.lazy import Later, lazy_group
from schemas.settings import Settings, SettingsError

LATER = {
    "publish": Later(
        "deploy.publish_cli",
        "publish",
        "Publish the events of a file. Every line is either sent or refused with a reason; refused lines are kept.",
    ),
    "accounts": Later("deploy.accounts_cli", "app", "Accounts and API tokens of the desk."),
    "alerts": Later(
        "deploy.alerts_cli", "app", "Alerts, what they rest on, and what people do to them.", ("deploy.export_cli",)
    ),
    "silence": Later("deploy.silence_cli", "app", "Silences and maintenance windows."),
    "oncall": Later("deploy.oncall_cli", "app", "Who is on call, and who is told of what."),
    "partners": Later("deploy.partners_cli", "app", "Partners: who may publish, and their users and rights in Kafka."),
    "quarantine": Later("deploy.quarantine_cli", "app", "Refused records."),
    "rules": Later("deploy.rules_cli", "app", "Sigma rules: check, test, run on files, back-test, deploy."),
    "schemas": Later("deploy.schemas_cli", "app", "Check and export the event contracts (Avro schemas)."),
    "dashboards": Later("dashboards.cli", "app", "Grafana dashboards as code, pictures and times of the watch desk."),
    "backup": Later(
        "deploy.backup_cli",
        "backup",
        "Copy a running platform into a folder: topics with offsets, tables, schema ids, accounts, configuration.",
    ),
    "restore": Later(
        "deploy.backup_cli",
        "restore",
        "Put a backup onto an empty platform whose workers do not run.",
    ),
    "deploy": Later(
        "deploy.deploy_cli", "app", "Tocsin on servers of your own: containers on one machine, or a cluster."
    ),
    "bench": Later(
        "deploy.bench_cli",
        "bench",
        "Measure events per second from Kafka to stored, matched and correlated, beside plain Faust and Quix Streams.",
    ),
}
app = typer.Typer(
    help="Tocsin: alerts on patterns that no single agency sees. Start with 'tocsin up'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    cls=lazy_group(LATER),
)

DataDir = Annotated[Path | None, typer.Option(help="Data directory of the platform (default .tocsin).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Where data, logs and addresses are kept.")] = Path(".tocsin"),
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Run the eight simulated partners.")] = True,
    rate: Annotated[float, typer.Option(min=0, help="Background events per second of all demo partners.")] = 40.0,
    seed: Annotated[int, typer.Option(help="Seed of the background traffic.")] = 7,
    exit_after: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Stop by itself this long after it is ready.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write an account of the run.")] = None,
) -> None:
    """Start Kafka, the schema registry, ClickHouse, the workers, the watch desk and the demo, all on loopback.

    Ctrl-C stops them. The first start prints the one-time password of the desk's administrator.

    Data stays in the data directory between runs. The first start downloads Kafka and the registry (about 210 MB)
    into a cache of your user.
    """
    from deploy.up import up as run  # heavy imports only where they are needed

    console = Console()
    try:
        status = run(console, data_dir, demo=demo, rate=rate, seed=seed, exit_after_s=exit_after, report_file=report)
    except (PlatformError, RuntimeError) as error:
        Console(stderr=True).print(f"[bold red]tocsin:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    raise typer.Exit(status)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Create or complete topics, schemas and tables of a running platform. May be repeated."""
    from deploy.prepare import prepare

    try:
        ids = prepare(Settings.load(data_dir)).schema_ids
    except RuntimeError as error:
        Console(stderr=True).print(f"[bold red]tocsin:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    typer.echo(f"topics, {len(ids)} schemas and tables are as they should be")


@app.command()
def topics(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Create or complete the topics of a running platform and list them; nothing is ever removed."""
    from streams.topics import TopicError, ensure_topics

    try:
        changes = ensure_topics(Settings.load(data_dir))
    except TopicError as error:
        Console(stderr=True).print(f"[bold red]tocsin:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(each) for each in changes], indent=2))
        return
    table = Table("topic", "partitions", "", "detail")
    for each in changes:
        table.add_row(each.topic, str(each.partitions), each.action, each.detail)
    Console().print(table)


@app.command()
def doctor(
    data_dir: Annotated[Path, typer.Option(help="Folder of the platform.")] = Path(".tocsin"), as_json: AsJson = False
) -> None:
    """Check this machine: Python, codecs, disk, memory, Java, downloads. Exit status 1 if something is wrong."""
    from deploy.embedded.doctor import examine

    findings = examine(data_dir)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(each) for each in findings], indent=2))
    else:
        table = Table("check", "", "found", "what to do")
        for each in findings:
            table.add_row(each.name, each.level, each.found, each.advice)
        Console().print(table)
    raise typer.Exit(1 if any(each.level == "fail" for each in findings) else 0)


def main() -> None:
    """Entry point of the console command."""
    try:
        app()
    except SettingsError as error:
        Console(stderr=True).print(f"[bold red]tocsin:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
