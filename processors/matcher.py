"""Match all detections on a whole batch by column.

Rules are compiled into one index per field: equality and prefixes become one hash look-up over the column in native
code, substrings one Aho-Corasick pass over the column joined into one text, patterns one RE2 scan each. A question that
several rules ask is answered once. A rule's tree is then evaluated only where one of its rarest leaves was met, so cost
follows what matches and not how many rules there are.
"""

from __future__ import annotations

import bisect
import ipaddress
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

import ahocorasick
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.fields import Column, Rows
from processors.predicates import And, Condition, Leaf, Not, Op, Or, leaves
from processors.rulebook import Detection

Hits = dict[Leaf, Rows]
_ORDERED = {
    Op.LT: pc.less,
    Op.LTE: pc.less_equal,
    Op.GT: pc.greater,
    Op.GTE: pc.greater_equal,
    Op.NEQ: pc.not_equal,
}
_RARITY = {
    Op.EQ: 1,
    Op.CIDR: 2,
    Op.STARTSWITH: 3,
    Op.ENDSWITH: 3,
    Op.CONTAINS: 3,
    Op.RE: 3,
    Op.FIELDREF: 4,
    Op.GT: 5,
    Op.GTE: 5,
    Op.LT: 5,
    Op.LTE: 5,
    Op.NEQ: 7,
    Op.EXISTS: 7,
    Op.NULL: 7,
}


class Columns(Protocol):
    """What the matcher needs of a batch."""

    num_rows: int

    def column(self, name: str) -> Column | None: ...


class Matcher:
    """Compiled detections of one family. Holds no state between batches."""

    def __init__(self, detections: Sequence[Detection]) -> None:
        self.detections = tuple(detections)
        by_field: dict[str, set[Leaf]] = defaultdict(set)
        self._access: dict[Leaf, list[int]] = defaultdict(list)
        self._always: list[int] = []
        for number, detection in enumerate(self.detections):
            for leaf in leaves(detection.condition):
                by_field[leaf.field].add(leaf)
            access = _access_leaves(detection.condition)
            if access is None:
                self._always.append(number)
            for leaf in access or ():
                self._access[leaf].append(number)
        self._fields = [FieldIndex(name, found) for name, found in sorted(by_field.items())]

    def match(self, batch: Columns) -> list[tuple[Detection, Rows]]:
        """Detections that at least one row met, in rule order, each with its rows (sorted, once each)."""
        hits: Hits = {}
        for index in self._fields:
            index.collect(batch, hits)
        candidates: dict[int, list[Rows]] = {number: [] for number in self._always}
        for leaf, rows in hits.items():
            for number in self._access.get(leaf, ()):
                candidates.setdefault(number, []).append(rows)
        found = []
        masks: dict[Leaf, npt.NDArray[np.bool_]] = {}
        everything = np.arange(batch.num_rows, dtype=np.int64)
        for number in sorted(candidates):
            parts = candidates[number]
            rows = everything if not parts else parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
            condition = self.detections[number].condition
            if not isinstance(condition, Leaf):
                rows = rows[_holds(condition, rows, hits, masks, batch.num_rows)]
            if len(rows):
                found.append((self.detections[number], rows))
        return found


def _access_leaves(condition: Condition) -> tuple[Leaf, ...] | None:
    """Leaves of which at least one is met wherever the condition holds; None when there is no such set."""
    match condition:
        case Leaf():
            return (condition,)
        case Not():
            return None
        case Or(children):
            parts = [_access_leaves(child) for child in children]
            return None if any(part is None for part in parts) else tuple(itertools.chain(*filter(None, parts)))
        case And(children):
            usable = [part for part in map(_access_leaves, children) if part is not None]
            return min(usable, key=_cost, default=None)


def _cost(access: tuple[Leaf, ...]) -> int:
    return max((_leaf_cost(leaf) for leaf in access), default=0) * 100 + len(access)


def _leaf_cost(leaf: Leaf) -> int:
    # A boolean, and a short upper-case word as enums are, tells little apart: half the rows may share it.
    if leaf.op is Op.EQ and (isinstance(leaf.value, bool) or leaf.field in ("direction", "mode", "kind", "exercise")):
        return 6
    return _RARITY[leaf.op]


