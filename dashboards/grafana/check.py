"""Runs every query of the dashboards and of Grafana's alert rules as Grafana would and says what would not show.

Column types are held to those that plugin 3.3 can read: it has no converter for LowCardinality, and no panel here shows
arrays or maps. What a kind of panel needs of its columns is in ``needs``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from dashboards.grafana import alert_rules, needs
from dashboards.grafana.build import boards
from dashboards.grafana.macros import EVERYTHING, Plugin, Values, Window, expand
from dashboards.grafana.model import Dashboard, Panel, Target, Variable

READABLE_TYPE: Final = re.compile(
    r"(Nullable\()?(String|Bool|U?Int(8|16|32|64)|Float(32|64)|Date|DateTime(\('UTC'\))?|DateTime64\(\d(, 'UTC')?\))\)?"
)
POINTS: Final = 500
"""Buckets that a time series gets where the panel sets no smallest one: about what a wide panel asks for."""
_INTERVAL: Final = re.compile(r"(\d+)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Result(Protocol):
    """What a query returns."""

    @property
    def column_names(self) -> Any: ...
    @property
    def column_types(self) -> Any: ...
    @property
    def result_rows(self) -> Any: ...


class Client(Protocol):
    """The part of clickhouse-connect's client that is used."""

    def query(self, query: str) -> Result: ...


@dataclass(frozen=True, slots=True)
class Query:
    """One query: where it stands, its SQL before expansion, and the panel and target that it is of, if any.

    ``span``: an alert rule asks it of so much time, and all is well when it has no rows.
    """

    where: str
    sql: str
    panel: Panel | None = None
    target: Target | None = None
    span: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one query; ``columns`` maps name to ClickHouse type, ``shown`` are the first of its rows, as many as
    were to be kept, ``errors`` is empty when it would show."""

    where: str
    columns: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    took_ms: float = 0.0
    errors: tuple[str, ...] = ()
    shown: tuple[tuple[Any, ...], ...] = ()


def panel_queries(board: Dashboard) -> Iterator[Query]:
    """Every panel's queries."""
    for panel in board.panels:
        for target in panel.targets:
            ref = f" ({target.ref})" if len(panel.targets) > 1 else ""
            yield Query(f"{board.uid}: panel '{panel.title}'{ref}", target.sql, panel, target)


def alert_queries() -> list[Query]:
    """The alert rules' queries."""
    return [
        Query(f"alert rule '{rule.title}'", rule.sql, span=timedelta(seconds=rule.window_s))
        for rule in alert_rules.RULES
    ]


def variable_query(board: Dashboard, variable: Variable) -> Query:
    """The query of a variable of kind ``query``."""
    return Query(f"{board.uid}: variable {variable.name}", variable.sql)


