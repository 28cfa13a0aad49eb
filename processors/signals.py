"""Matched rows to signals: the only place where events of the hot path become Python objects."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from processors.evidence import Piece, position_in
from processors.fields import Column, EventBatch, Rows
from processors.keys import group_fields, keys_of, texts
from processors.rulebook import Detection, Rulebook
from processors.times import micros
from processors.views import ranges
from schemas.alerts import EVIDENCE_COLUMNS, Signal
from streams.watermarks import SECOND_US

_PARTNER, _OCCURRED, _EXERCISE = map(EVIDENCE_COLUMNS.index, ("partner", "occurred_us", "exercise"))
_RULE, _MATCHED = map(EVIDENCE_COLUMNS.index, ("rule_id", "matched"))
_LISTED = ("event_id", "partner", "tlp", "summary", "exercise", "confidence")
_HEADER = (
    *("event_id", "partner", "occurred_at", "published_at", "location"),
    *("summary", "exercise", "confidence", "entities"),
)
_ENTITY = ("type", "value", "role")


@dataclass(frozen=True)
class Origin:
    """Where the rows of a batch came from: the topic, and per row partition and offset."""

    topic: str
    partitions: np.ndarray
    offsets: np.ndarray
    ingested_at: dt.datetime


class SignalMaker:
    """Turns matches into signals for the rulebook in force. ``allowed_lateness_s`` is for rules that name none."""

    def __init__(self, rulebook: Rulebook, allowed_lateness_s: int) -> None:
        self._default_us = SECOND_US * allowed_lateness_s
        self._named = {
            each.meta.id: dict.fromkeys((*each.fields, *rulebook.carried.get(each.meta.id, ())))
            for each in rulebook.detections
        }
        lateness_us = {
            each.meta.id: SECOND_US
            * (allowed_lateness_s if each.allowed_lateness_s is None else each.allowed_lateness_s)
            for each in rulebook.correlations
        }
        self._watchers = {
            base: [(each, group_fields(each, base), lateness_us[each.meta.id]) for each in watchers]
            for base, watchers in rulebook.watchers.items()
        }

    def make(
        self, batch: EventBatch, matches: Sequence[tuple[Detection, Rows]], behind_us: np.ndarray, origin: Origin
    ) -> list[Signal]:
        """One signal per matched row, correlation and group value.

        ``behind_us[row]`` is how far, in microseconds, the row lies behind the event time that its partition had
        reached. A row that is later than a correlation allows does not join its window; it only counts for detections
        that alert by themselves.
        """
        if not matches:
            return []
        wanted = np.unique(np.concatenate([rows for _, rows in matches]))
        pieces = _pieces(batch, wanted, origin)
        everything = dict.fromkeys(batch.names()) if any(each.has_keywords for each, _ in matches) else {}
        named = [self._named[each.meta.id] | (everything if each.has_keywords else {}) for each, _ in matches]
        values = _values(batch, named, [rows for _, rows in matches])
        signals: list[Signal] = []
        for (detection, rows), names in zip(matches, named, strict=True):
            columns = [(name, values[name]) for name in names]
            for row in rows.tolist():
                piece = pieces[row].copy()
                piece[_RULE] = detection.meta.id
                piece[_MATCHED] = {name: column[row] for name, column in columns if row in column}
                signals += self.of_event(detection, piece, int(behind_us[row]))
        return signals

    def of_event(self, detection: Detection, piece: Piece, behind_us: int = 0) -> list[Signal]:
        """The signals of one event that met one detection."""
        base = detection.meta.id
        evidence = orjson.dumps([piece], option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z, default=str)
        event = piece[_PARTNER], piece[0], piece[_OCCURRED], piece[_EXERCISE]
        signals = []
        if detection.alerts:
            late = behind_us > self._default_us
            signals.append(Signal("", detection.meta.version, base, (), None, *event, late, False, evidence))
        matched = piece[_MATCHED]
        for correlation, fields, lateness_us in self._watchers.get(base, ()):
            if behind_us <= lateness_us:
                head = correlation.meta.id, correlation.fingerprint, base
                position = position_in(piece) if correlation.type == "travel" else None
                signals += [
                    Signal(*head, group, value, *event, False, False, evidence)
                    for group, value in keys_of(correlation, fields, lambda name: texts(matched.get(name)), position)
                ]
        return signals


def _values(batch: EventBatch, named: Sequence[Iterable[str]], rows: Sequence[Rows]) -> dict[str, dict[int, Any]]:
    """name -> row -> value, where there is one, for the names that each of several rules wants on its rows.

    Each column is read once for all rules that want it: most rules match few rows, and reading costs by the call.
    """
    wants: dict[str, list[int]] = defaultdict(list)
    for rule, names in enumerate(named):
        for name in names:
            wants[name].append(rule)
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, rules in wants.items():
        together[tuple(rules)].append(name)
    values = {}
    for rules_together, names in together.items():
        parts = [rows[rule] for rule in rules_together]
        chosen = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
        for name in names:
            found = zip(chosen.tolist(), values_at(batch.column(name), chosen), strict=True)
            values[name] = {row: value for row, value in found if value is not None and value != []}
    return values


def values_at(column: Column | None, rows: Rows) -> list[Any]:
    """The column's value for each of ``rows`` (sorted): a scalar, None, or a list for fields that may repeat."""
    if column is None:
        return [None] * len(rows)
    if column.rows is None:
        return column.values.take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]
    starts, ends = np.searchsorted(column.rows, rows, "left"), np.searchsorted(column.rows, rows, "right")
    found = column.values.take(pa.array(ranges(starts, ends - starts)[0])).to_pylist()
    bounds = np.concatenate([[0], np.cumsum(ends - starts)]).tolist()
    return [found[start:end] for start, end in pairwise(bounds)]


