"""Columns of a batch of events by the dotted names that rules use.

``document_number`` is a field of the family; ``header.partner`` and, for short, ``partner`` are fields of the header;
``entity.phone`` is every entity value of that type, so a row may have several; ``amount`` is ``amount_minor`` in major
units; ``geo.country``, ``geo.place``, ``geo.continent`` and ``geo.h3`` come from enrichment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import h3
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.currencies import minor_unit_factor
from processors.enrich import Places, gazetteer
from schemas.registry import load_schema

GEO_FIELDS = ("geo.country", "geo.place", "geo.continent", "geo.h3")
H3_RESOLUTION = 7
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """Values of one field. ``rows[i]`` is the row of ``values[i]``; None where value i belongs to row i."""

    values: pa.Array
    rows: Rows | None = None

    @cached_property
    def is_text(self) -> bool:
        return bool(pa.types.is_string(self.values.type) or pa.types.is_large_string(self.values.type))

    @cached_property
    def text(self) -> pa.Array:
        """Values as strings; booleans read as ``true`` and ``false``."""
        return self.values if self.is_text else pc.cast(self.values, pa.string())

    @cached_property
    def lower(self) -> pa.Array:
        return pc.utf8_lower(self.text)

    def to_rows(self, positions: Rows) -> Rows:
        """Row numbers, sorted and once each, of the values at ``positions`` (sorted)."""
        return positions if self.rows is None else np.unique(self.rows[positions])


class EventBatch:
    """Valid events of one family in reader-schema form."""

    def __init__(self, family: str, table: pa.RecordBatch) -> None:
        self.family, self.table = family, table
        self.num_rows: int = table.num_rows
        self.header: pa.StructArray = table.column(0)
        self._columns: dict[str, Column | None] = {}

    @cached_property
    def places(self) -> Places:
        """Row by row what enrichment finds; looked up when first asked for."""
        return gazetteer().locate(self.header.field("location"))

    def places_of(self, rows: Rows, locations: pa.StructArray) -> Places:
        """What enrichment finds for some rows, whose ``locations`` are given, without looking up the others."""
        if "places" in self.__dict__:
            return self.places.take(rows)
        return gazetteer().locate(locations)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None when the family has no such field."""
        if name not in self._columns:
            self._columns[name] = self._find(name)
        return self._columns[name]

    def names(self) -> Iterator[str]:
        """Names of the columns that hold text of the event itself, those of entities by the types that occur."""
        for field in self.table.schema:
            yield from _text_names(field.name, field.type)
        for kind in pc.unique(self.header.field("entities").flatten().field("type")).to_pylist():
            yield f"entity.{kind}"

    def _find(self, name: str) -> Column | None:
        if name.startswith("entity."):
            return self._entity(name.removeprefix("entity."))
        if name.startswith("geo."):
            return self._geo(name.removeprefix("geo."))
        if name == "amount":
            return self._amount()
        path = name.removeprefix("header.").split(".")
        if not name.startswith("header.") and path[0] in self.table.schema.names:
            return _descend(self.table.column(path[0]), path[1:])
        if path[0] in ("tlp", "releasable_to", "purpose", "legal_basis", "retain_days"):
            path.insert(0, "handling")
        return _descend(self.header, path)

    def _entity(self, kind: str) -> Column:
        entities = self.header.field("entities")
        structs = entities.flatten()
        chosen = pc.equal(structs.field("type"), kind)
        parents = pc.list_parent_indices(entities)
        return Column(
            structs.field("value").filter(chosen),
            parents.filter(chosen).to_numpy(zero_copy_only=False).astype(np.int64),
        )

    def _geo(self, name: str) -> Column | None:
        match name:
            case "country":
                return Column(self.places.country)
            case "place":
                return Column(self.places.place)
            case "continent":
                return Column(self.places.continent)
            case "h3":
                cells = [
                    None if lat is None else h3.latlng_to_cell(lat, lon, H3_RESOLUTION)
                    for lat, lon in zip(self.places.lat.to_pylist(), self.places.lon.to_pylist(), strict=True)
                ]
                return Column(pa.array(cells, pa.string()))
        return None

    def _amount(self) -> Column | None:
        if "amount_minor" not in self.table.schema.names:
            return None
        currency = pc.dictionary_encode(self.table.column("currency"))
        factors = pa.array([minor_unit_factor(code) for code in currency.dictionary.to_pylist()], pa.float64())
        factor = pc.fill_null(pc.take(factors, currency.indices), 100.0)
        return Column(pc.divide(pc.cast(self.table.column("amount_minor"), pa.float64()), factor))


def _text_names(name: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _text_names(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        if not pa.types.is_struct(kind.value_type):
            yield from _text_names(name, kind.value_type)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield name


def _descend(array: pa.Array, path: list[str]) -> Column | None:
    for name in path:
        if not pa.types.is_struct(array.type) or array.type.get_field_index(name) < 0:
            return None
        array = pc.struct_field(array, name)
    if pa.types.is_struct(array.type):
        return None
    if pa.types.is_list(array.type):
        parents = pc.list_parent_indices(array).to_numpy(zero_copy_only=False).astype(np.int64)
        values = array.flatten()
        return None if pa.types.is_struct(values.type) else Column(values, parents)
    return Column(array)


@cache
def field_exists(family: str, name: str) -> bool:
    """Whether events of ``family`` can have a value under ``name``; used to refuse rules with misspelt fields."""
    schema = load_schema(family)
    if name.startswith("geo."):
        return name in GEO_FIELDS
    if name.startswith("entity."):
        entities = _avro_field(_avro_field(schema, "header"), "entities")
        return name.removeprefix("entity.") in _avro_field(entities, "type")["symbols"]
    if name == "amount":
        return _avro_field(schema, "amount_minor") is not None
    return any(_avro_path(schema, path) for path in (name, f"header.{name}", f"header.handling.{name}"))


def _avro_path(schema: Any, path: str) -> bool:
    for name in path.split("."):
        schema = _avro_field(schema, name)
        if schema is None:
            return False
    return not (isinstance(schema, dict) and schema.get("type") == "record")


def _avro_field(schema: Any, name: str) -> Any:
    """Type of the field of that name, seen through null unions and arrays; None when there is none."""
    if not isinstance(schema, dict):
        return None
    for each in schema.get("fields", ()):
        if each["name"] == name:
            kind = each["type"]
            if isinstance(kind, list):
                kind = next(branch for branch in kind if branch != "null")
            return kind["items"] if isinstance(kind, dict) and kind.get("type") == "array" else kind
    return None