def _holds(
    condition: Condition, rows: Rows, hits: Hits, masks: dict[Leaf, npt.NDArray[np.bool_]], size: int
) -> npt.NDArray[np.bool_]:
    """For each of ``rows``, whether the condition holds."""
    match condition:
        case Leaf():
            met = hits.get(condition)
            if met is None:
                return np.zeros(len(rows), dtype=bool)
            mask = masks.get(condition)
            if mask is None:
                mask = masks[condition] = np.zeros(size, dtype=bool)
                mask[met] = True
            return mask[rows]
        case Not(child):
            return ~_holds(child, rows, hits, masks, size)
        case And(children):
            result = np.ones(len(rows), dtype=bool)
            for child in children:
                open_rows = np.flatnonzero(result)
                if not len(open_rows):
                    break
                result[open_rows] = _holds(child, rows[open_rows], hits, masks, size)
            return result
        case Or(children):
            result = np.zeros(len(rows), dtype=bool)
            for child in children:
                open_rows = np.flatnonzero(~result)
                if not len(open_rows):
                    break
                result[open_rows] = _holds(child, rows[open_rows], hits, masks, size)
            return result


class FieldIndex:
    """Every question asked of one field, grouped by how it is answered."""

    def __init__(self, name: str, asked: Iterable[Leaf]) -> None:
        self.name = name
        groups: dict[tuple[Op, bool], list[Leaf]] = defaultdict(list)
        for leaf in sorted(asked, key=repr):
            groups[leaf.op, leaf.cased].append(leaf)
        self._tables = [
            _EqualityTable(cased, each) for cased in (False, True) if (each := groups.pop((Op.EQ, cased), []))
        ]
        for op in (Op.STARTSWITH, Op.ENDSWITH):
            for cased in (False, True):
                self._tables += _affix_tables(op, cased, groups.pop((op, cased), []))
        self._contains = [
            _Substrings(cased, each) for cased in (False, True) if (each := groups.pop((Op.CONTAINS, cased), []))
        ]
        self._others = [leaf for rest in groups.values() for leaf in rest]

    def collect(self, batch: Columns, hits: Hits) -> None:
        """Add to ``hits`` each leaf met by at least one row."""
        column = batch.column(self.name)
        if column is None:
            column = Column(pa.nulls(batch.num_rows, pa.string()))
        for table in self._tables:
            table.collect(column, hits)
        for substrings in self._contains:
            substrings.collect(column, hits)
        for leaf in self._others:
            rows = _scan(batch, column, leaf)
            if rows is not None and len(rows):
                hits[leaf] = rows


class _EqualityTable:
    """Strings that a column's value, or its first or last n characters, must equal: one native hash look-up."""

    def __init__(self, cased: bool, asked: list[Leaf], cut: tuple[Op, int] | None = None) -> None:
        self._cased, self._cut, self._asked = cased, cut, asked
        texts = pa.array([_as_text(leaf.value) for leaf in asked], pa.string())
        values = texts if cased else pc.utf8_lower(texts)
        self._values = pc.unique(values)
        position = {value: number for number, value in enumerate(self._values.to_pylist())}
        self._leaves: list[list[Leaf]] = [[] for _ in position]
        for leaf, value in zip(asked, values.to_pylist(), strict=True):
            self._leaves[position[value]].append(leaf)

    def collect(self, column: Column, hits: Hits) -> None:
        if not column.is_text and self._cut is None:
            for leaf in self._asked:
                met = _typed_equal(column, leaf)
                if met is not None and len(positions := _positions(met)):
                    hits[leaf] = column.to_rows(positions)
            return
        text = column.text if self._cased else column.lower
        if self._cut:
            op, length = self._cut
            text = (
                pc.utf8_slice_codeunits(text, 0, length)
                if op is Op.STARTSWITH
                else pc.utf8_slice_codeunits(text, -length)
            )
        codes = pc.index_in(text, value_set=self._values)
        positions = _positions(pc.is_valid(codes))
        if not len(positions):
            return
        found = codes.take(pa.array(positions)).to_numpy()
        order = np.argsort(found, kind="stable")
        borders = np.flatnonzero(np.diff(found[order])) + 1
        for part in np.split(order, borders):
            rows = column.to_rows(positions[part])
            for leaf in self._leaves[found[part[0]]]:
                hits[leaf] = rows


