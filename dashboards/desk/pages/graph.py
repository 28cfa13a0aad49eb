"""Which entities link which events: events to the left in order of time, entities to the right. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dashboards.desk.markup import words
from dashboards.desk.pages.story import entity_words
from dashboards.desk.pages.timeline import COLOURS, TEXT
from dashboards.explain import in_order
from schemas.alerts import Alert

MAX_ENTITIES: Final = 24
MAX_EVENTS: Final = 40
ROW_HEIGHT: Final = 34
_LABEL: Final = 34
_TYPES: Final = (
    *("person", "document", "phone", "account", "vehicle", "device", "ip", "domain", "file_hash", "organisation"),
    "place",
)
_SYMBOLS: Final = ("circle", "rect", "triangle", "diamond", "roundRect", "pin")


@dataclass(frozen=True, slots=True)
class Node:
    """An entity and where it is named; ``events`` are numbers from 1 in order of time."""

    type: str
    value: str
    roles: tuple[str, ...]
    partners: tuple[str, ...]
    events: tuple[int, ...]

    @property
    def links(self) -> bool:
        """Whether it ties events to each other."""
        return len(self.events) > 1

    @property
    def title(self) -> str:
        return entity_words(self.type, self.value)


def entities(alert: Alert) -> list[Node]:
    """All entities of the evidence: what links most partners first, then most events."""
    roles: dict[tuple[str, str], dict[str, None]] = {}
    partners: dict[tuple[str, str], dict[str, None]] = {}
    numbers: dict[tuple[str, str], dict[int, None]] = {}
    for number, item in enumerate(in_order(alert), 1):
        for entity in item.entities:
            key = (entity.type, entity.value)
            numbers.setdefault(key, {})[number] = None
            partners.setdefault(key, {})[item.partner] = None
            known = roles.setdefault(key, {})
            if entity.role:
                known[entity.role] = None
    found = [Node(*key, tuple(roles[key]), tuple(partners[key]), tuple(numbers[key])) for key in numbers]
    return sorted(found, key=lambda node: (-len(node.partners), -len(node.events), node.events, node.type, node.value))


def shown(nodes: list[Node]) -> list[Node]:
    """Entities that the drawing has room for: those that link events first."""
    return sorted(nodes, key=lambda node: not node.links)[:MAX_ENTITIES]


def height(alert: Alert, nodes: list[Node]) -> int:
    """Pixels that the chart needs."""
    return ROW_HEIGHT * max(min(len(alert.evidence), MAX_EVENTS), len(shown(nodes)), 3) + 60


def options(alert: Alert, nodes: list[Node]) -> dict[str, Any]:
    """ECharts' options. An entity that links events is drawn larger and named in bold; types differ by mark."""
    drawn = shown(nodes)
    items = list(enumerate(in_order(alert), 1))[:MAX_EVENTS]
    rows = max(len(items), len(drawn), 1)
    known = {number for number, _ in items}
    types = [kind for kind in _TYPES if any(node.type == kind for node in drawn)]
    types += sorted({node.type for node in drawn} - set(types))
    events = [
        {
            "id": f"event/{number}",
            "name": f"{number} · {item.partner}",
            "category": 0,
            "symbol": "roundRect",
            "symbolSize": [22, 16],
            "value": [0, _row(number - 1, len(items), rows)],
            "label": {"position": "left"},
        }
        for number, item in items
    ]
    places = {
        node: index for index, node in enumerate(sorted(drawn, key=lambda node: sum(node.events) / len(node.events)))
    }
    marks = [
        {
            "id": f"{node.type}/{node.value}",
            "name": _short(node.title),
            "category": 1 + types.index(node.type),
            "symbol": _SYMBOLS[types.index(node.type) % len(_SYMBOLS)],
            "symbolSize": 20 if node.links else 12,
            "value": [1, _row(places[node], len(drawn), rows)],
            "label": {"position": "right", "fontWeight": "bold" if node.links else "normal"},
        }
        for node in drawn
    ]
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": told(nodes)}},
        "textStyle": {"color": TEXT},
        "legend": {
            "top": 0,
            "left": 0,
            "textStyle": {"color": TEXT},
            "data": [
                {"name": "event", "icon": "roundRect"},
                *({"name": words(kind), "icon": _SYMBOLS[at % len(_SYMBOLS)]} for at, kind in enumerate(types)),
            ],
        },
        "grid": {"left": 190, "right": 300, "top": 40, "bottom": 10},
        "xAxis": {"type": "value", "min": 0, "max": 1, "show": False},
        "yAxis": {"type": "value", "min": 0, "max": rows, "inverse": True, "show": False},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "label": {"show": True, "color": TEXT, "fontSize": 13},
                "lineStyle": {"color": "#868e96", "width": 1.5, "opacity": 0.9, "curveness": 0},
                "emphasis": {"focus": "adjacency", "lineStyle": {"width": 3}},
                "categories": [
                    {"name": "event", "symbol": "roundRect", "itemStyle": {"color": "#ced4da"}},
                    *(
                        {
                            "name": words(kind),
                            "symbol": _SYMBOLS[index % len(_SYMBOLS)],
                            "itemStyle": {"color": COLOURS[index % len(COLOURS)]},
                        }
                        for index, kind in enumerate(types)
                    ),
                ],
                "data": [*events, *marks],
                "links": [
                    {
                        "source": f"event/{number}",
                        "target": f"{node.type}/{node.value}",
                        "lineStyle": {"type": "solid" if node.links else "dotted"},
                    }
                    for node in drawn
                    for number in node.events
                    if number in known
                ],
            }
        ],
    }


def told(nodes: list[Node]) -> str:
    """The drawing in words."""
    linking = [node for node in nodes if node.links]
    if not linking:
        return "No entity is named by more than one event."
    return "; ".join(
        f"{node.title} links {len(node.events)} events of {len(node.partners)} partner"
        f"{'s' if len(node.partners) != 1 else ''}"
        for node in linking[:10]
    )


def _row(index: int, count: int, rows: int) -> float:
    """A place in a column of ``count`` that is centred beside one of ``rows``."""
    return (index + 0.5) * rows / count if count else 0.0


def _short(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
