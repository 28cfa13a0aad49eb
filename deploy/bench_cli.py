"""``tocsin bench``: options, progress and the table at the end."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


def bench(
    events: Annotated[int, typer.Option(min=1000, help="Events in the topics.")] = 500_000,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N[,N...]",
            help="Detections, drawn from the traffic; Tocsin runs with each number, latency counts for the first.",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measured beside Tocsin with the first number of rules; may be repeated: plain-faust, quix,"
            " quix-indexed, or none. Default: plain-faust and quix, as far as installed.",
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of each topic. Default: as many as ingest workers.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Ingest workers; one correlation worker runs beside them.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each system; the median counts.")] = 1,
    store: Annotated[
        bool, typer.Option("--store/--no-store", help="Without, ClickHouse is left out, as with the peers.")
    ] = True,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Also measure latency at 25, 50 and 80 % of the rate.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of traffic and rules.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Measure events per second from Kafka to stored, matched and correlated, beside plain Faust and Quix Streams.

    Starts a platform of its own in a temporary folder. The events carry the full header; 1 to 3 % of them meet a rule,
    and ten correlations watch the rules. Rates count from the end of the warm-up (a tenth of the events) until every
    event is stored and every signal correlated. Processor time and memory are those of the measured processes with
    their children, not of Kafka, ClickHouse or the load generator. Peers decode, match and count in windows, and store
    nothing; a run in which they find other matches than Tocsin fails.

    Examples, the second as the README's figures are made:

        tocsin bench --events 50000 --no-latency

        tocsin bench --events 1000000 --rules 100 --json > bench.json
    """
    from deploy.bench.measure import StalledError
    from deploy.bench.peers import PEERS, missing
    from deploy.bench.run import Plan, UnequalError
    from deploy.bench.run import bench as run

    errors = Console(stderr=True)

    def say(text: str) -> None:
        errors.print(f"bench: {text}", highlight=False)

    peers = tuple(dict.fromkeys(peer or ("plain-faust", "quix")))
    if peers == ("none",):
        peers = ()
    for name in peers:
        if name not in PEERS:
            raise typer.BadParameter(f"no peer {name!r}; there is: {', '.join(PEERS)}", param_hint="--peer")
        if (advice := missing(name)) and peer:
            raise typer.BadParameter(f"{name} is not installed: {advice}", param_hint="--peer")
        if advice:
            say(f"{name} is left out, for it is not installed: {advice}")
    plan = Plan(
        events,
        _numbers(rules or ["100"]),
        tuple(name for name in peers if not missing(name)),
        partitions or workers,
        workers,
        runs,
        seed,
        store,
        latency,
    )
    try:
        result = run(plan, say)
    except (StalledError, UnequalError) as error:
        errors.print(f"[bold red]tocsin:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        show(Console(), result)


def _numbers(texts: list[str]) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(each) for text in texts for each in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter("expected numbers, for example 10,100", param_hint="--rules") from error
    if min(found) < 1:
        raise typer.BadParameter("expected numbers from 1 on", param_hint="--rules")
    return found


def show(console: Console, result: dict[str, Any]) -> None:
    """The results as people read them."""
    workload = result["workload"]
    title = (
        f"{workload['partitions']} partitions, {workload['workers']} ingest worker(s), "
        f"{workload['bytes_per_event']} bytes an event" + ("" if workload["store"] else ", no store")
    )
    table = Table(title=title, title_justify="left")
    for name in ("system", "rules", "events", "matched", "alerts", "events/s", "per CPU-s", "peak MB"):
        table.add_column(name, justify="left" if name == "system" else "right")
    rows = [("tocsin", run["workload"]["rules"], run["workload"]["events"], run["tocsin"]) for run in result["runs"]]
    rows += [(name, workload["rules"], each["events"], each) for name, each in result["peers"].items()]
    for name, rules, events, each in rows:
        named = ("events_matched", "alerts", "events_per_s", "events_per_cpu_s", "peak_rss_mb")
        figures = [rules, events, *(each.get(figure) for figure in named)]
        table.add_row(name, *("" if figure is None else f"{figure:,}" for figure in figures))
    console.print(table)
    for name, each in result["peers"].items():
        console.print(f"Tocsin is {each['tocsin_is_times_faster']} times {name}.")
    if any(each["latency_ms"] for *_, each in rows):
        console.print(_latencies(rows))


def _latencies(rows: list[tuple[str, int, int, dict[str, Any]]]) -> Table:
    table = Table(title="Milliseconds from publication, p50 / p95 / p99", title_justify="left")
    for name in ("system", "rules", "load", "events/s", "event stored or handled", "alert"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for name, rules, _, each in rows:
        for level, found in each["latency_ms"].items():
            if isinstance(found, dict):
                texts = (" / ".join(f"{ms:,}" for ms in found[what].values()) for what in ("event", "alert"))
                table.add_row(name, f"{rules:,}", level, f"{found['rate_per_s']:,}", *texts)
    return table
