"""Columns over JSON events as they come: nested or flat names, mixed types, the contract's shape or anybody's.

A field name is looked up as a literal key first, then along its dots through nested objects; a list of objects gives a
list. What the contract puts into the header may also stand flat (``partner``, ``tlp``, ``lat``), as ``tocsin publish``
takes it, and the names that only rules know (``entity.phone``, ``amount``, ``geo.country``) are derived as the stream
derives them. Events of a family have the contract's defaults where they say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

import h3
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from processors.currencies import minor_unit_factor
from processors.enrich import Places, gazetteer
from processors.fields import GEO_FIELDS, H3_RESOLUTION, Column, Rows
from schemas.registry import load_schema
from streams.shape import contract_path

MISSING: Final = object()
EVERY_TEXT: Final = "\0"
"""Name, which no field can have, of the column for keywords."""
_INT64 = 1 << 63
_SAME_AS_FLOAT = 10**10
"""Whole numbers below this read the same as a double or as an integer, in Arrow's text too."""
_LOCATION = pa.struct([("lat", pa.float64()), ("lon", pa.float64()), ("country", pa.string())])


def value_of(event: dict[str, Any], name: str) -> Any:
    """The event's own value of a field under any of its spellings; None where it has none or says null."""
    return _value(event, name, _routes(name))


def _value(event: dict[str, Any], name: str, routes: tuple[tuple[str, str], ...]) -> Any:
    for key, rest in routes:
        if key in event:
            found = find(event[key], rest) if rest else event[key]
            if found is not MISSING:
                return found
    if name.startswith("entity."):
        return _entities(event, name.removeprefix("entity."))
    return _amount(event) if name == "amount" else None


@lru_cache(maxsize=65536)
def _routes(name: str) -> tuple[tuple[str, str], ...]:
    """Where to look for a field, in order: a key of the event, and the path from there on."""
    return tuple(split for spelling in _spellings(name) for split in _splits(spelling))


def _spellings(name: str) -> tuple[str, ...]:
    """Names of a field: as the rule writes it, where the contract has it, and flat."""
    bare = name.removeprefix("header.")
    path = contract_path(bare)
    if not path.startswith("header."):
        return (name,)
    last = path.rsplit(".", 1)[1]
    return tuple(dict.fromkeys([name, path, path.removeprefix("header."), last, f"header.{last}"]))


@lru_cache(maxsize=65536)
def _splits(path: str) -> tuple[tuple[str, str], ...]:
    """Every way to read the beginning of a dotted path as one key, the longest first, with what remains."""
    parts = path.split(".")
    return tuple((".".join(parts[:cut]), ".".join(parts[cut:])) for cut in range(len(parts), 0, -1))


def find(node: Any, path: str) -> Any:
    """What lies under a dotted path as it is written, or :data:`MISSING`."""
    if isinstance(node, dict):
        for key, rest in _splits(path):
            if key in node:
                found = node[key] if not rest else find(node[key], rest)
                if found is not MISSING:
                    return found
    elif isinstance(node, list):
        parts = [found for each in flat(node) if (found := find(each, path)) is not MISSING]
        return parts or MISSING
    return MISSING


def _entities(event: dict[str, Any], kind: str) -> list[Any]:
    entities = value_of(event, "header.entities")
    if not isinstance(entities, list):
        return []
    return [each.get("value") for each in entities if isinstance(each, dict) and each.get("type") == kind]


def _amount(event: dict[str, Any]) -> float | None:
    minor, currency = find(event, "amount_minor"), find(event, "currency")
    if not isinstance(minor, int) or isinstance(minor, bool):
        return None
    return minor / minor_unit_factor(currency if isinstance(currency, str) else "")


@lru_cache(maxsize=4096)
def default_of(family: str, name: str) -> Any:
    """What the contract of ``family`` puts where an event does not say; None when that is nothing."""
    fields: list[dict[str, Any]] = load_schema(family)["fields"]
    default = None
    for part in contract_path(name.removeprefix("header.")).split("."):
        field = next((each for each in fields if each["name"] == part), None)
        if field is None:
            return None
        default, kind = field.get("default"), field["type"]
        fields = kind.get("fields", []) if isinstance(kind, dict) else []
    return default


