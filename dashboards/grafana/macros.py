"""What Grafana and the ClickHouse plugin make of a query before it reaches the store.

Variables with their formats are Grafana's ("Variable syntax" in its documentation), macros are the plugin's
(grafana-clickhouse-datasource, "Macros"), both as documented. As there, ``$__conditionalAll`` and variables come first,
and macros see what they left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from dashboards.grafana.model import ALL_VALUE

Values = Mapping[str, str | list[str]]
"""What is chosen: one text, or several of a selector that allows it. ``["$__all"]`` is All."""
EVERYTHING: Final = ["$__all"]
Plugin = Literal[3, 4]
"""Major version of the ClickHouse plugin: what a macro becomes differs, what it means does not."""

_VARIABLE: Final = re.compile(r"\$\{(?P<name>\w+)(?::(?P<format>[\w:]+))?\}|\$(?P<short>\w+)")
_MACRO: Final = re.compile(r"\$__(?P<name>\w+)")
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Time range (aware, UTC) and bucket width that a person looks at."""

    start: datetime
    end: datetime
    interval: timedelta = timedelta(minutes=1)


def expand(sql: str, window: Window, values: Values, plugin: Plugin = 4) -> str:
    """The SQL as the store gets it through the plugin of this major version.

    Raises:
        ValueError: a macro, variable or format that is not known, or a macro with the wrong arguments; it says which.
    """
    return expand_macros(expand_variables(_conditional_all(sql, values), window, values), window, plugin)


def expand_variables(sql: str, window: Window, values: Values) -> str:
    """The SQL with variables replaced, Grafana's own (``$__from``, ``$__to``, ``$__interval``) among them.

    Raises:
        ValueError: the SQL names a variable that the dashboard does not have, or a format that is not known.
    """
    own = {
        "__from": _milliseconds(window.start),
        "__to": _milliseconds(window.end),
        "__interval": f"{_seconds(window)}s",
        "__interval_ms": str(_seconds(window) * 1000),
    }

    def replace(match: re.Match[str]) -> str:
        name = match["name"] or match["short"]
        if name in own:
            return own[name]
        if match["short"] and name.startswith("__"):
            return match[0]
        if name not in values:
            raise ValueError(
                f"${name} is not a variable of the dashboard; it has {', '.join(sorted(values)) or 'none'}"
            )
        return _formatted(values[name], match["format"] or "", match[0])

    return _VARIABLE.sub(replace, sql)


_FORMATS: Final[dict[str, Callable[[list[str]], str]]] = {
    "csv": ",".join,
    "raw": ",".join,
    "pipe": "|".join,
    "singlequote": lambda texts: ",".join("'" + text.replace("'", r"\'") + "'" for text in texts),
    "sqlstring": lambda texts: ",".join("'" + text.replace("'", "''") + "'" for text in texts),
    "doublequote": lambda texts: ",".join('"' + text.replace('"', r"\"") + '"' for text in texts),
    "json": json.dumps,
}


def _formatted(value: str | list[str], name: str, written: str) -> str:
    if value == EVERYTHING:
        return ALL_VALUE
    if name and name not in _FORMATS:
        raise ValueError(f"{written} has a format that is not known here; known: {', '.join(sorted(_FORMATS))}")
    if isinstance(value, str):
        return _FORMATS[name]([value]) if name else value
    # Without a format the plugin quotes what a selector with several values has.
    return _FORMATS[name or "singlequote"](value)


def expand_macros(sql: str, window: Window, plugin: Plugin = 4) -> str:
    """The SQL with the plugin's macros replaced.

    Raises:
        ValueError: a macro that the plugin does not have, or the wrong number of arguments.
    """
    macros = _MACROS if plugin == 4 else _MACROS_3
    made: list[str] = []
    done = 0
    for match in _MACRO.finditer(sql):
        if match.start() < done:
            continue
        name = match["name"]
        if name not in macros:
            known = ", ".join(f"$__{each}" for each in sorted([*macros, "conditionalAll"]))
            raise ValueError(f"$__{name} is not a macro known here; plugin {plugin} has {known}")
        wanted, expansion = macros[name]
        arguments, end = _arguments(sql, match.end()) if wanted else ([], match.end())
        if len(arguments) != wanted or not all(arguments):
            raise ValueError(
                f"$__{name} needs {_needs(name, wanted)}; it has {', '.join(filter(None, arguments)) or 'none'}"
            )
        made += [sql[done : match.start()], expansion(window, *arguments)]
        done = end
    return "".join([*made, sql[done:]])


