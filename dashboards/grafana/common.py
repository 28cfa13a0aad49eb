"""What every panel shares: the data source, targets, layout, defaults. JSON as Grafana 9.4 and later read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

DATASOURCE: Final[Json] = {"type": "grafana-clickhouse-datasource", "uid": "tocsin-clickhouse"}

# Formats of the plugin's queries (sqlds): the first turns rows of (time, labels, value) into one series per label.
TIME_SERIES: Final = 0
TABLE: Final = 1

ALL_PARTNERS: Final = "__all__"
EXERCISE_FILTER: Final = "('${exercise}' = 'all' OR exercise = ('${exercise}' = 'exercise'))"
# The partner variable's own "all" value is a marker, not a list: a list would be empty on an empty store.
PARTNER_FILTER: Final = f"('{ALL_PARTNERS}' IN (${{partner:singlequote}}) OR partner IN (${{partner:singlequote}}))"
ALERT_PARTNER_FILTER: Final = (
    f"('{ALL_PARTNERS}' IN (${{partner:singlequote}}) OR hasAny(partners, [${{partner:singlequote}}]))"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Position on Grafana's grid: 24 columns wide, rows of about 30 pixels."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``unit`` is a Grafana unit id; ``sql`` is empty only for text and row panels."""

    kind: str
    title: str
    description: str
    place: Place
    unit: str = "short"
    sql: str = ""
    format: int = TABLE
    interval: str | None = None
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()


def target(sql: str, result_format: int) -> Json:
    """A raw SQL query in the shape of plugin 3.x, which 4.x reads and migrates by itself."""
    return {
        "datasource": DATASOURCE,
        "editorType": "sql",
        "format": result_format,
        "queryType": "sql",
        "rawSql": sql.strip(),
        "refId": "A",
    }


def override(column: str, **properties: Any) -> Json:
    """Field override by column name; a double underscore in a property stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def fixed_colour(colour: str) -> Json:
    """Colour setting that does not depend on the value."""
    return {"mode": "fixed", "fixedColor": colour}


def steps(base: str, *limits: tuple[float, str]) -> Json:
    """Absolute thresholds: ``base`` below the first limit, then each limit's colour from its value up."""
    colours: list[Json] = [{"color": base, "value": None}]
    colours += [{"color": colour, "value": value} for value, colour in limits]
    return {"mode": "absolute", "steps": colours}


def value_colours(colours: dict[str, str], texts: dict[str, str] | None = None) -> list[Json]:
    """Value mappings that give each text its colour and, where ``texts`` has one, another wording."""
    options: Json = {}
    for index, (value, colour) in enumerate(colours.items()):
        options[value] = {"color": colour, "index": index}
        if texts and value in texts:
            options[value]["text"] = texts[value]
    return [{"type": "value", "options": options}]


LEGEND: Final[Json] = {
    "calcs": ["lastNotNull", "max"],
    "displayMode": "table",
    "placement": "right",
    "showLegend": True,
}

SERIES_DEFAULTS: Final[Json] = {
    "drawStyle": "line",
    "lineWidth": 2,
    "fillOpacity": 10,
    "pointSize": 4,
    "showPoints": "auto",
    "spanNulls": False,
    "stacking": {"mode": "none", "group": "A"},
}


def time_series(
    title: str,
    description: str,
    place: Place,
    sql: str,
    *,
    unit: str,
    label: str | None = None,
    bars: bool = False,
    interval: str | None = None,
    overrides: tuple[Json, ...] = (),
    thresholds: Json | None = None,
) -> Panel:
    """Values over time.

    With ``label``, rows are (time, label, value) and each label value is a series of that name; without it every
    numeric column is a series. ``interval`` is the smallest bucket, where the data is no finer than that.
    """
    custom = SERIES_DEFAULTS | (
        {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 1, "stacking": {"mode": "normal", "group": "A"}}
        if bars
        else {}
    )
    defaults: Json = {"custom": custom, "min": 0, "color": {"mode": "palette-classic"}}
    if label:
        defaults["displayName"] = f"${{__field.labels.{label}}}"
    if thresholds:
        defaults["thresholds"] = thresholds
        defaults["custom"] = custom | {"thresholdsStyle": {"mode": "dashed"}}
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        place=place,
        unit=unit,
        sql=sql,
        format=TIME_SERIES if label else TABLE,
        interval=interval,
        options={"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
        defaults=defaults,
        overrides=overrides,
    )


def render(panel: Panel, panel_id: int) -> Json:
    """The panel as Grafana's JSON."""
    place = panel.place
    body: Json = {
        "id": panel_id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": {"h": place.h, "w": place.w, "x": place.x, "y": place.y},
        "options": panel.options,
    }
    if panel.kind == "row":
        return body | {"collapsed": False, "panels": []}
    if not panel.sql:
        return body
    body["datasource"] = DATASOURCE
    body["fieldConfig"] = {
        "defaults": {"unit": panel.unit, "mappings": []} | panel.defaults,
        "overrides": [*panel.overrides],
    }
    body["targets"] = [target(panel.sql, panel.format)]
    if panel.interval:
        body["interval"] = panel.interval
    return body
