"""What each kind of panel, and an alert rule, needs of the columns that its query returns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dashboards.grafana.model import Panel, Target

_NUMBER: Final = re.compile(r"(Nullable\()?(U?Int|Float)")
_TIME: Final = re.compile(r"(Nullable\()?Date")
_TEXT: Final = re.compile(r"(Nullable\()?String")
_FIELD: Final = re.compile(r"\$\{__data\.fields\.(\w+)")
_LABEL: Final = re.compile(r"\$\{__field\.labels\.(\w+)")
Columns = Mapping[str, str]
"""ClickHouse types by name."""


def missing(panel: Panel, target: Target, columns: Columns) -> list[str]:
    """What a panel of that kind would not find, each with what to do."""
    found = [*_by_kind(panel, columns)]
    found += [
        f"series are named by column {name}, which must be text; it is {columns.get(name, 'not there')}"
        for name in sorted(set(_LABEL.findall(panel.defaults.get("displayName", ""))))
        if not _TEXT.match(columns.get(name, ""))
    ]
    # A series is named by its label, which no query can be asked for beforehand.
    if not target.series:
        named = {each["matcher"]["options"] for each in panel.overrides if each["matcher"]["id"] == "byName"}
        named |= set(_FIELD.findall(repr(panel.overrides) + repr(panel.defaults)))
        found += [
            f"the panel names column {name}, which the query does not return; it returns {', '.join(columns)}"
            for name in sorted(named - set(columns))
            if panel.kind != "nodeGraph"
        ]
    return found


def missing_in_alert(columns: Columns) -> list[str]:
    """What Grafana's alerting would not find: it makes one alert of each row, by its texts and its one number."""
    numbers = [name for name, kind in columns.items() if _NUMBER.match(kind)]
    others = [name for name, kind in columns.items() if not _NUMBER.match(kind) and not _TEXT.match(kind)]
    if len(numbers) != 1:
        return [f"an alert rule needs one numeric column; it has {', '.join(numbers) or 'none'}"]
    return [f"an alert rule takes texts beside the number; {name} is {columns[name]}" for name in others]


def _by_kind(panel: Panel, columns: Columns) -> Iterator[str]:
    match panel.kind:
        case "timeseries" | "heatmap":
            yield from _one(columns, _TIME, f"a {panel.kind} panel needs a column of type DateTime")
            yield from _one(columns, _NUMBER, f"a {panel.kind} panel needs a numeric column")
        case "state-timeline":
            yield from _one(columns, _TIME, "a state timeline needs a column of type DateTime")
            if len(columns) < 2:
                yield "a state timeline needs a column of states beside the time"
        case "stat":
            yield from _one(columns, _NUMBER, "a stat panel needs a numeric column")
        case "barchart":
            name = panel.options["xField"]
            if not (_TEXT.match(columns.get(name, "")) or _TIME.match(columns.get(name, ""))):
                yield f"a bar chart needs its column {name} to be text or time; it is {columns.get(name, 'not there')}"
            yield from _one(columns, _NUMBER, "a bar chart needs a numeric column")
        case "geomap":
            yield from _on_the_map(panel, columns)
        case "nodeGraph":
            wanted = ("id", "source", "target") if "source" in columns else ("id", "title", "mainstat")
            yield from (f"a node graph needs column {name}" for name in wanted if name not in columns)
        case _:
            pass


def _on_the_map(panel: Panel, columns: Columns) -> Iterator[str]:
    for layer in panel.options["layers"]:
        if layer["type"] != "markers":
            continue
        style = layer["config"]["style"]
        wanted = [layer["location"]["latitude"], layer["location"]["longitude"], style["color"].get("field")]
        for name in filter(None, [*wanted, style["size"].get("field")]):
            if not _NUMBER.match(columns.get(name, "")):
                yield f"a map needs column {name} to be numeric; it is {columns.get(name, 'not there')}"


def _one(columns: Columns, kind: re.Pattern[str], says: str) -> Iterator[str]:
    if not any(kind.match(each) for each in columns.values()):
        yield f"{says}; none is there"


def nowhere(panel: Panel, columns: Columns, rows: Sequence[Sequence[Any]]) -> list[str]:
    """What is on a map without a place: a missing latitude and longitude read as zero lie in the Gulf of Guinea."""
    if panel.kind != "geomap" or not {"lat", "lon"} <= set(columns):
        return []
    lat, lon = (list(columns).index(name) for name in ("lat", "lon"))
    found = sum(not row[lat] and not row[lon] for row in rows)
    return [f"{found} markers lie at 0, 0: leave out rows without a place"] if found else []


def out_of_order(target: Target, columns: Columns, rows: Sequence[Sequence[Any]]) -> list[str]:
    """What keeps the plugin from turning rows into series: it takes them in ascending time alone."""
    place = next((number for number, kind in enumerate(columns.values()) if _TIME.match(kind)), None)
    if not target.series or place is None:
        return []
    times = [row[place] for row in rows]
    return [] if times == sorted(times) else ["rows must come in ascending time to become series; add ORDER BY time"]
