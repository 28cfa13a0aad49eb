"""The dashboard's first part: alerts."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import (
    ALERT_PARTNER_FILTER,
    EXERCISE_FILTER,
    Json,
    Panel,
    Place,
    fixed_colour,
    override,
    steps,
    time_series,
    value_colours,
)
from dashboards.palette import EXERCISE_COLOUR, LEVEL_COLOURS, LEVELS, TLP_COLOURS, TLP_LABELS, level_rank

# Grafana's default base map loads tiles from the internet. One transparent pixel as the tile keeps the map inside
# the house; the outlines under the markers come from the file that Grafana ships.
EMPTY_TILE: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
OUTLINES: Final = "public/maps/countries.geojson"

# CAST, because plugin 3.x cannot read LowCardinality columns.
_ALERT_COLUMNS: Final = """
  CAST(level, 'String') AS level,
  if(exercise, 'EXERCISE', 'live') AS kind,
  story,
  CAST(rule_title, 'String') AS rule,
  arrayStringConcat(partners, ', ') AS partners_text,
  evidence_total AS evidence,
  CAST(tlp, 'String') AS tlp,
  last_event_at AS last_event,
  updated_at AS updated,
  alert_id"""

_OPEN: Final = f"""
FROM alerts FINAL
WHERE status = 'open'
  AND {EXERCISE_FILTER}
  AND {ALERT_PARTNER_FILTER}"""

_KIND_COLOURS: Final = {"EXERCISE": EXERCISE_COLOUR, "live": "text"}


def _level_counts() -> str:
    return ",\n  ".join(f"countIf(level = '{level}') AS {level}" for level in LEVELS)


def _level_colours() -> tuple[Json, ...]:
    return tuple(override(level, color=fixed_colour(colour)) for level, colour in LEVEL_COLOURS.items())


def _link() -> list[Json]:
    return [
        {
            "title": "Open the alert with its evidence",
            "url": "${desk}/alerts/${__data.fields.alert_id:percentencode}",
            "targetBlank": True,
        }
    ]


def open_alerts(place: Place) -> Panel:
    """Counts of open alerts, one tile a level."""
    return Panel(
        kind="stat",
        title="Open alerts by level",
        description="Alerts that are open now, whatever the time range above. Levels are those of the Sigma rules.",
        place=place,
        unit="none",
        sql=f"SELECT\n  {_level_counts()}{_OPEN}",
        options={
            "colorMode": "background",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "vertical",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name",
        },
        defaults={"noValue": "0", "decimals": 0},
        overrides=_level_colours(),
    )


def alerts_over_time(place: Place) -> Panel:
    """Alerts raised per interval, stacked by level."""
    return time_series(
        "Alerts raised over time",
        "Alerts by the time they were raised, superseded ones left out, stacked by level.",
        place,
        f"""
SELECT
  $__timeInterval(created_at) AS time,
  {_level_counts()}
FROM alerts FINAL
WHERE $__timeFilter(created_at)
  AND status = 'open'
  AND {EXERCISE_FILTER}
  AND {ALERT_PARTNER_FILTER}