def _affix_tables(op: Op, cased: bool, asked: list[Leaf]) -> list[_EqualityTable]:
    by_length: dict[int, list[Leaf]] = defaultdict(list)
    for leaf in asked:
        by_length[len(str(leaf.value))].append(leaf)
    return [_EqualityTable(cased, each, (op, length)) for length, each in sorted(by_length.items())]


class _Substrings:
    """All substrings asked of a field, found in one pass over the column joined into one text."""

    def __init__(self, cased: bool, asked: list[Leaf]) -> None:
        self._cased = cased
        words: dict[str, list[Leaf]] = defaultdict(list)
        for leaf in asked:
            words[str(leaf.value) if cased else pc.utf8_lower(str(leaf.value)).as_py()].append(leaf)
        self._automaton = ahocorasick.Automaton()
        for word, found in words.items():
            self._automaton.add_word(word, (len(word), tuple(found)))
        self._automaton.make_automaton()

    def collect(self, column: Column, hits: Hits) -> None:
        texts = (column.text if self._cased else column.lower).to_pylist()
        parts = [text or "" for text in texts]
        # The joint is a character that no field and no rule holds, so no match spans two values.
        joined = "\x00".join(parts)
        starts: list[int] | None = None
        found: dict[Leaf, list[int]] = defaultdict(list)
        for end, (length, asked) in self._automaton.iter(joined):
            if starts is None:
                starts = list(itertools.accumulate((len(part) + 1 for part in parts), initial=0))
            position = bisect.bisect_right(starts, end) - 1
            if end - length + 1 >= starts[position]:
                for leaf in asked:
                    found[leaf].append(position)
        for leaf, positions in found.items():
            hits[leaf] = column.to_rows(np.unique(np.array(positions, dtype=np.int64)))


def _positions(met: pa.Array) -> Rows:
    """Positions at which a boolean array is true; null counts as false."""
    return pc.indices_nonzero(pc.fill_null(met, False)).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _typed_equal(column: Column, leaf: Leaf) -> pa.Array | None:
    """Equality on a column that is not text: booleans by truth, numbers by value, anything else by its text."""
    kind, value = column.values.type, leaf.value
    if pa.types.is_boolean(kind):
        wanted = value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
        return None if wanted is None else pc.equal(column.values, wanted)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        number = _as_number(value)
        return None if number is None else pc.equal(column.values, number)
    return pc.equal(column.lower, _as_text(value).lower())


def _scan(batch: Columns, column: Column, leaf: Leaf) -> Rows | None:
    """Rows found by one pass over the column, for leaves that no index serves."""
    match leaf.op:
        case Op.NULL | Op.EXISTS:
            present = column.to_rows(_positions(pc.is_valid(column.values)))
            return present if leaf.op is Op.EXISTS else np.setdiff1d(np.arange(batch.num_rows), present, True)
        case Op.RE:
            met = pc.match_substring_regex(column.text, str(leaf.value))
        case Op.CIDR:
            met = _in_network(column, str(leaf.value))
        case Op.FIELDREF:
            met = _same_as(batch, column, leaf)
        case _:
            met = _compare(column, leaf)
    return None if met is None else column.to_rows(_positions(met))


def _compare(column: Column, leaf: Leaf) -> pa.Array | None:
    number = _as_number(leaf.value)
    kind = column.values.type
    if number is None or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    return _ORDERED[leaf.op](column.values, number)


def _in_network(column: Column, network: str) -> pa.Array:
    encoded = pc.dictionary_encode(column.text)
    inside = pa.array([_address_in(text, network) for text in encoded.dictionary.to_pylist()], pa.bool_())
    return inside.take(encoded.indices)


@lru_cache(maxsize=65536)
def _address_in(text: str | None, network: str) -> bool:
    try:
        return ipaddress.ip_address(text or "") in _network(network)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def _same_as(batch: Columns, column: Column, leaf: Leaf) -> pa.Array | None:
    other = batch.column(str(leaf.value))
    if other is None or column.rows is not None or other.rows is not None:
        return None
    if column.is_text or other.is_text:
        return pc.equal(column.lower, other.lower)
    return pc.equal(column.values, other.values)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_number(value: object) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(str(value))
    except ValueError:
        return None