class JsonEvents:
    """Events of one family, or of none where ``family`` is empty: then no contract gives defaults."""

    def __init__(self, family: str, events: Sequence[dict[str, Any]]) -> None:
        self.family, self.events = family, events
        self.num_rows = len(events)
        self._values: dict[str, list[Any]] = {}

    def values(self, name: str) -> list[Any]:
        """Each event's value as Python has it: a scalar, a list, a dict, or None."""
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def _read(self, name: str) -> list[Any]:
        routes = _routes(name)
        found = [event[name] if name in event else _value(event, name, routes) for event in self.events]
        if name.startswith("geo.") and None in found:
            derived = self._geo(name.removeprefix("geo."))
            found = [other if value is None else value for value, other in zip(found, derived, strict=True)]
        if not self.family:
            return found
        default = default_of(self.family, name) if None in found else None
        if default is not None:
            found = [default if value is None else value for value in found]
        return list(map(tlp_symbol, found)) if name.endswith("tlp") else found

    def column(self, name: str) -> Column | None:
        """The column of that name; None when no event has a value. Values of different types become text: see
        :meth:`uniform`."""
        if name == EVERY_TEXT:
            return self._texts()
        values = self.values(name)
        rows: list[int] | None = None
        if list in set(map(type, values)):
            pairs = [(row, each) for row, value in enumerate(values) for each in flat(value)]
            rows, values = [row for row, _ in pairs], [value for _, value in pairs]
        kind = _common_kind(values)
        if kind == "":
            return None
        return Column(_array(kind or "text", values), None if rows is None else np.array(rows, dtype=np.int64))

    def names(self) -> tuple[str, ...]:
        """Columns in which keywords are looked for: one that holds every text of each event, at any depth."""
        return (EVERY_TEXT,)

    def _texts(self) -> Column:
        # What names the family, and what enrichment adds, are no texts of the event in the stream either.
        added = ("family", "topic", *GEO_FIELDS) if self.family else ()
        own = ([value for name, value in event.items() if name not in added] for event in self.events)
        pairs = [(row, text) for row, values in enumerate(own) for text in _texts_in(values)]
        rows = np.array([row for row, _ in pairs], dtype=np.int64)
        return Column(pa.array([text for _, text in pairs], pa.string()), rows)

    def take(self, rows: Rows) -> JsonEvents:
        """Some of the events, in that order."""
        chosen = rows.tolist()
        part = JsonEvents(self.family, [self.events[row] for row in chosen])
        part._values = {name: [values[row] for row in chosen] for name, values in self._values.items()}
        return part

    def uniform(self, names: Iterable[str]) -> list[tuple[Rows, JsonEvents]]:
        """The events apart by the types of these fields, so that no event is seen differently for its neighbours.

        Most data is uniform, and comes back as one part.
        """
        mixed = []
        for name in dict.fromkeys(names):
            values = self.values(name)
            if _common_kind(values) is None:
                kinds = list(map(kind_of, values))
                usual = Counter(kind for kind in kinds if kind).most_common(1)[0][0]
                mixed.append([kind or usual for kind in kinds])
        if not mixed:
            return [(np.arange(self.num_rows, dtype=np.int64), self)]
        parts: dict[tuple[str, ...], list[int]] = {}
        for row, kinds_of_row in enumerate(zip(*mixed, strict=True)):
            parts.setdefault(kinds_of_row, []).append(row)
        chosen = [np.array(rows, dtype=np.int64) for rows in parts.values()]
        return [(rows, self.take(rows)) for rows in chosen]

    @cached_property
    def places(self) -> Places:
        """Where the events happened, as enrichment finds it."""
        located = [
            {"lat": lat, "lon": lon, "country": country if isinstance(country, str) else None}
            for (lat, lon), country in zip(
                map(position, self.events), self.values("header.location.country"), strict=True
            )
        ]
        locations = pa.array(located, _LOCATION)
        if all(each["lat"] is None and each["country"] is None for each in located):
            # Spare those who have no places the building of the gazetteer.
            blank = pa.nulls(self.num_rows, pa.string())
            return Places(pc.struct_field(locations, "lat"), pc.struct_field(locations, "lon"), blank, blank, blank)
        return gazetteer().locate(locations)

    def _geo(self, name: str) -> list[Any]:
        places = self.places
        match name:
            case "country" | "place" | "continent":
                return getattr(places, name).to_pylist()  # type: ignore[no-any-return]
            case "h3":
                points = zip(places.lat.to_pylist(), places.lon.to_pylist(), strict=True)
                return [None if lat is None else h3.latlng_to_cell(lat, lon, H3_RESOLUTION) for lat, lon in points]
        return [None] * self.num_rows


