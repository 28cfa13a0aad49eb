"""Times every query of the dashboards over millions of generated events, in a store that is thrown away after."""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from dashboards.grafana import check
from dashboards.grafana.bench_data import statements
from schemas.migrations import migrate
from schemas.partners import Partners

LIMIT_MS: Final = 200.0
DAYS: Final = 28
"""Four weeks, and so the usual of an hour."""
REPEATS: Final = 3
DAY: Final = timedelta(hours=24)
MERGES_WAIT_S: Final = 90
JUSTIFIED: Final[dict[str, str]] = {
    "tocsin-situation: panel 'Entities that several partners saw'": "It reads every entity of the time range twice; a "
    "rollup of entities is as large as the events and would have to be written with each insert.",
    "tocsin-situation: panel 'Events by place'": "It reads the place of every event of the time range, which is too "
    "long from about four million of them on; a rollup would cost every insert a third more.",
}
"""Why a query may take longer than the limit, by its dashboard and panel as the bench names them."""
# The machine is shared: a query or an insert that wants more fails instead.
_SETTINGS: Final = (
    "SET max_memory_usage = 6000000000, max_insert_threads = 1, max_insert_block_size = 250000, "
    "max_partitions_per_insert_block = 0, session_timezone = 'UTC'"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One query: milliseconds (median) and rows over its dashboard's own time range and over 24 hours.

    ``note`` justifies more than the limit; ``errors`` are those of `tocsin dashboards check`.
    """

    where: str
    own_ms: float
    day_ms: float
    rows: int
    day_rows: int
    note: str = ""
    errors: tuple[str, ...] = ()

    @property
    def slow(self) -> bool:
        """Above the limit over either range."""
        return max(self.own_ms, self.day_ms) > LIMIT_MS


@dataclass(frozen=True, slots=True)
class _Answer:
    column_names: list[str]
    column_types: list[str]
    result_rows: list[list[Any]]


class _Store:
    """ClickHouse's engine in this process, on a folder of its own; speaks like clickhouse-connect's client."""

    def __init__(self, folder: Path) -> None:
        # Loading the engine takes a second, and no other command needs it. Its package has no types.
        self._session: Any = importlib.import_module("chdb.session").Session(str(folder))

    def command(self, cmd: str) -> None:
        """Run one statement without rows."""
        self._session.query(cmd)

    def query(self, query: str) -> _Answer:
        """Run one query."""
        answer = orjson.loads(self._session.query(query, "JSONCompact").bytes())
        meta = answer["meta"]
        return _Answer([each["name"] for each in meta], [each["type"] for each in meta], answer["data"])

    def close(self) -> None:
        """End the engine."""
        self._session.close()


def bench(
    events: int,
    partners: Partners,
    *,
    days: int = DAYS,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Timing]:
    """Fill a store with so many events and time every query of every dashboard, as it opens.

    The store lies in a temporary folder below ``folder`` (some 250 bytes an event) and is removed. ``say`` is told of
    the progress.

    Raises:
        OSError: the folder cannot be written.
        RuntimeError: the engine refused a statement.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir=folder) as place:
        store = _Store(Path(place))
        try:
            end = datetime.now(UTC)
            _fill(store, events, partners, end, days, say)
            say("asking")
            own = [check.check(store, now=end) for _ in range(REPEATS)]
            day = [check.check(store, now=end, span=DAY) for _ in range(REPEATS)]
        finally:
            store.close()
    return [
        _timing(opened, daily) for opened, daily in zip(zip(*own, strict=True), zip(*day, strict=True), strict=True)
    ]


def _fill(store: _Store, events: int, partners: Partners, end: datetime, days: int, say: Callable[[str], None]) -> None:
    for statement in ("CREATE DATABASE tocsin", "USE tocsin", _SETTINGS):
        store.command(statement)
    migrate(store)
    began = time.monotonic()
    for statement in statements(events, partners, end, days):
        store.command(statement)
        say(f"{time.monotonic() - began:.0f} s: {' '.join(statement.split()[:3])}")
    # A store at work has merged all but its latest parts.
    until = time.monotonic() + MERGES_WAIT_S
    while store.query("SELECT count() FROM system.merges").result_rows[0][0] and time.monotonic() < until:
        time.sleep(0.5)
    say(f"{events} events of {days} days after {time.monotonic() - began:.0f} s")


def _timing(own: Sequence[check.Outcome], day: Sequence[check.Outcome]) -> Timing:
    where = own[0].where
    return Timing(
        where,
        statistics.median(each.took_ms for each in own),
        statistics.median(each.took_ms for each in day),
        own[-1].rows,
        day[-1].rows,
        JUSTIFIED.get(where, ""),
        tuple(dict.fromkeys(error for each in (*own, *day) for error in each.errors)),
    )
