"""``tocsin up``: start every part, show the run, report on it, stop every part."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.console import watch_run
from deploy.embedded.platform import Platform
from deploy.observe import AlertWatch, Totals, totals
from deploy.parts import demo_part, web_part, worker_parts
from deploy.prepare import prepare
from deploy.report import demo_state, make_report, wait_until_drained
from schemas.settings import Settings
from streams.store import connect

REPORT_FAILED = 4


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
    stop = threading.Event()
    started = time.monotonic()
    since = dt.datetime.now(dt.UTC)
    with _signals(stop), Platform(data_dir, console=console) as platform:
        platform.start()
        settings = platform.settings
        console.print("preparing topics, schemas and tables")
        prepare(settings)
        platform.add_parts(worker_parts(data_dir))
        web, address = web_part(data_dir, platform)
        platform.add_parts([web])
        ready_s = time.monotonic() - started
        console.print(f"[bold green]ready[/] in {ready_s:.1f} s", highlight=False)
        run_id = secrets.token_hex(3)
        if demo:
            (data_dir / "demo.json").unlink(missing_ok=True)
            platform.add_parts([demo_part(data_dir, run_id, rate, seed)])
        deadline = time.monotonic() + exit_after_s if exit_after_s else None
        client = connect(settings, reader=True)
        with AlertWatch(settings, since) as watch:
            watch_run(
                console,
                watch,
                lambda: totals(client, since),
                _addresses(settings, address),
                lambda: _published(data_dir),
                lambda: not stop.wait(0) and (deadline is None or time.monotonic() < deadline),
            )
            if demo:
                console.print("stopping the demo partners")
                platform.part("demo").stop()
            if report_file:
                report = _report(console, settings, data_dir, since, ready_s, watch)
                report_file.write_text(json.dumps(report, indent=2) + "\n")
                console.print(f"report written to {report_file}")
                return REPORT_FAILED if report["lost"] else 0
    return 0


def _report(
    console: Console, settings: Settings, data_dir: Path, since: dt.datetime, ready_s: float, watch: AlertWatch
) -> dict[str, Any]:
    state = demo_state(data_dir)
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


def _addresses(settings: Settings, web: str) -> list[tuple[str, str]]:
    found = [
        ("alerts", web),
        ("ClickHouse", f"{settings.clickhouse_url}/play  (user reader, password in endpoints.json)"),
        ("registry", settings.registry_url),
        ("Kafka", settings.kafka_bootstrap),
        ("logs", str(settings.data_dir / "logs")),
    ]
    return [*found, ("Grafana", settings.grafana_url)] if settings.grafana_url else found


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM ask for an orderly stop; a second one is not waited for."""

    def handle(number: int, _frame: object) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
