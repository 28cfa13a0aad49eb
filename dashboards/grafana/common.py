"""Makers of panels with the options that all panels of a kind share. Every option is known to Grafana 9.4 and later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dashboards.grafana.model import Json, Panel, Target
from dashboards.palette import LEVEL_COLOURS, LEVELS, level_rank

ALERT_DETAIL: Final = "tocsin-alert-detail"
"""uid of the dashboard to which alerts link."""

NEUTRAL: Final = LEVEL_COLOURS["informational"]
"""Behind a number that is neither good nor bad."""

LEGEND: Final[Json] = {
    "calcs": ["lastNotNull", "max"],
    "displayMode": "table",
    "placement": "right",
    "showLegend": True,
}
NO_LEGEND: Final[Json] = {"showLegend": False, "displayMode": "hidden", "placement": "bottom", "calcs": []}
SERIES_DEFAULTS: Final[Json] = {
    "drawStyle": "line",
    "lineWidth": 2,
    "fillOpacity": 10,
    "pointSize": 4,
    "showPoints": "auto",
    "spanNulls": False,
    "stacking": {"mode": "none", "group": "A"},
    # An axis begins at zero, but where a clock that is ahead makes a delay negative.
    "axisSoftMin": 0,
}
BARS: Final[Json] = {
    "drawStyle": "bars",
    "fillOpacity": 80,
    "lineWidth": 1,
    "stacking": {"mode": "normal", "group": "A"},
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


def value_colours(colours: Mapping[str, str], texts: Mapping[str, str] | None = None) -> list[Json]:
    """Value mappings that give each text its colour and, where ``texts`` has one, another wording."""
    options: Json = {}
    for index, (value, colour) in enumerate(colours.items()):
        options[value] = {"color": colour, "index": index}
        if texts and value in texts:
            options[value]["text"] = texts[value]
    return [{"type": "value", "options": options}]


def series_colours(colours: Mapping[str, str]) -> tuple[Json, ...]:
    """Overrides that give the columns or series of these names their colours."""
    return tuple(override(name, color=fixed_colour(colour)) for name, colour in colours.items())


def counts_by(column: str, values: tuple[str, ...]) -> str:
    """Columns of a query, one a value: how many rows have it in ``column``."""
    return ",\n  ".join(f"countIf({column} = '{value}') AS {value}" for value in values)


def level_number(column: str) -> str:
    """SQL: severity of a level, 1 (informational) to 5 (critical), as ``palette.level_rank`` has it."""
    names = ", ".join(f"'{level}'" for level in LEVELS)
    ranks = ", ".join(str(level_rank(level)) for level in LEVELS)
    return f"transform(CAST({column}, 'String'), [{names}], [{ranks}], 0)"


def alert_links() -> tuple[Json, ...]:
    """Data links of a row with a column ``alert_id``: to the dashboard of the alert, and to its page on the desk."""
    alert = "${__data.fields.alert_id:percentencode}"
    return (
        {"title": "Alert detail", "url": f"/d/{ALERT_DETAIL}?var-alert={alert}"},
        {"title": "Open on the watch desk", "url": f"${{desk}}/alerts/{alert}", "targetBlank": True},
    )


def row(title: str) -> Panel:
    """A heading across the dashboard."""
    return Panel(kind="row", title=title, description="", width=24, height=1)


def text(title: str, description: str, markdown: str, *, width: int, height: int) -> Panel:
    """Markdown; the dashboard's variables in it are replaced."""
    options = {"mode": "markdown", "content": markdown.strip()}
    return Panel(kind="text", title=title, description=description, width=width, height=height, options=options)


def time_series(
    title: str,
    description: str,
    sql: str,
    *,
    width: int,
    height: int,
    unit: str,
    label: str | None = None,
    bars: bool = False,
    interval: str | None = None,
    overrides: tuple[Json, ...] = (),
    thresholds: Json | None = None,
    **more: Any,
) -> Panel:
    """Values over time.

    With ``label``, rows are (time, label, value) and each label value is a series of that name; without it every
    numeric column is a series.
    """
    custom = SERIES_DEFAULTS | (BARS if bars else {})
    defaults: Json = {"custom": custom, "color": {"mode": "palette-classic"}}
    if label:
        defaults["displayName"] = f"${{__field.labels.{label}}}"
    if thresholds:
        defaults["thresholds"] = thresholds
        defaults["custom"] = custom | {"thresholdsStyle": {"mode": "dashed"}}
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(sql, series=label is not None),),
        unit=unit,
        interval=interval,
        options={"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
        defaults=defaults,
        overrides=overrides,
        **more,
    )


