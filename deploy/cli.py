"""The ``tocsin`` command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dashboards.cli import app as dashboards_app
from deploy.accounts_cli import app as accounts_app
from deploy.alerts_cli import app as alerts_app
from deploy.bench_cli import bench
from deploy.embedded.errors import PlatformError
from deploy.export_cli import export
from deploy.oncall_cli import app as oncall_app
from deploy.publish_cli import publish
from deploy.quarantine_cli import app as quarantine_app
from deploy.rules_cli import app as rules_app
from deploy.schemas_cli import app as schemas_app
from deploy.silence_cli import app as silence_app
from schemas.settings import Settings

app = typer.Typer(
    help="Tocsin: alerts on patterns that no single agency sees. Start with 'tocsin up'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
alerts_app.command("export")(export)
app.add_typer(accounts_app, name="accounts")
app.add_typer(alerts_app, name="alerts")
app.add_typer(silence_app, name="silence")
app.add_typer(oncall_app, name="oncall")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(rules_app, name="rules")
app.add_typer(schemas_app, name="schemas")
app.add_typer(dashboards_app, name="dashboards")
app.command()(publish)
app.command()(bench)

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
    app()


if __name__ == "__main__":
    main()
