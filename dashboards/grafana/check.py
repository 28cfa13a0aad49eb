"""Runs every query of the dashboard as Grafana would and says what would not show.

Macros expand as the plugin's documentation has them (grafana-clickhouse-datasource, "Macros"); variables as Grafana's
template formats do. Column types are held to those that plugin 3.3 can read: it has no converter for LowCardinality,
and no panel here shows arrays or maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from dashboards.grafana.build import dashboard
from dashboards.grafana.common import TIME_SERIES, Json

READABLE_TYPE: Final = re.compile(
    r"(Nullable\()?(String|Bool|U?Int(8|16|32|64)|Float(32|64)|Date|DateTime(\('UTC'\))?|DateTime64\(\d(, 'UTC')?\))\)?"
)
_MACRO: Final = re.compile(r"\$__(?P<name>[a-zA-Z_]+)(?:\((?P<column>[^()]*)\))?")
_VARIABLE: Final = re.compile(r"\$\{(?P<name>[a-z]+)(?::(?P<format>[a-z]+))?\}|\$(?P<short>[a-z]+)")


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
class Window:
    """Time range (aware, UTC) and bucket width that a person looks at."""

    start: datetime
    end: datetime
    interval: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of the dashboard: where it stands and its SQL before expansion."""

    where: str
    sql: str
    format: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one query; ``columns`` maps name to ClickHouse type, ``errors`` is empty when it would show."""

    where: str
    columns: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    errors: tuple[str, ...] = ()


def expand_macros(sql: str, window: Window) -> str:
    """The SQL with the plugin's macros replaced.

    Raises:
        ValueError: a macro that the plugin does not have, or one without the column it needs.
    """
    start, end = int(window.start.timestamp()), int(window.end.timestamp())
    seconds = max(int(window.interval.total_seconds()), 1)

    def replace(match: re.Match[str]) -> str:
        name, column = match["name"], (match["column"] or "").strip()
        if name in {"timeFilter", "timeInterval"} and not column:
            raise ValueError(f"$__{name} needs a column, as in $__{name}(created_at)")
        expansions = {
            "timeFilter": f"{column} >= toDateTime({start}) AND {column} <= toDateTime({end})",
            "timeInterval": f"toStartOfInterval(toDateTime({column}), INTERVAL {seconds} second)",
            "interval_s": str(seconds),
            "fromTime": f"toDateTime({start})",
            "toTime": f"toDateTime({end})",
        }
        if name not in expansions:
            raise ValueError(f"$__{name} is not a macro known here; known: {', '.join(sorted(expansions))}")
        return expansions[name]

    return _MACRO.sub(replace, sql)


def expand_variables(sql: str, values: dict[str, str | list[str]]) -> str:
    """The SQL with the dashboard's variables replaced: a list as quoted values, a text as it is.

    Raises:
        ValueError: the SQL names a variable that the dashboard does not have.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"] or match["short"]
        if name not in values:
            raise ValueError(f"${name} is not a variable of the dashboard; it has {', '.join(sorted(values))}")
        value = values[name]
        if isinstance(value, str):
            return value
        return ",".join("'" + each.replace("'", "\\'") + "'" for each in value)

    return _VARIABLE.sub(replace, sql)


def queries(board: Json) -> Iterator[Query]:
    """Every panel's and variable's query."""
    for panel in board["panels"]:
        for each in panel.get("targets", ()):
            yield Query(f"panel {panel['id']} '{panel['title']}'", each["rawSql"], each["format"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"variable {variable['name']}", variable["query"], 1)


def selections(board: Json) -> dict[str, str | list[str]]:
    """The variables' values when the dashboard opens; "all" stands for its own value, as Grafana does it."""
    values: dict[str, str | list[str]] = {}
    for variable in board["templating"]["list"]:
        current = variable["current"]["value"]
        values[variable["name"]] = variable["allValue"] if current == ["$__all"] else current
    return values


def _column_errors(query: Query, columns: dict[str, str]) -> list[str]:
    errors = [
        f"column {name} is {kind}, which plugin 3.3 cannot read; cast it, for example CAST({name}, 'String')"
        for name, kind in columns.items()
        if not READABLE_TYPE.fullmatch(kind)
    ]
    # Over HTTP an empty result names no columns.
    if query.format == TIME_SERIES and columns:
        kinds = list(columns.values())
        if not any(kind.startswith("DateTime") for kind in kinds):
            errors.append("a time series needs a column of type DateTime; none is there")
        if not any(re.match(r"(Nullable\()?(U?Int|Float)", kind) for kind in kinds):
            errors.append("a time series needs a numeric column; none is there")
    return errors


def run(client: Client, query: Query, window: Window, values: dict[str, str | list[str]]) -> Outcome:
    """Run one query; every failure is in the outcome, none is raised."""
    try:
        result = client.query(expand_macros(expand_variables(query.sql, values), window))
    except Exception as error:  # whatever the driver raises is the finding
        return Outcome(query.where, errors=(str(error).strip(),))
    kinds = [each if isinstance(each, str) else each.name for each in result.column_types]
    columns = dict(zip(result.column_names, kinds, strict=True))
    return Outcome(query.where, columns, len(result.result_rows), tuple(_column_errors(query, columns)))


def check(
    client: Client,
    *,
    now: datetime,
    board: Json | None = None,
    values: dict[str, str | list[str]] | None = None,
    span: timedelta = timedelta(hours=1),
) -> list[Outcome]:
    """Run all queries over the ``span`` that ends at ``now`` (aware).

    ``values`` replaces what the variables stand for when the dashboard opens, for example
    ``{"partner": ["bpol-de"], "exercise": "live"}``. Never raises for a query that fails.
    """
    board = board or dashboard()
    window = Window(now.astimezone(UTC) - span, now.astimezone(UTC))
    chosen = selections(board) | (values or {})
    return [run(client, query, window, chosen) for query in queries(board)]
