"""A map of an alert's places as shapes for inline SVG: country outlines, a graticule and numbered points.

Outlines: Natural Earth 4.1, 1:50m, public domain (see ``source`` in world.json); they take no position on borders.
Projection: equirectangular, true to scale at the middle latitude; good enough to see where things are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 420
MARGIN: Final = 0.25
MIN_SPAN_DEGREES: Final = 6.0
_WORLD_FILE: Final = Path(__file__).with_name("world.json")

# Widths of the page's text, measured generously, in pixels of the drawing.
PLACE_CHARACTER: Final = 8.0
COUNTRY_CHARACTER: Final = 7.0
LINE_HEIGHT: Final = 18.0
RADIUS: Final = 13.0

Ring = list[tuple[float, float]]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Point:
    """A place to show: WGS 84 degrees, the numbers of the evidence seen there, its name."""

    lat: float
    lon: float
    numbers: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A point on the drawing, in its pixels."""

    x: float
    y: float
    label: str
    name: str
    anchor: str
    name_x: float
    name_y: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text on the drawing, in its pixels."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that the template draws, in pixels of a ``WIDTH`` by ``HEIGHT`` view."""

    land: tuple[str, ...]
    graticule: tuple[str, ...]
    countries: tuple[Label, ...]
    trail: str
    markers: tuple[Marker, ...]
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class View:
    """The part of the world that is shown, and its projection to pixels."""

    west: float
    south: float
    east: float
    north: float

    def x(self, lon: float) -> float:
        return (lon - self.west) / (self.east - self.west) * WIDTH

    def y(self, lat: float) -> float:
        return (self.north - lat) / (self.north - self.south) * HEIGHT

    def meets(self, ring: Ring) -> bool:
        lons, lats = [lon for lon, _ in ring], [lat for _, lat in ring]
        return min(lons) <= self.east and max(lons) >= self.west and min(lats) <= self.north and max(lats) >= self.south


@cache
def world() -> tuple[tuple[str, tuple[Ring, ...]], ...]:
    """Countries with their rings in degrees, the largest ring first."""
    countries = json.loads(_WORLD_FILE.read_text())["countries"]
    return tuple((each["name"], tuple(_degrees(ring) for ring in each["rings"])) for each in countries)


def _degrees(ring: Sequence[int]) -> Ring:
    lons, lats = accumulate(ring[0::2]), accumulate(ring[1::2])
    return [(lon / 100, lat / 100) for lon, lat in zip(lons, lats, strict=True)]


def view_of(points: Sequence[Point]) -> View:
    """The smallest view of the right shape that holds all points with a margin."""
    lats, lons = [point.lat for point in points], [point.lon for point in points]
    middle_lat, middle_lon = (min(lats) + max(lats)) / 2, (min(lons) + max(lons)) / 2
    stretch = max(math.cos(math.radians(middle_lat)), 0.2)
    height = max(max(lats) - min(lats), MIN_SPAN_DEGREES) * (1 + 2 * MARGIN)
    width = max(max(lons) - min(lons), MIN_SPAN_DEGREES) * (1 + 2 * MARGIN)
    height = max(height, width * stretch * HEIGHT / WIDTH)
    width = height / stretch * WIDTH / HEIGHT
    return View(middle_lon - width / 2, middle_lat - height / 2, middle_lon + width / 2, middle_lat + height / 2)


def _path(ring: Iterable[tuple[float, float]], view: View, close: bool = True) -> str:
    steps = [f"{view.x(lon):.1f} {view.y(lat):.1f}" for lon, lat in ring]
    kept = [step for index, step in enumerate(steps) if index == 0 or step != steps[index - 1]]
    return "M" + "L".join(kept) + ("Z" if close else "")


def _graticule(view: View) -> tuple[str, ...]:
    span = view.north - view.south
    step = next(size for size in (1, 2, 5, 10, 20, 30) if span / size <= 6 or size == 30)
    lons = range(math.ceil(view.west / step) * step, math.floor(view.east) + 1, step)
    lats = range(math.ceil(view.south / step) * step, math.floor(view.north) + 1, step)
    return tuple(f"M{view.x(lon):.1f} 0V{HEIGHT}" for lon in lons) + tuple(
        f"M0 {view.y(lat):.1f}H{WIDTH}" for lat in lats
    )