def _pieces(batch: EventBatch, rows: Rows, origin: Origin) -> dict[int, Piece]:
    """row -> the values of ``schemas.alerts.EVIDENCE_COLUMNS``, with nothing yet for what depends on the rule."""
    columns = {name: batch.header.field(name) for name in _HEADER}
    columns["tlp"] = batch.header.field("handling").field("tlp")
    taken = pa.RecordBatch.from_pydict(columns).take(pa.array(rows))
    own = {name: taken.column(name).to_pylist() for name in _LISTED}
    location = taken.column("location")
    own |= {name: pc.struct_field(location, name).to_pylist() for name in ("place", "lat", "lon")}
    places = batch.places_of(rows, location)
    in_order: tuple[Iterable[Any], ...] = (
        own["event_id"],
        own["partner"],
        repeat(batch.family),
        taken.column("occurred_at").cast(pa.int64()).to_pylist(),
        taken.column("published_at").cast(pa.int64()).to_pylist(),
        repeat(micros(origin.ingested_at)),
        own["tlp"],
        (each or "" for each in places.country.to_pylist()),
        (given or found or "" for given, found in zip(own["place"], places.place.to_pylist(), strict=True)),
        own["lat"],
        own["lon"],
        own["summary"],
        repeat(""),
        repeat({}),
        origin.partitions[rows].tolist(),
        origin.offsets[rows].tolist(),
        own["exercise"],
        own["confidence"],
        _entities(taken.column("entities")),
    )
    return dict(zip(rows.tolist(), map(list, zip(*in_order, strict=False)), strict=True))


def _entities(entities: pa.ListArray) -> list[list[list[Any]]]:
    """Row by row the entities as ``[type, value, role]``."""
    structs = entities.flatten()
    flat = [list(each) for each in zip(*(pc.struct_field(structs, name).to_pylist() for name in _ENTITY), strict=True)]
    bounds = np.concatenate([[0], np.cumsum(pc.list_value_length(entities).to_numpy())]).tolist()
    return [flat[start:end] for start, end in pairwise(bounds)]
