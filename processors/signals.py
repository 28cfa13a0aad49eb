"""Matched rows to signals: the only place where events of the hot path become Python objects."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from processors.alerts import Piece, position_in, value_in
from processors.fields import Column, EventBatch, Rows
from processors.keys import keys_of, texts
from processors.rulebook import Detection, Rulebook
from processors.times import micros
from schemas.alerts import EVIDENCE_COLUMNS, Signal
from streams.watermarks import SECOND_US

_PARTNER, _OCCURRED, _EXERCISE = map(EVIDENCE_COLUMNS.index, ("partner", "occurred_us", "exercise"))


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
        self._book = rulebook
        self._lateness_us = {
            each.meta.id: SECOND_US
            * (allowed_lateness_s if each.allowed_lateness_s is None else each.allowed_lateness_s)
            for each in rulebook.correlations
        }
        self._default_us = SECOND_US * allowed_lateness_s

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
        events = dict(zip(wanted.tolist(), batch.table.select([0]).take(pa.array(wanted)).to_pylist(), strict=True))
        places = _places(batch, wanted)
        signals: list[Signal] = []
        for detection, rows in matches:
            everything = batch.names() if detection.has_keywords else ()
            carried = self._book.carried.get(detection.meta.id, ())
            names = dict.fromkeys((*detection.fields, *carried, *everything))
            values = {name: values_at(batch.column(name), rows) for name in names}
            for number, row in enumerate(rows.tolist()):
                header = events[row]["header"]
                found = {name: each for name, column in values.items() if (each := column[number]) not in (None, [])}
                piece = _piece(batch.family, detection, header, places[row], found, row, origin)
                signals += self.of_event(detection, piece, int(behind_us[row]))
        return signals

    def of_event(self, detection: Detection, piece: Piece, behind_us: int = 0) -> list[Signal]:
        """The signals of one event that met one detection."""
        make = partial(
            Signal,
            rule_id=detection.meta.id,
            partner=piece[_PARTNER],
            event_id=piece[0],
            occurred_us=piece[_OCCURRED],
            exercise=piece[_EXERCISE],
            withdrawn=False,
            evidence=orjson.dumps([piece], option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z, default=str),
        )
        signals = []
        if detection.alerts:
            late = behind_us > self._default_us
            signals.append(make(correlation_id="", fingerprint=detection.meta.version, group=(), value=None, late=late))
        for correlation in self._book.watchers.get(detection.meta.id, ()):
            if behind_us <= self._lateness_us[correlation.meta.id]:
                signals += [
                    make(
                        correlation_id=correlation.meta.id,
                        fingerprint=correlation.fingerprint,
                        group=group,
                        value=value,
                        late=False,
                    )
                    for group, value in keys_of(
                        correlation, detection.meta.id, lambda name: texts(value_in(piece, name)), position_in(piece)
                    )
                ]
        return signals


def values_at(column: Column | None, rows: Rows) -> list[Any]:
    """The column's value for each of ``rows``: a scalar, None, or a list for fields that may repeat."""
    if column is None:
        return [None] * len(rows)
    if column.rows is None:
        return column.values.take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]
    positions = np.flatnonzero(np.isin(column.rows, rows))
    found: dict[int, list[Any]] = defaultdict(list)
    for row, value in zip(
        column.rows[positions].tolist(), column.values.take(pa.array(positions)).to_pylist(), strict=True
    ):
        found[row].append(value)
    return [found.get(row, []) for row in rows.tolist()]


def _places(batch: EventBatch, rows: Rows) -> dict[int, tuple[str, str]]:
    """row -> (country, place) as enrichment found them; empty text where unknown."""
    places = batch.places_of(rows)
    countries, names = places.country.to_pylist(), places.place.to_pylist()
    return {row: (c or "", p or "") for row, c, p in zip(rows.tolist(), countries, names, strict=True)}


def _piece(
    family: str,
    detection: Detection,
    header: dict[str, Any],
    place: tuple[str, str],
    found: dict[str, Any],
    row: int,
    origin: Origin,
) -> Piece:
    """The values of ``schemas.alerts.EVIDENCE_COLUMNS``."""
    location = header["location"] or {}
    return [
        header["event_id"],
        header["partner"],
        family,
        micros(header["occurred_at"]),
        micros(header["published_at"]),
        micros(origin.ingested_at),
        header["handling"]["tlp"],
        place[0],
        location.get("place") or place[1],
        location.get("lat"),
        location.get("lon"),
        header["summary"],
        detection.meta.id,
        found,
        int(origin.partitions[row]),
        int(origin.offsets[row]),
        header["exercise"],
        header["confidence"],
        [[each["type"], each["value"], each["role"]] for each in header["entities"]],
    ]