def _centre(ring: Ring) -> tuple[float, float]:
    """Centroid of a ring (Green's theorem on its edges)."""
    double_area = lon_sum = lat_sum = 0.0
    for (lon, lat), (next_lon, next_lat) in pairwise([*ring, ring[0]]):
        cross = lon * next_lat - next_lon * lat
        double_area += cross
        lon_sum += (lon + next_lon) * cross
        lat_sum += (lat + next_lat) * cross
    return (lon_sum / (3 * double_area), lat_sum / (3 * double_area)) if double_area else ring[0]


def _box(x: float, y: float, width: float, anchor: str) -> Box:
    """The box around a line of text whose anchor is at ``x`` and whose middle is at ``y``."""
    left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
    return (left, y - LINE_HEIGHT / 2, left + width, y + LINE_HEIGHT / 2)


def _overlap(one: Box, other: Box) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box) -> float:
    """Area of a box that lies outside the drawing, in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, (0, 0, WIDTH, HEIGHT))


def _markers(points: Sequence[Point], view: View) -> tuple[list[Marker], list[Box]]:
    """Markers with their names beside them where there is most room, and the boxes that they take up."""
    spots = [(view.x(point.lon), view.y(point.lat)) for point in points]
    taken: list[Box] = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in spots]
    markers: list[Marker] = []
    for point, (x, y) in zip(points, spots, strict=True):
        width = PLACE_CHARACTER * len(point.name)
        sides = ((20, 0, "start"), (-20, 0, "end"), (0, -24, "middle"), (0, 24, "middle"))
        boxes = [_box(x + dx, y + dy, width, anchor) for dx, dy, anchor in sides]
        costs = [_outside(box) + sum(_overlap(box, other) for other in taken) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        dx, dy, anchor = sides[best]
        label = ", ".join(str(number) for number in point.numbers[:3]) + ("…" if len(point.numbers) > 3 else "")
        markers.append(Marker(round(x, 1), round(y, 1), label, point.name, anchor, dx, dy + 5))
    return markers, taken


def _country_labels(view: View, taken: list[Box]) -> Iterable[Label]:
    """Names of countries that have room for them, clear of ``taken``, to which they are added."""
    for name, rings in world():
        if not view.meets(rings[0]):
            continue
        lons = [lon for lon, _ in rings[0]]
        lon, lat = _centre(rings[0])
        x, y, room = view.x(lon), view.y(lat), view.x(max(lons)) - view.x(min(lons))
        box = _box(x, y, COUNTRY_CHARACTER * len(name), "middle")
        clear = not any(_overlap(box, other) for other in taken)
        if room > box[2] - box[0] and clear and not _outside(box):
            taken.append(box)
            yield Label(round(x, 1), round(y + 4, 1), name)


def merge(points: Iterable[Point]) -> list[Point]:
    """Points at the same place (to 0.01 degrees) become one that carries all their numbers."""
    found: dict[tuple[float, float], Point] = {}
    for point in points:
        key = (round(point.lat, 2), round(point.lon, 2))
        known = found.get(key)
        numbers = known.numbers + point.numbers if known else point.numbers
        found[key] = Point(point.lat, point.lon, numbers, (known.name if known else "") or point.name)
    return list(found.values())


def draw(points: Sequence[Point]) -> Drawing | None:
    """The drawing of these points, joined in their order; ``None`` when there are none."""
    usable = [point for point in points if -90 <= point.lat <= 90 and -180 <= point.lon <= 180]
    if not usable:
        return None
    view = view_of(usable)
    markers, taken = _markers(merge(usable), view)
    return Drawing(
        land=tuple(_path(ring, view) for _, rings in world() for ring in rings if view.meets(ring)),
        graticule=_graticule(view),
        countries=tuple(_country_labels(view, taken)),
        trail=_path(((point.lon, point.lat) for point in usable), view, close=False) if len(markers) > 1 else "",
        markers=tuple(markers),
    )
