"""Matched rows to signals: the only place where events of the hot path become Python objects."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from processors.fields import Column, EventBatch, Rows
from processors.rulebook import Correlation, Detection, Rulebook
from schemas.alerts import Signal


@dataclass(frozen=True)
class Origin:
    """Where the rows of a batch came from: topic and partition, and per row the offset."""

    topic: str
    partition: int
    offsets: np.ndarray
    ingested_at: dt.datetime


class SignalMaker:
    """Turns matches into signals for the rulebook in force."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._correlations: dict[str, list[Correlation]] = defaultdict(list)
        for correlation in rulebook.correlations:
            for base in correlation.bases:
                self._correlations[base].append(correlation)

    def make(
        self, batch: EventBatch, matches: Sequence[tuple[Detection, Rows]], late: np.ndarray, origin: Origin
    ) -> list[Signal]:
        """One signal per matched row, correlation and group value. A late row (``late[row]``) joins no window: it
        only counts for detections that alert by themselves."""
        if not matches:
            return []
        wanted = np.unique(np.concatenate([rows for _, rows in matches]))
        events = dict(zip(wanted.tolist(), batch.table.select([0]).take(pa.array(wanted)).to_pylist(), strict=True))
        places = _places(batch, wanted)
        signals: list[Signal] = []
        for detection, rows in matches:
            correlations = self._correlations.get(detection.meta.id, [])
            names = dict.fromkeys(detection.fields)
            for correlation in correlations:
                names.update(dict.fromkeys(_group_fields(correlation, detection)))
                if correlation.value_field:
                    names[correlation.value_field] = None
            values = {name: values_at(batch.column(name), rows) for name in names}
            for number, row in enumerate(rows.tolist()):
                found = {name: column[number] for name, column in values.items()}
                header, is_late = events[row]["header"], bool(late[row])
                evidence = _evidence(batch.family, detection, header, places[row], found, row, origin)
                make = partial(
                    Signal,
                    rule_id=detection.meta.id,
                    partner=header["partner"],
                    event_id=header["event_id"],
                    occurred_us=micros(header["occurred_at"]),
                    exercise=header["exercise"],
                    late=is_late,
                    evidence=evidence,
                )
                if detection.alerts:
                    signals.append(make(correlation_id="", group={}, value=None))
                if not is_late:
                    for correlation in correlations:
                        signals += [
                            make(correlation_id=correlation.meta.id, group=group, value=value)
                            for group, value in _keys(correlation, detection, found)
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


def _group_fields(correlation: Correlation, detection: Detection) -> list[str]:
    return [correlation.group_field(key, detection.meta.id) for key in correlation.group_by]


def _keys(
    correlation: Correlation, detection: Detection, found: dict[str, Any]
) -> Iterator[tuple[dict[str, str], str | None]]:
    """Each group and counted value of an event; none where a group field has no value, for it cannot be joined."""
    choices = [_texts(found[name]) for name in _group_fields(correlation, detection)]
    values = _texts(found[correlation.value_field]) if correlation.value_field else [None]
    for combination in itertools.product(*choices):
        for value in values:
            yield dict(zip(correlation.group_by, combination, strict=True)), value


def _texts(value: Any) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(str(each) for each in many if each is not None and each != ""))


def _places(batch: EventBatch, rows: Rows) -> dict[int, tuple[str, str]]:
    """row -> (country, place) as enrichment found them; empty text where unknown."""
    chosen = pa.array(rows)
    countries = batch.places.country.take(chosen).to_pylist()
    names = batch.places.place.take(chosen).to_pylist()
    return {row: (c or "", p or "") for row, c, p in zip(rows.tolist(), countries, names, strict=True)}


def _evidence(
    family: str,
    detection: Detection,
    header: dict[str, Any],
    place: tuple[str, str],
    found: dict[str, Any],
    row: int,
    origin: Origin,
) -> bytes:
    """JSON of :class:`schemas.alerts.Evidence`."""
    location = header["location"] or {}
    return orjson.dumps(
        {
            "event_id": header["event_id"],
            "partner": header["partner"],
            "family": family,
            "occurred_at": header["occurred_at"],
            "published_at": header["published_at"],
            "ingested_at": origin.ingested_at,
            "tlp": header["handling"]["tlp"],
            "country": place[0],
            "place": location.get("place") or place[1],
            "lat": location.get("lat"),
            "lon": location.get("lon"),
            "summary": header["summary"],
            "rule_id": detection.meta.id,
            "rule_title": detection.meta.title,
            "matched": {name: value for name, value in found.items() if value is not None and value != []},
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": int(origin.offsets[row]),
            "exercise": header["exercise"],
            "confidence": header["confidence"],
            "entities": header["entities"],
        },
        option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z,
        default=str,
    )


def micros(moment: dt.datetime) -> int:
    """Microseconds since 1970 of a naive UTC datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


_EPOCH = dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
