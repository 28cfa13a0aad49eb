"""Dashboards, panels, queries and selectors as types, and their JSON as Grafana 9.4 and every later version read it.

Plain dataclasses, because the types of grafana-foundation-sdk begin at Grafana 10.1 and know no ClickHouse query. JSON
of schema version 37 is Grafana 9.4's; later versions migrate it when they load it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

Json = dict[str, Any]
PanelKind = Literal[
    "timeseries",
    "stat",
    "table",
    "geomap",
    "barchart",
    "state-timeline",
    "heatmap",
    "nodeGraph",
    "text",
    "row",
]

DATASOURCE: Final[Json] = {"type": "grafana-clickhouse-datasource", "uid": "tocsin-clickhouse"}
TAG: Final = "tocsin"
COLUMNS: Final = 24
"""Width of Grafana's grid."""

# Formats of the plugin's queries (sqlds): the first turns rows of (time, labels, value) into one series per label.
TIME_SERIES: Final = 0
TABLE: Final = 1

ALL: Final = "__all__"
"""Stands for every value of a selector. A marker and no list, which would be empty on an empty store."""
ALL_VALUE: Final = f"'{ALL}'"
"""Its form in SQL: Grafana puts the value for All in as it is, whatever the format."""

# What Grafana's display processor (@grafana/data, field/displayProcessor) would otherwise do to values of 9.4 and 12:
# write the text of the empty panel into every empty cell and beside every series without a point, and read a text that
# looks like a number as one, so that +49170 loses its plus and 0012 its zeros.
_EMPTY_IS_BLANK: Final[Json] = {
    "matcher": {"id": "byRegexp", "options": ".*"},
    "properties": [{"id": "noValue", "value": None}],
}
_TEXT_STAYS_TEXT: Final[Json] = {
    "matcher": {"id": "byType", "options": "string"},
    "properties": [{"id": "unit", "value": "string"}],
}


