"""Delimited text with a mapping file, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import Any

from streams.adapters.base import AdapterError, Candidate, Context, LineReader, Outcome, RefusedLine
from streams.adapters.csv_mapping import Cell, CellError, Column, Mapping, iso_time, load_mapping, read_cell
from streams.adapters.jsonl import fill_header
from streams.adapters.table import Row, read_rows
from streams.shape import ShapeError, contract_path, nest, put

_OCCURRED_AT = "header.occurred_at"
_PRECISION = "header.occurred_precision"


def read_csv(lines: LineReader, context: Context) -> Iterator[Outcome]:
    """Events of a delimited file; see ``csv_mapping`` for the mapping file, ``fill_header`` for what is filled in.

    A day without a time of day in ``occurred_at`` becomes midnight UTC with precision DAY, never a made-up time.

    Raises:
        AdapterError: no mapping, no header line, or a column of the mapping that the file does not have.
        ConfigError: the mapping file is wrong.
    """
    if context.mapping is None:
        raise AdapterError("format csv needs a mapping file: give --mapping FILE (its columns and fields)")
    mapping = load_mapping(context.mapping)
    lines.encoding = mapping.encoding
    rows = read_rows(lines, mapping.delimiter)
    for number, row in enumerate(rows):
        if isinstance(row, RefusedLine):
            yield row
            continue
        if number == 0:
            _require_columns(mapping, row, lines)
        yield _event(row, mapping, context)


def _require_columns(mapping: Mapping, row: Row, lines: LineReader) -> None:
    missing = sorted(mapping.columns() - set(row.cells))
    if missing:
        raise AdapterError(
            f"{lines.path}:1: the mapping names columns that the file does not have: {', '.join(missing)}; "
            f"it has: {', '.join(row.cells)}"
        )


def _event(row: Row, mapping: Mapping, context: Context) -> Outcome:
    field = ""
    try:
        event = nest(mapping.constants)
        for field, spec in mapping.fields.items():
            _put_cell(event, contract_path(field), spec, row, mapping)
        field = "entities"
        entities = _entities(row, mapping)
        if entities:
            put(event, "header.entities", entities)
    except CellError as error:
        column = mapping.fields[field].column
        return RefusedLine(row.line, error.reason, f"column {column!r}: {error}", row.raw, contract_path(field))
    except ShapeError as error:
        return RefusedLine(row.line, "given_twice", str(error), row.raw, error.field)
    fill_header(event, context)
    key = row.cells[mapping.key].strip() if mapping.key is not None else ""
    return Candidate(row.line, event, row.raw, key or None)


def _put_cell(event: dict[str, Any], path: str, spec: Column, row: Row, mapping: Mapping) -> None:
    cell = read_cell(spec, row.cells[spec.column], mapping)
    if cell is None:
        return
    if path.rpartition(".")[2].endswith("_at"):
        if isinstance(cell.value, str):
            cell = iso_time(cell.value, mapping.time_zone)
        if cell.day_only:
            cell = _midnight(event, path, cell, mapping)
    put(event, path, cell.value)


def _midnight(event: dict[str, Any], path: str, cell: Cell, mapping: Mapping) -> Cell:
    if path != _OCCURRED_AT:
        raise CellError("day_only", f"{cell.value} has no time of day, which {path} needs; leave the field out")
    if not any(contract_path(name) == _PRECISION for name in (*mapping.fields, *mapping.constants)):
        put(event, _PRECISION, "DAY")
    return Cell(datetime.combine(cell.value, time(), UTC))


def _entities(row: Row, mapping: Mapping) -> list[dict[str, Any]]:
    found = []
    for spec in mapping.entities:
        text = row.cells[spec.column].strip()
        if text not in mapping.empty:
            found.append({"type": spec.type.value, "value": text, "role": spec.role})
    return found