GROUP BY time
ORDER BY time""",
        unit="none",
        bars=True,
        overrides=_level_colours(),
    )


def alert_table(place: Place) -> Panel:
    """Newest alerts with story, partners and a link to the watch desk."""
    coloured = {"custom__cellOptions": {"type": "color-text"}, "custom__displayMode": "color-text"}
    return Panel(
        kind="table",
        title="Alerts",
        description=(
            "Open alerts whose evidence changed in the time range, newest first, 200 at most. "
            "The story opens the alert's page with all its evidence."
        ),
        place=place,
        unit="none",
        sql=f"SELECT{_ALERT_COLUMNS}{_OPEN}\n  AND $__timeFilter(updated_at)\nORDER BY updated_at DESC\nLIMIT 200",
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        defaults={"custom": {"align": "left", "filterable": True, "inspect": False}},
        overrides=(
            override(
                "level",
                displayName="Level",
                custom__width=110,
                mappings=value_colours(LEVEL_COLOURS),
                **coloured,
            ),
            override("kind", displayName="Kind", custom__width=100, mappings=value_colours(_KIND_COLOURS), **coloured),
            override("story", displayName="Story", links=_link()),
            override("rule", displayName="Rule", custom__width=240),
            override("partners_text", displayName="Partners", custom__width=200),
            override("evidence", displayName="Evidence", unit="none", custom__width=90),
            override(
                "tlp",
                displayName="TLP",
                custom__width=150,
                mappings=value_colours(TLP_COLOURS, TLP_LABELS),
                **coloured,
            ),
            override("last_event", displayName="Last event (UTC)", unit="dateTimeAsIso", custom__width=170),
            override("updated", displayName="Updated (UTC)", unit="dateTimeAsIso", custom__width=170),
            override("alert_id", displayName="Alert id", custom__width=130, links=_link()),
        ),
    )


def alert_map(place: Place) -> Panel:
    """Open alerts where their evidence lies."""
    severity = ", ".join(str(level_rank(level)) for level in LEVELS)
    names = ", ".join(f"'{level}'" for level in LEVELS)
    ranked = sorted(LEVELS, key=level_rank)
    colours = [(float(level_rank(level)), LEVEL_COLOURS[level]) for level in ranked]
    marker = {
        "opacity": 0.8,
        "size": {"fixed": 7, "min": 5, "max": 14},
        "symbol": {"fixed": "img/icons/marker/circle.svg", "mode": "fixed"},
        "color": {"field": "severity", "fixed": LEVEL_COLOURS["informational"]},
    }
    return Panel(
        kind="geomap",
        title="Where open alerts are",
        description=(
            "Open alerts with a known place, coloured by level; severity runs from 1 (informational) to 5 (critical). "
            "Outlines come from Grafana's own files, no map server is asked."
        ),
        place=place,
        unit="none",
        sql=f"""
SELECT
  assumeNotNull(lat) AS lat,
  assumeNotNull(lon) AS lon,
  transform(CAST(level, 'String'), [{names}], [{severity}], 0) AS severity,
  story,
  arrayStringConcat(partners, ', ') AS partners_text,
  if(exercise, 'EXERCISE', 'live') AS kind,
  alert_id
FROM
(
  SELECT * {_OPEN.lstrip()}
    AND isNotNull(lat) AND isNotNull(lon)
    AND $__timeFilter(updated_at)
)
ORDER BY severity
LIMIT 1000""",
        options={
            "basemap": {"name": "No tiles", "type": "xyz", "config": {"url": EMPTY_TILE, "attribution": ""}},
            "controls": {"mouseWheelZoom": False, "showAttribution": False, "showZoom": True},
            "layers": [
                {
                    "name": "Countries",
                    "type": "geojson",
                    "tooltip": False,
                    "config": {
                        "src": OUTLINES,
                        "rules": [],
                        "style": {"color": {"fixed": "#6b7785"}, "opacity": 0.15, "lineWidth": 1},
                    },
                },
                {
                    "name": "Alerts",
                    "type": "markers",
                    "tooltip": True,
                    "location": {"mode": "coords", "latitude": "lat", "longitude": "lon"},
                    "config": {"showLegend": False, "style": marker},
                },
            ],
            "tooltip": {"mode": "details"},
            "view": {"id": "coords", "lat": 35, "lon": 15, "zoom": 2.2, "allLayers": True},
        },
        defaults={"color": {"mode": "thresholds"}, "thresholds": steps(LEVEL_COLOURS["informational"], *colours)},
        overrides=(
            override("story", displayName="Story", links=_link()),
            override("partners_text", displayName="Partners"),
            override("kind", displayName="Kind"),
            override("severity", displayName="Severity"),
        ),
    )