def _needs(name: str, wanted: int) -> str:
    example = ", ".join(("day", "created_at")[-wanted:])
    return f"a column, as in $__{name}({example})" if wanted == 1 else f"{wanted} columns, as in $__{name}({example})"


def _arguments(sql: str, begin: int) -> tuple[list[str], int]:
    """Texts between the parenthesis at ``begin`` and its partner, split at commas outside of others; and the end."""
    if sql[begin : begin + 1] != "(":
        return [], begin
    found: list[str] = []
    depth, start = 0, begin + 1
    for place in range(begin, len(sql)):
        match sql[place]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
                if depth == 0:
                    return [*found, sql[start:place].strip()], place + 1
            case "," if depth == 1:
                found.append(sql[start:place].strip())
                start = place + 1
    raise ValueError(f"a parenthesis is never closed: {sql[begin - 20 : begin + 20].strip()}")


def _conditional_all(sql: str, values: Values) -> str:
    macro = "$__conditionalAll"
    while (begin := sql.rfind(macro)) >= 0:
        arguments, end = _arguments(sql, begin + len(macro))
        if len(arguments) != 2:
            raise ValueError(
                f"{macro} needs a condition and a variable, as in {macro}(partner IN ($partner), $partner)"
            )
        condition, name = arguments[0], arguments[1].removeprefix("$").strip("{}")
        if name not in values:
            raise ValueError(f"{macro} names ${name}, which is not a variable of the dashboard")
        sql = sql[:begin] + ("1=1" if values[name] in (EVERYTHING, "", []) else condition) + sql[end:]
    return sql


def _seconds(window: Window) -> int:
    return max(int(window.interval.total_seconds()), 1)


def _milliseconds(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))


def _second(time: datetime) -> str:
    return f"toDateTime({int(time.timestamp())})"


def _exact(time: datetime) -> str:
    return f"fromUnixTimestamp64Milli({_milliseconds(time)})"


def _day(time: datetime) -> str:
    return f"toDate('{time:%Y-%m-%d}')"


def _between(form: Callable[[datetime], str]) -> Callable[..., str]:
    return lambda window, column: f"{column} >= {form(window.start)} AND {column} <= {form(window.end)}"


def _date_and_time(window: Window, date: str, time: str) -> str:
    return f"({_between(_day)(window, date)}) AND ({_between(_second)(window, time)})"


def _in_seconds(window: Window, column: str) -> str:
    return f"toStartOfInterval(toDateTime({column}), INTERVAL {_seconds(window)} second)"


def _in_milliseconds(window: Window, column: str) -> str:
    width = max(window.interval // _MILLISECOND, 1)
    return f"toStartOfInterval(toDateTime64({column}, 3), INTERVAL {width} millisecond)"


_MACROS: Final[dict[str, tuple[int, Callable[..., str]]]] = {
    "timeFilter": (1, _between(_second)),
    "timeFilter_ms": (1, _between(_exact)),
    "dateFilter": (1, _between(_day)),
    "dateTimeFilter": (2, _date_and_time),
    "dt": (2, _date_and_time),
    "fromTime": (0, lambda window: _second(window.start)),
    "toTime": (0, lambda window: _second(window.end)),
    "fromTime_ms": (0, lambda window: _exact(window.start)),
    "toTime_ms": (0, lambda window: _exact(window.end)),
    "timeInterval": (1, _in_seconds),
    "timeInterval_ms": (1, _in_milliseconds),
    "interval_s": (0, lambda window: str(_seconds(window))),
}
"""Number of arguments and expansion of each macro."""

PLUGIN_4_ONLY: Final = frozenset({"timeFilter_ms", "fromTime_ms", "toTime_ms", "dateTimeFilter", "dt"})
"""Macros that came after plugin 3.3 (4.0.3 and 4.2.0): known here, but no dashboard of ours may use them."""


def _old_second(time: datetime) -> str:
    return f"toDateTime(intDiv({_milliseconds(time)},1000))"


def _old_filter(window: Window, column: str) -> str:
    start, end = int(window.start.timestamp()), int(window.end.timestamp())
    return f"{column} >= '{start}' AND {column} <= '{end}'"


_MACROS_3: Final[dict[str, tuple[int, Callable[..., str]]]] = {
    name: form for name, form in _MACROS.items() if name not in PLUGIN_4_ONLY
} | {
    "timeFilter": (1, _old_filter),
    "fromTime": (0, lambda window: _old_second(window.start)),
    "toTime": (0, lambda window: _old_second(window.end)),
}
"""As plugin 3 expands them (grafana/clickhouse-datasource, pkg/macros/macros.go before 4.0.0)."""