def bucket(span: timedelta, panel: Panel | None) -> timedelta:
    """Width of a panel's buckets over ``span``: whole seconds, not below the panel's smallest."""
    smallest = timedelta(seconds=1)
    if panel and panel.interval:
        match = _INTERVAL.fullmatch(panel.interval)
        if match is None:
            raise ValueError(f"panel '{panel.title}': interval {panel.interval!r} is no number with s, m, h or d")
        smallest = timedelta(**{_UNITS[match[2]]: int(match[1])})
    return max(smallest, timedelta(seconds=int(span.total_seconds()) // POINTS))


def run(
    client: Client,
    query: Query,
    window: Window,
    values: Values,
    *,
    expect_rows: bool = False,
    plugin: Plugin = 4,
    keep: int = 0,
) -> Outcome:
    """Run one query and keep so many of its rows; every failure is in the outcome, none is raised."""
    began = time.perf_counter()
    try:
        sql = expand(query.sql, window, values, plugin)
        result = client.query(sql)
        took_ms = (time.perf_counter() - began) * 1000
        columns = _columns(result)
        if not columns:
            # Over HTTP an empty result names no columns.
            columns = {str(row[0]): str(row[1]) for row in client.query(f"DESCRIBE TABLE ({sql})").result_rows}
    except Exception as error:  # whatever the driver raises is the finding
        return Outcome(query.where, errors=(str(error).strip(),))
    rows = list(result.result_rows)
    errors = [
        f"column {name} is {kind}, which plugin 3.3 cannot read; cast it, for example CAST({name}, 'String')"
        for name, kind in columns.items()
        if not READABLE_TYPE.fullmatch(kind)
    ]
    if query.panel and query.target:
        errors += needs.missing(query.panel, query.target, columns)
        errors += needs.out_of_order(query.target, columns, rows)
        errors += needs.nowhere(query.panel, columns, rows)
    if query.span:
        errors += needs.missing_in_alert(columns)
    may_be_empty = bool(query.span) or bool(query.panel and query.panel.empty_in_demo)
    if expect_rows and not rows and not may_be_empty:
        errors.append("no rows, though the demo has some for it")
    shown = tuple(tuple(row) for row in rows[:keep])
    return Outcome(query.where, columns, len(rows), round(took_ms, 1), tuple(errors), shown)


def _columns(result: Result) -> dict[str, str]:
    kinds = [each if isinstance(each, str) else each.name for each in result.column_types]
    return dict(zip(result.column_names, kinds, strict=True))


def opening_values(client: Client, board: Dashboard, window: Window) -> tuple[dict[str, str | list[str]], list[Query]]:
    """What the dashboard's variables are when it opens, and the queries of those that have one.

    A variable of one value that a query answers is the first that it answers, or empty when there is none.
    """
    values: dict[str, str | list[str]] = {}
    asked: list[Query] = []
    for variable in board.variables:
        values[variable.name] = EVERYTHING if variable.multi else variable.value
        if variable.kind == "query":
            asked.append(variable_query(board, variable))
    for variable in board.variables:
        if variable.kind == "query" and not variable.multi:
            try:
                rows = client.query(expand(variable.sql, window, values)).result_rows
            except Exception:  # the same query is run and judged with the others
                continue
            values[variable.name] = str(rows[0][0]) if rows else ""
    return values, asked


def check(
    client: Client,
    *,
    now: datetime,
    among: Iterable[Dashboard] | None = None,
    values: Mapping[str, str | list[str]] | None = None,
    span: timedelta | None = None,
    expect_rows: bool = False,
    plugin: Plugin = 4,
    keep: int = 0,
) -> list[Outcome]:
    """Run all queries over the time that ends at ``now`` (aware): ``span``, or each dashboard's own. The alert rules'
    are among them unless ``among`` says which dashboards.

    ``values`` replaces what variables are when a dashboard opens, for example ``{"partner": ["bpol-de"],
    "exercise": "all"}``. With ``expect_rows`` a query without rows is an error, unless its panel says why the demo
    leaves it empty. ``plugin`` is the version whose macros are expanded, ``keep`` how many rows of each query the
    outcomes have. Never raises for a query that fails.
    """
    found: list[Outcome] = []
    for board in boards() if among is None else among:
        length = span or board.span
        window = Window(now.astimezone(UTC) - length, now.astimezone(UTC), bucket(length, None))
        opening, asked = opening_values(client, board, window)
        chosen = opening | {name: value for name, value in (values or {}).items() if name in opening}
        ask = partial(run, client, expect_rows=expect_rows, plugin=plugin, keep=keep)
        found += [ask(query, window, chosen) for query in asked]
        for query in panel_queries(board):
            each = Window(window.start, window.end, bucket(length, query.panel))
            found.append(ask(query, each, chosen))
    if among is None:
        for query in alert_queries():
            window = Window(now.astimezone(UTC) - (query.span or timedelta()), now.astimezone(UTC))
            found.append(run(client, query, window, {}, plugin=plugin, keep=keep))
    return found
