"""``tocsin up``: start every part, show the run, report on it, stop every part."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from dashboards.desk.auth.accounts import OneTime, first_start
from dashboards.desk.auth.local import local_token
from dashboards.grafana.build import write_provisioning
from deploy.console import watch_run
from deploy.demo.partners import STATE_FILE
from deploy.embedded.platform import Platform
from deploy.embedded.report import ConsoleReporter
from deploy.observe import AlertWatch, Totals, totals
from deploy.parts import demo_part, desk_part, worker_parts
from deploy.prepare import prepare
from deploy.report import demo_state, make_report, wait_until_drained
from schemas.settings import ENDPOINTS_FILE, Settings
from streams.store import connect

REPORT_FAILED = 4
DESK_PORT = 8090


def up(
    console: Console,
    data_dir: Path,
    *,
    demo: bool,
    rate: float,
    seed: int,
    exit_after_s: float | None,
    report_file: Path | None,
) -> int:
    """Run the platform until it is told to stop or ``exit_after_s`` seconds after it is ready.

    Returns:
        Exit status: 0, or 4 when a report was asked for and says that records were lost.

    Raises:
        PlatformError: a part did not start; it names the part, its log and what to do.
    """
    started = time.monotonic()
    since = dt.datetime.now(dt.UTC)
    with Platform(data_dir, reporter=ConsoleReporter(console)) as platform, platform.signals():
        settings = platform.start()
        console.print("tocsin: topics, schemas and tables", highlight=False)
        if rules := prepare(settings).rules:
            console.print(f"tocsin: {rules}", highlight=False)
        first = first_start(settings)
        port = platform.port("desk", DESK_PORT)
        settings = platform.update_endpoints(desk_url=f"http://127.0.0.1:{port}/", api_token=local_token(settings))
        platform.add_parts([*worker_parts(settings), desk_part(settings, port)])
        write_provisioning(settings.data_dir / "grafana", settings.desk_url or "")
        ready_s = time.monotonic() - started
        console.print(f"tocsin: [bold green]ready[/] in {ready_s:.1f} s", highlight=False)
        _say_how_to_log_in(console, settings, first)
        if demo:
            (settings.data_dir / STATE_FILE).unlink(missing_ok=True)
            platform.add_parts([demo_part(settings, secrets.token_hex(3), rate, seed)])
        deadline = time.monotonic() + exit_after_s if exit_after_s else None
        client = connect(settings, reader=True)
        with AlertWatch(settings, since) as watch:
            watch_run(
                console,
                watch,
                lambda: totals(client, since),
                _addresses(settings),
                lambda: _published(settings.data_dir),
                lambda: not platform.wait(0) and (deadline is None or time.monotonic() < deadline),
            )
            if demo:
                console.print("tocsin: stopping the demo partners", highlight=False)
                platform.part("demo").stop()
            if report_file:
                report = _report(console, settings, since, ready_s, watch)
                report_file.write_text(json.dumps(report, indent=2) + "\n")
                console.print(f"tocsin: report written to {report_file}", highlight=False)
                return REPORT_FAILED if report["lost"] else 0
    return 0


def _say_how_to_log_in(console: Console, settings: Settings, first: OneTime | None) -> None:
    console.print(f"tocsin: the watch desk is at [bold]{settings.desk_url}[/]", highlight=False)
    if first is not None:
        # Only here and only now: nothing else has the password.
        console.print(
            f"tocsin: log in as [bold]{first.name}[/] with the one-time password [bold]{first.password}[/] and choose "
            f"your own (lost? tocsin accounts reset {first.name})",
            highlight=False,
            soft_wrap=True,
        )


def _report(
    console: Console, settings: Settings, since: dt.datetime, ready_s: float, watch: AlertWatch
) -> dict[str, Any]:
    state = demo_state(settings.data_dir)
    published = state["published_total"] + state["bad_total"] if state else 0
    console.print(f"waiting until all of {published:,} published records are stored or in quarantine")
    client = connect(settings, reader=True)
    found: Totals = wait_until_drained(client, since, published)
    # Alerts follow storage by a moment: the correlators read what ingest has just sent.
    time.sleep(3.0)
    return make_report(ready_s, state, found, watch)


def _published(data_dir: Path) -> dict[str, int]:
    state = demo_state(data_dir)
    if state is None:
        return {}
    return {partner: counts["published"] + counts["bad"] for partner, counts in state["partners"].items()}


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    return [
        ("watch desk", settings.desk_url or ""),
        ("ClickHouse", f"{settings.clickhouse_url} (users and passwords: {settings.data_dir / ENDPOINTS_FILE})"),
        ("registry", settings.registry_url),
        ("Kafka", settings.kafka_bootstrap),
        ("Grafana", settings.grafana_url or f"provisioning files in {settings.data_dir / 'grafana'}"),
        ("logs", str(settings.data_dir / "logs")),
    ]