def stat(
    title: str,
    description: str,
    sql: str,
    *,
    width: int,
    height: int,
    unit: str = "none",
    orientation: str = "vertical",
    thresholds: Json | None = None,
    overrides: tuple[Json, ...] = (),
    no_value: str = "–",
    **more: Any,
) -> Panel:
    """One tile for each column of the query's one row; ``no_value`` is what a tile says without a value."""
    # Grafana's own thresholds would colour every number above 80 red.
    coloured = {"color": fixed_colour(NEUTRAL)}
    if thresholds:
        coloured = {"thresholds": thresholds, "color": {"mode": "thresholds"}}
    return Panel(
        kind="stat",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(sql),),
        unit=unit,
        options={
            "colorMode": "background",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": orientation,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name",
        },
        defaults={"decimals": 0} | coloured,
        overrides=overrides,
        no_value=no_value,
        **more,
    )


TIME_UNIT: Final = "dateTimeAsIso"


@dataclass(frozen=True, slots=True)
class Column:
    """How a table shows a column of its query. ``colours`` maps texts to colours and ``texts`` to other wordings;
    ``thresholds`` colours numbers, behind the value; ``missing`` is what a cell without a value says."""

    name: str
    title: str
    width: int | None = None
    unit: str | None = None
    colours: Mapping[str, str] | None = None
    texts: Mapping[str, str] | None = None
    thresholds: Json | None = None
    missing: str = ""
    links: tuple[Json, ...] = ()

    def json(self) -> Json:
        """The override that does it."""
        found: Json = {"displayName": self.title}
        if self.width:
            found["custom__width"] = self.width
        if self.unit:
            found["unit"] = self.unit
        # Grafana reads cellOptions from 9.4 on. It makes cellOptions of displayMode, which versions before know: both
        # have to say the same, and "color-background" would be a gradient.
        if self.colours:
            found["mappings"] = value_colours(self.colours, self.texts)
            # A text without a colour of its own would take that of Grafana's own lowest threshold, green.
            found |= {"thresholds": steps("text"), "color": {"mode": "thresholds"}}
            found |= {"custom__cellOptions": {"type": "color-text"}, "custom__displayMode": "color-text"}
        if self.thresholds:
            found |= {"thresholds": self.thresholds, "color": {"mode": "thresholds"}}
            found |= {
                "custom__cellOptions": {"type": "color-background", "mode": "basic"},
                "custom__displayMode": "color-background-solid",
            }
        if self.missing:
            special = {"match": "null", "result": {"text": self.missing, "color": "transparent", "index": 0}}
            found["mappings"] = [{"type": "special", "options": special}]
        if self.links:
            found["links"] = [*self.links]
        return override(self.name, **found)


def table(
    title: str,
    description: str,
    sql: str,
    columns: tuple[Column, ...],
    *,
    width: int,
    height: int,
    unit: str = "none",
    **more: Any,
) -> Panel:
    """Rows as they come; a column that ``columns`` leaves out shows under its name."""
    return Panel(
        kind="table",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(sql),),
        unit=unit,
        options={"showHeader": True},
        defaults={"custom": {"align": "left", "filterable": True, "inspect": False}},
        overrides=tuple(column.json() for column in columns),
        **more,
    )


def bar_chart(
    title: str,
    description: str,
    sql: str,
    *,
    x: str,
    width: int,
    height: int,
    unit: str = "none",
    colour: str | None = None,
    horizontal: bool = True,
    stacked: bool = False,
    overrides: tuple[Json, ...] = (),
    **more: Any,
) -> Panel:
    """One bar, or a stack of bars, for each row; ``x`` is the column that names it, the others are numbers."""
    return Panel(
        kind="barchart",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(sql),),
        unit=unit,
        options={
            "orientation": "horizontal" if horizontal else "vertical",
            "xField": x,
            "legend": LEGEND | {"calcs": []} if stacked else NO_LEGEND,
            "showValue": "auto" if stacked else "always",
            "stacking": "normal" if stacked else "none",
            "tooltip": {"mode": "multi" if stacked else "single", "sort": "none"},
        },
        defaults={
            "min": 0,
            "decimals": 0,
            "color": fixed_colour(colour) if colour else {"mode": "palette-classic"},
            "custom": {"fillOpacity": 80, "lineWidth": 1},
        },
        overrides=overrides,
        **more,
    )


def node_graph(title: str, description: str, nodes: str, edges: str, *, width: int, height: int, **more: Any) -> Panel:
    """Circles and lines: ``nodes`` has id, title, subtitle, mainstat and color, ``edges`` id, source, target and
    mainstat. Every source and target must be a node, or the panel shows an error."""
    return Panel(
        kind="nodeGraph",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(nodes), Target(edges, ref="B")),
        unit="none",
        options={"nodes": {}, "edges": {}},
        **more,
    )