def position(event: dict[str, Any]) -> tuple[float | None, float | None]:
    """Latitude and longitude in WGS 84 degrees, or twice None where the event has no usable ones."""
    lat, lon = value_of(event, "header.location.lat"), value_of(event, "header.location.lon")
    for degrees, limit in ((lat, 90), (lon, 180)):
        if not isinstance(degrees, int | float) or isinstance(degrees, bool) or not abs(degrees) <= limit:
            return None, None
    return float(lat), float(lon)


def tlp_symbol(label: Any) -> Any:
    """The contract's symbol of a TLP label: ``TLP:AMBER+STRICT`` is ``AMBER_STRICT``."""
    return label.removeprefix("TLP:").replace("+", "_") if isinstance(label, str) else label


def flat(value: Any) -> list[Any]:
    """The values in a value: lists are opened, at any depth; nulls go."""
    if not isinstance(value, list):
        return [] if value is None else [value]
    if not any(isinstance(each, list) for each in value):
        return [each for each in value if each is not None]
    # Not by recursion: nobody limits how deep a line may nest its lists.
    found: list[Any] = []
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        elif each is not None:
            found.append(each)
    return found


def _texts_in(values: list[Any]) -> Iterator[str]:
    waiting = values
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def kind_of(value: Any) -> str:
    """How a value compares: ``text``, ``bool``, ``number``, ``whole`` (an integer that a double would round), or empty
    for nothing. Values of several kinds compare as texts."""
    kinds = set(map(_scalar_kind, flat(value)))
    return kinds.pop() if len(kinds) == 1 else "text" if kinds else ""


def _scalar_kind(value: Any) -> str:
    kind = type(value)
    if kind is int:
        return "number" if abs(value) < _SAME_AS_FLOAT else "whole" if -_INT64 <= value < _INT64 else "text"
    return _KINDS.get(kind, "text")


_KINDS = {str: "text", bool: "bool", float: "number", type(None): ""}


def _common_kind(values: list[Any]) -> str | None:
    """The kind of all values, those in lists too; empty when there are none, None when there are several kinds."""
    types = set(map(type, values))
    if list in types:
        values = [inner for value in values for inner in flat(value)]
        types = set(map(type, values))
    kinds = {_KINDS[each] for each in types if each in _KINDS}
    if types - _KINDS.keys():
        kinds = set(map(_scalar_kind, values))
    kinds.discard("")
    return None if len(kinds) > 1 else kinds.pop() if kinds else ""


def _array(kind: str, values: list[Any]) -> pa.Array:
    match kind:
        case "bool":
            return pa.array(values, pa.bool_())
        case "whole":
            return pa.array(values, pa.int64())
        case "number":
            whole = not any(isinstance(value, float) for value in values)
            return pa.array(values, pa.int64() if whole else pa.float64())
    return pa.array([as_text(value) for value in values], pa.string())


def as_text(value: Any) -> str | None:
    """A value among texts: booleans as ``true`` and ``false``, numbers as Arrow writes them, objects as JSON."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return str(pc.cast(pa.scalar(value), pa.string()))
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "(nested too deep)"