@dataclass(frozen=True, slots=True)
class Target:
    """One ClickHouse query. ``series``: rows are (time, label, value) and become one series a label; else a table."""

    sql: str
    series: bool = False
    ref: str = "A"

    def json(self) -> Json:
        """Raw SQL in the shape of plugin 3.x, which 4.x reads and migrates by itself."""
        return {
            "datasource": DATASOURCE,
            "editorType": "sql",
            "format": TIME_SERIES if self.series else TABLE,
            "queryType": "sql",
            "rawSql": self.sql.strip(),
            "refId": self.ref,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; makers with sensible options for each kind are in ``common``.

    ``width`` of 24 columns and ``height`` in rows of about 30 pixels: panels flow down and to the right. ``unit`` is a
    Grafana unit id, ``interval`` the smallest bucket (``"1m"``) where the data is no finer, ``no_value`` the text of
    the empty panel, of a stat that of each tile without a value. ``empty_in_demo`` is why the demo leaves the panel
    empty; without it, `tocsin dashboards check --expect-rows` takes an empty panel for an error.
    """

    kind: PanelKind
    title: str
    description: str
    width: int
    height: int
    targets: tuple[Target, ...] = ()
    unit: str = "short"
    interval: str | None = None
    no_value: str = "Nothing in this time range"
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    empty_in_demo: str = ""

    def json(self, panel_id: int, x: int, y: int) -> Json:
        """The panel at a place of the grid."""
        body: Json = {
            "id": panel_id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "options": self.options,
        }
        if self.kind == "row":
            return body | {"collapsed": False, "panels": []}
        if not self.targets:
            return body
        defaults = {"unit": self.unit, "mappings": [], "noValue": self.no_value} | self.defaults
        body |= {
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": defaults, "overrides": [*self._common_overrides(), *self.overrides]},
            "targets": [target.json() for target in self.targets],
        }
        if self.interval:
            body["interval"] = self.interval
        return body

    def _common_overrides(self) -> tuple[Json, ...]:
        # A tile without a value has nothing but its text to show.
        return () if self.kind == "stat" else (_EMPTY_IS_BLANK, _TEXT_STAYS_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A selector above the dashboard.

    ``query``: values come from ``sql``, whose second column, if there is one, is what people read. ``custom``: values
    are ``choices`` of (text, value). With ``multi`` several can be chosen, and All is at first; else it is ``value``,
    or what a query answers first. ``textbox``: free text, at first ``value``. ``constant``: ``value``, not shown.
    """

    kind: Literal["query", "custom", "textbox", "constant"]
    name: str
    label: str
    description: str
    sql: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    value: str = ""
    multi: bool = False

    def json(self) -> Json:
        """The selector as Grafana has it."""
        body: Json = {"name": self.name, "label": self.label, "description": self.description, "hide": 0}
        choice: Json = {"multi": False, "includeAll": False}
        if self.multi:
            current = {"selected": True, "text": ["All"], "value": ["$__all"]}
            choice = {"multi": True, "includeAll": True, "allValue": ALL_VALUE, "current": current}
        match self.kind:
            case "query":
                asked = {"datasource": DATASOURCE, "definition": self.sql, "query": self.sql, "refresh": 1, "sort": 0}
                return body | {"type": "query", "options": [], "current": {}} | asked | choice
            case "custom":
                options = [_option(text, value, value == self.value) for text, value in self.choices]
                chosen = next((option for option in options if option["selected"]), {})
                asked = {"query": ",".join(f"{text} : {value}" for text, value in self.choices), "options": options}
                return body | {"type": "custom", "current": chosen} | asked | choice
            case kind:
                chosen = _option(self.value, self.value, True)
                hidden = {"hide": 2, "skipUrlSync": True} if kind == "constant" else {}
                return body | {"type": kind, "query": self.value, "options": [chosen], "current": chosen} | hidden


def _option(text: str, value: str, selected: bool) -> Json:
    return {"text": text, "value": value, "selected": selected}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A dashboard; ``uid`` begins with ``tocsin-``. ``span`` is the time range that it opens with, to now."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]
    span: timedelta = timedelta(hours=1)
    refresh: str = "5s"

    def json(self) -> Json:
        """The whole dashboard.

        Raises:
            ValueError: a panel is wider than the grid.
        """
        return {
            "uid": self.uid,
            "title": f"Tocsin: {self.title}",
            "description": f"{self.description} Every time is UTC.",
            "tags": [TAG],
            "schemaVersion": 37,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "utc",
            "refresh": self.refresh,
            "time": {"from": f"now-{self.span // timedelta(minutes=1)}m", "to": "now"},
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
            "annotations": {"list": []},
            "links": [
                {
                    "title": "Dashboards",
                    "type": "dashboards",
                    "tags": [TAG],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                },
                {"title": "Watch desk", "type": "link", "icon": "external link", "url": "${desk}", "targetBlank": True},
            ],
            "templating": {"list": [variable.json() for variable in self.variables]},
            "panels": [
                panel.json(number, x, y) for number, (panel, x, y) in enumerate(_placed(self.uid, self.panels), start=1)
            ],
        }


def _placed(uid: str, panels: tuple[Panel, ...]) -> list[tuple[Panel, int, int]]:
    """Each panel with its place: as high as it fits below those before it, and there as far left."""
    found: list[tuple[Panel, int, int]] = []
    floor = [0] * COLUMNS
    for panel in panels:
        if panel.width > COLUMNS:
            raise ValueError(f"{uid}: panel '{panel.title}' is {panel.width} columns wide; the grid has {COLUMNS}")
        starts = range(COLUMNS - panel.width + 1)
        y, x = min((max(floor[start : start + panel.width]), start) for start in starts)
        floor[x : x + panel.width] = [y + panel.height] * panel.width
        found.append((panel, x, y))
    return found
