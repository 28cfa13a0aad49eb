"""Columns as the matcher looks at them: each distinct value once, and the rows that have it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.clauses import number_of, part_of
from processors.fields import Column, Rows

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_SAMPLE = 512
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_PARTS = {
    "minute": pc.minute,
    "hour": pc.hour,
    "day": pc.day,
    "week": pc.iso_week,
    "month": pc.month,
    "year": pc.year,
}


class Columns(Protocol):
    """What the matcher needs of a batch."""

    num_rows: int

    def column(self, name: str) -> Column | None:
        """The column of that name; None when no row has such a field."""
        ...

    def names(self) -> Iterable[str]:
        """Names of the columns that hold text, where keywords are looked for."""
        ...


class View:
    """One field of one batch. Value i is ``distinct[codes[i]]`` (-1: null), of row ``rows[i]`` (None: row i)."""

    def __init__(self, column: Column | None, num_rows: int) -> None:
        self.num_rows = num_rows
        self.column = column or Column(pa.nulls(num_rows, pa.string()))
        self.rows = self.column.rows
        if self.rows is not None and len(self.rows) and np.any(np.diff(self.rows) < 0):
            order = np.argsort(self.rows, kind="stable")
            self.column = Column(self.column.values.take(pa.array(order)), self.rows[order])
            self.rows = self.column.rows

    @property
    def is_number(self) -> bool:
        kind = self.column.values.type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    @cached_property
    def _encoded(self) -> tuple[pa.Array, Ints]:
        """(distinct texts, codes). Where values seldom repeat each stands for itself, for finding out costs more than
        it saves."""
        texts = pc.cast(self.column.text, pa.string())
        if pc.count_distinct(texts.slice(0, _SAMPLE)).as_py() > _SAMPLE // 2:
            codes = np.arange(len(texts))
            codes[pc.is_null(texts).to_numpy(zero_copy_only=False)] = -1
            return pc.fill_null(texts, ""), codes
        encoded = pc.dictionary_encode(texts)
        return encoded.dictionary, pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    @property
    def codes(self) -> Ints:
        return self._encoded[1]

    @property
    def distinct(self) -> pa.Array:
        return self._encoded[0]

    @cached_property
    def lower(self) -> pa.Array:
        return pc.utf8_lower(self.distinct)

    @cached_property
    def texts(self) -> list[str]:
        return self.distinct.to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def lowers(self) -> list[str]:
        return self.lower.to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """Each value as a number, in double precision; NaN where it is none."""
        if self.is_number:
            numbers = pc.cast(self.column.values, pa.float64(), safe=False)
            return pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
        if not self.column.is_text:
            return np.full(len(self.column.values), np.nan)
        parsed = [np.nan if (number := number_of(text)) is None else float(number) for text in self.texts]
        return np.array([*parsed, np.nan])[self.codes]

    @cached_property
    def present(self) -> Mask:
        """For each row, whether it has a value."""
        return self.to_mask(pc.is_valid(self.column.values).to_numpy(zero_copy_only=False))

    def part(self, part: str) -> View:
        """That part of each timestamp, as numbers."""
        values = self.column.values
        if self.column.is_text:
            parts = pa.array([*(part_of(text, part) for text in self.texts), None], pa.int64())
            return View(Column(parts.take(self.codes % len(parts)), self.rows), self.num_rows)
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            zone = values.type.tz if pa.types.is_timestamp(values.type) else None
            values = pc.cast(pc.cast(values, pa.timestamp("us", zone), safe=False), pa.int64())
        if not pa.types.is_integer(values.type):
            return View(Column(pa.nulls(len(values), pa.int64()), self.rows), self.num_rows)
        values = pc.cast(values, pa.int64(), safe=False)
        inside = pc.and_(pc.greater_equal(values, _FIRST_US), pc.less_equal(values, _LAST_US))
        times = pc.cast(pc.if_else(inside, values, None), pa.timestamp("us"))
        return View(Column(_PARTS[part](times), self.rows), self.num_rows)

    def to_mask(self, met: Mask) -> Mask:
        """For each row, whether one of its values is met."""
        if self.rows is None:
            return met
        mask = np.zeros(self.num_rows, dtype=bool)
        mask[self.rows[met]] = True
        return mask

    def distinct_mask(self, met: Mask) -> Mask:
        """For each row, whether it has a distinct value that is met."""
        return self.to_mask(np.append(met, False)[self.codes])

    def positions(self, rows: Rows) -> tuple[Ints, Ints]:
        """(position, index in ``rows``) of every value of these rows."""
        if self.rows is None:
            return rows, np.arange(len(rows))
        first, end = np.searchsorted(self.rows, rows), np.searchsorted(self.rows, rows, side="right")
        return ranges(first, end - first)


def ranges(first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """(element, index of its range) of every element of the ranges that begin so and are that long."""
    index = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return np.arange(len(index)) + np.repeat(first - before, counts), index


class Views:
    """The views of one batch, each made when it is first asked for."""

    def __init__(self, batch: Columns) -> None:
        self._batch, self.num_rows = batch, batch.num_rows
        self._views: dict[tuple[str, str], View] = {}

    def get(self, field: str, part: str = "") -> View:
        """The view of a field, or of one part of its timestamps; of every text for the empty name."""
        view = self._views.get((field, part))
        if view is None:
            if part:
                view = self.get(field).part(part)
            else:
                view = View(self._batch.column(field) if field else self._everything(), self.num_rows)
            self._views[field, part] = view
        return view

    def _everything(self) -> Column:
        """All text values of the batch as one column."""
        columns = [found for name in self._batch.names() if (found := self._batch.column(name)) and found.is_text]
        if not columns:
            return Column(pa.array([], pa.string()), np.zeros(0, dtype=np.int64))
        values = pa.concat_arrays([pc.cast(each.values, pa.string()) for each in columns])
        rows = [np.arange(self.num_rows) if each.rows is None else each.rows for each in columns]
        return Column(values, np.concatenate(rows).astype(np.int64))
