"""How long the running desk takes to answer: each page asked in turn, again and again, as people open them.

Two times are taken of each, in milliseconds. ``server_ms`` is what the desk says of itself: from the request's arrival
in it until the page was made (its Server-Timing header). ``ms`` is from the question to the last byte at the client on
the same machine, so that the client's own work, and waiting for one of the machine's processors, are in it.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.cookies import SESSION
from dashboards.desk.pages.filling import LOADING
from dashboards.desk.server_timing import HEADER, total_ms
from dashboards.screenshot import address_of, session
from schemas.settings import Settings

ALERT: Final = "/alerts/{id}"
PAGES: Final = ("/", ALERT, "/feeds", "/rules", "/quarantine", "/silences", "/oncall", "/exercises")
MARK: Final = ("X-NiceGUI-Content", "page")
"""The header of whole pages: a login form or a message that something is away has none."""
SHARES: Final = (50, 95, 99, 100)
TIMEOUT_S: Final = 60


@dataclass
class PageTimes:
    """What came of asking for one page. ``complete`` counts the pages that had all their contents in them: others show
    their frame first, and the rest when ClickHouse has given it. ``problems`` are answers that were not the page, and
    how often."""

    path: str
    ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    complete: int = 0
    problems: Counter[str] = field(default_factory=Counter)

    def ask(self, client: httpx.Client, alert_id: str) -> None:
        """Ask once."""
        began = time.perf_counter()
        try:
            answer = client.get(self.path.format(id=alert_id))
        except httpx.HTTPError as error:
            self.problems[type(error).__name__] += 1
            return
        took_ms = (time.perf_counter() - began) * 1000
        if answer.status_code == 200 and answer.headers.get(MARK[0]) == MARK[1]:
            self.ms.append(took_ms)
            self.complete += LOADING not in answer.text
            if (own_ms := total_ms(answer.headers.get(HEADER, ""))) is not None:
                self.server_ms.append(own_ms)
        else:
            self.problems[f"answered {answer.status_code} with {answer.headers.get('content-type')}"] += 1

    def figures(self) -> dict[str, Any]:
        """For scripts: how often asked, what went wrong, and milliseconds by percentile; none where no page came."""
        return {
            "page": self.path,
            "asked": len(self.ms) + self.problems.total(),
            "complete": self.complete,
            "problems": dict(self.problems),
            "server_ms": percentiles(self.server_ms),
            "ms": percentiles(self.ms),
        }


def percentiles(times: list[float]) -> dict[str, int]:
    """Times that were measured, by ``p50`` and so on; none of none."""
    ordered = sorted(times)
    return {f"p{share}": round(ordered[math.ceil(len(ordered) * share / 100) - 1]) for share in SHARES if ordered}


def measure(settings: Settings, goes_on: Callable[[], bool], pause_s: float = 0.1) -> list[PageTimes]:
    """Ask for one page after the other until ``goes_on`` says no, with a pause between them, through an account that
    exists only meanwhile. An alert's page is that of the alert which stands first in the queue.

    Raises:
        ScreenshotError: no desk runs on this data directory.
        DatabaseError: its accounts cannot be used.
    """
    address = address_of(settings)
    times = [PageTimes(path) for path in PAGES]
    with (
        session(Accounts(settings)) as cookie,
        httpx.Client(base_url=address, cookies={SESSION: cookie}, timeout=TIMEOUT_S) as client,
    ):
        for each in itertools.cycle(times):
            if not goes_on():
                break
            alert_id = _first_alert(client) if each.path == ALERT else ""
            if alert_id or each.path != ALERT:
                each.ask(client, alert_id)
            time.sleep(pause_s)
    return times


def _first_alert(client: httpx.Client) -> str:
    """Id of the alert that stands first in the queue; empty where the queue is, or does not answer."""
    try:
        answer = client.get("/api/v1/alerts", params={"limit": 1})
        found = answer.json()["alerts"] if answer.status_code == 200 else []
    except httpx.HTTPError:
        found = []
    return str(found[0]["alert_id"]) if found else ""
