"""The evidence as a timeline: one lane a partner, time of occurrence from left to right. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dashboards.desk.markup import words
from dashboards.explain import in_order, place_of, stamp
from schemas.alerts import Alert

LANE_HEIGHT: Final = 56
MARKS: Final = (("circle", 28), ("rect", 24), ("diamond", 36), ("roundRect", 28), ("pin", 42), ("triangle", 38))
"""Shape and size in pixels; each has room for a number."""
CLOSE: Final = 0.035
"""Events nearer than this part of the whole time would cover each other: they are drawn above and below the line."""
_LEVELS: Final = (0, -22, 22)
COLOURS: Final = ("#66d9e8", "#ffd43b", "#b197fc", "#8ce99a", "#ffa8a8", "#ffc078")
TEXT: Final = "var(--text)"
LINE: Final = "var(--line)"


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of evidence: ``number`` counts from 1 in order of time."""

    number: int
    partner: str
    family: str
    at: datetime
    place: str
    summary: str
    lat: float | None
    lon: float | None

    @property
    def told(self) -> str:
        """All of it in some lines of text."""
        where = f" in {self.place}" if self.place else ""
        return f"{self.number}. {words(self.family)}{where}\n{stamp(self.at)}\n{self.partner}\n{self.summary}"


@dataclass(frozen=True, slots=True)
class Lane:
    """The events of one partner."""

    partner: str
    name: str
    events: tuple[Event, ...]


def events_of(alert: Alert) -> list[Event]:
    """The evidence in order of time, numbered."""
    return [
        Event(number, item.partner, item.family, item.occurred_at, place_of(item), item.summary, item.lat, item.lon)
        for number, item in enumerate(in_order(alert), 1)
    ]


def lanes(events: list[Event], names: Mapping[str, str]) -> list[Lane]:
    """One lane a partner, the partner of the first event first."""
    by_partner: dict[str, list[Event]] = {}
    for event in events:
        by_partner.setdefault(event.partner, []).append(event)
    return [Lane(partner, names.get(partner, partner), tuple(own)) for partner, own in by_partner.items()]


def height(rows: list[Lane]) -> int:
    """Pixels that the chart needs."""
    return LANE_HEIGHT * max(len(rows), 1) + 90


def options(rows: list[Lane]) -> dict[str, Any]:
    """ECharts' options; families differ by mark as well as by colour."""
    offset = offsets(rows)
    families = list(dict.fromkeys(event.family for lane in rows for event in lane.events))
    return {
        "useUTC": True,
        "animation": False,
        "aria": {"enabled": True, "label": {"description": told(rows)}},
        "textStyle": {"color": TEXT},
        "grid": {"left": 12, "right": 24, "top": 40, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": 0, "textStyle": {"color": TEXT}},
        "tooltip": {"trigger": "item", "formatter": "{b}", "confine": True, "extraCssText": "white-space: pre-line"},
        "xAxis": {
            "type": "time",
            "axisLabel": {"color": TEXT, "hideOverlap": True},
            "axisLine": {"lineStyle": {"color": LINE}},
            "splitLine": {"show": True, "lineStyle": {"color": LINE, "type": "dashed"}},
            "minInterval": 1000,
            "boundaryGap": ["4%", "4%"],
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [lane.name for lane in rows],
            "axisLabel": {"color": TEXT, "width": 190, "overflow": "break", "lineHeight": 15},
            "axisLine": {"lineStyle": {"color": LINE}},
            "splitArea": {"show": True, "areaStyle": {"color": ["rgba(255,255,255,0.03)", "rgba(255,255,255,0)"]}},
        },
        "series": [
            {
                "type": "scatter",
                "name": words(family),
                "symbol": MARKS[place % len(MARKS)][0],
                "symbolSize": MARKS[place % len(MARKS)][1],
                "itemStyle": {"color": COLOURS[place % len(COLOURS)], "borderColor": "#12161c", "borderWidth": 2},
                "label": {"show": True, "formatter": "{@[2]}", "color": "#12161c", "fontWeight": "bold"},
                "data": [
                    {
                        "name": event.told,
                        "value": [round(event.at.timestamp() * 1000), row, event.number],
                        "symbolOffset": [0, offset[event.number]],
                    }
                    for row, lane in enumerate(rows)
                    for event in lane.events
                    if event.family == family
                ],
            }
            for place, family in enumerate(families)
        ],
    }


def offsets(rows: list[Lane]) -> dict[int, int]:
    """Pixels above (negative) or below its lane's line, by number of event."""
    moments = [event.at.timestamp() for lane in rows for event in lane.events]
    near = CLOSE * (max(moments) - min(moments)) if moments else 0.0
    found: dict[int, int] = {}
    for lane in rows:
        level, before = 0, None
        for event in lane.events:
            at = event.at.timestamp()
            level = (level + 1) % len(_LEVELS) if before is not None and at - before <= near else 0
            found[event.number] = _LEVELS[level]
            before = at
    return found


def told(rows: list[Lane]) -> str:
    """The chart in words."""
    said = (
        f"{lane.name}: " + ", ".join(f"event {event.number} at {event.at:%H:%M:%S}" for event in lane.events[:20])
        for lane in rows
    )
    return "Timeline, one lane a partner. " + "; ".join(said) + "."
