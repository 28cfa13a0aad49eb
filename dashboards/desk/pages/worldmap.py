"""The places of an alert and the order of its events, as a map without a tile server reads them. Pure functions.

The outlines are in static/world.json (Natural Earth, public domain; see its ``source``); they take no position on
borders. ``static/offline-map.js`` draws them when a Leaflet map's options carry ``tocsin``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dashboards.desk.pages.timeline import Event

WORLD: Final = "/static/world.json"
SCRIPT: Final = "/static/offline-map.js"
MAX_RUNS: Final = 2


@dataclass(frozen=True, slots=True)
class Spot:
    """A place (WGS 84 degrees) with the numbers of the events seen there."""

    lat: float
    lon: float
    name: str
    numbers: tuple[int, ...]

    @property
    def label(self) -> str:
        """``1``, ``1, 3``, ``1–3``, ``1–3, 5…``."""
        runs: list[list[int]] = []
        for number in self.numbers:
            if runs and number == runs[-1][-1] + 1:
                runs[-1][1:] = [number]
            else:
                runs.append([number])
        shown = ", ".join("–".join(map(str, run)) for run in runs[:MAX_RUNS])
        return shown + ("…" if len(runs) > MAX_RUNS else "")


def spots(events: list[Event]) -> list[Spot]:
    """Places in the order of their first event; events within 0.01 degrees are at one place."""
    found: dict[tuple[float, float], Spot] = {}
    for event in events:
        if event.lat is None or event.lon is None or not (-90 <= event.lat <= 90 and -180 <= event.lon <= 180):
            continue
        key = (round(event.lat, 2), round(event.lon, 2))
        known = found.get(key)
        if known is None:
            found[key] = Spot(event.lat, event.lon, event.place or "unnamed place", (event.number,))
        else:
            found[key] = Spot(known.lat, known.lon, known.name, (*known.numbers, event.number))
    return list(found.values())


def path(events: list[Event]) -> list[tuple[float, float]]:
    """The way from event to event, in order; staying at a place is no step."""
    way: list[tuple[float, float]] = []
    at = {number: spot for spot in spots(events) for number in spot.numbers}
    for event in events:
        spot = at.get(event.number)
        if spot is not None and (not way or way[-1] != (spot.lat, spot.lon)):
            way.append((spot.lat, spot.lon))
    return way


def options(events: list[Event]) -> dict[str, Any]:
    """Leaflet's options, with what offline-map.js draws."""
    return {
        "attributionControl": False,
        "minZoom": 1,
        "maxZoom": 9,
        "worldCopyJump": True,
        "scrollWheelZoom": False,
        "tocsin": {
            "world": WORLD,
            "spots": [
                {
                    "lat": spot.lat,
                    "lon": spot.lon,
                    "label": spot.label,
                    "title": f"{_events(spot).capitalize()}: {spot.name}",
                    "name": spot.name,
                }
                for spot in spots(events)
            ],
            "path": path(events),
        },
    }


def _events(spot: Spot) -> str:
    return f"{'events' if len(spot.numbers) > 1 else 'event'} {spot.label}"


def told(events: list[Event]) -> str:
    """The map in words."""
    return "; then ".join(f"{spot.name} ({_events(spot)})" for spot in spots(events))
