"""Maker of maps that ask no map server."""

from __future__ import annotations

from typing import Any, Final

from dashboards.grafana.common import steps
from dashboards.grafana.model import Json, Panel, Target
from dashboards.palette import LEVEL_COLOURS, LEVELS, level_rank

# Grafana's default base map loads tiles from the internet. One transparent pixel as the tile keeps the map inside
# the house; the outlines under the markers come from the file that Grafana ships.
EMPTY_TILE: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
OUTLINES: Final = "public/maps/countries.geojson"


def geo_map(
    title: str,
    description: str,
    sql: str,
    *,
    colour_by: str,
    thresholds: Json,
    width: int,
    height: int,
    overrides: tuple[Json, ...] = (),
    size_by: str | None = None,
    colour_mode: str = "thresholds",
    unit: str = "none",
    **more: Any,
) -> Panel:
    """Markers over the outlines of countries; the query has ``lat`` and ``lon`` in degrees, and ``colour_by``.

    No map server is asked: the base map is one transparent pixel and the outlines are a file that Grafana 9.4 and
    later ship.
    """
    size: Json = {"fixed": 7, "min": 5, "max": 16} | ({"field": size_by} if size_by else {})
    marker = {
        "opacity": 0.8,
        "size": size,
        "symbol": {"fixed": "img/icons/marker/circle.svg", "mode": "fixed"},
        "color": {"field": colour_by, "fixed": LEVEL_COLOURS["informational"]},
    }
    outline_style = {"color": {"fixed": "#6b7785"}, "opacity": 0.15, "lineWidth": 1}
    return Panel(
        kind="geomap",
        title=title,
        description=description,
        width=width,
        height=height,
        targets=(Target(sql),),
        unit=unit,
        options={
            "basemap": {"name": "No tiles", "type": "xyz", "config": {"url": EMPTY_TILE, "attribution": ""}},
            "controls": {"mouseWheelZoom": False, "showAttribution": False, "showZoom": True},
            "layers": [
                {
                    "name": "Countries",
                    "type": "geojson",
                    "tooltip": False,
                    "config": {"src": OUTLINES, "rules": [], "style": outline_style},
                },
                {
                    "name": title,
                    "type": "markers",
                    "tooltip": True,
                    "location": {"mode": "coords", "latitude": "lat", "longitude": "lon"},
                    "config": {"showLegend": False, "style": marker},
                },
            ],
            "tooltip": {"mode": "details"},
            "view": {"id": "coords", "lat": 35, "lon": 15, "zoom": 2.2, "allLayers": True},
        },
        defaults={"color": {"mode": colour_mode}, "thresholds": thresholds},
        overrides=overrides,
        **more,
    )


def level_thresholds() -> Json:
    """Colours of the numbers that ``level_number`` gives."""
    ranked = sorted(LEVELS, key=level_rank)
    return steps(
        LEVEL_COLOURS["informational"], *((float(level_rank(level)), LEVEL_COLOURS[level]) for level in ranked)
    )
