"""One partition batch from bytes to effects: decode, validate, enrich, match. Decisions only; no I/O."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.fields import EventBatch, Rows
from processors.matcher import Matcher
from processors.rulebook import Detection, Rulebook
from processors.signals import Origin, SignalMaker
from processors.sink import event_rows, quarantine_rows, signal_rows
from processors.validate import Limits, validate
from schemas.alerts import Signal
from schemas.registry import RegisteredSchema, family_of
from streams.batching import TopicBatch
from streams.decode import Decoder
from streams.refusal import Reason, Refusal
from streams.watermarks import SECOND_US, Watermarks

MAX_ISOLATED = 100
"""Records of one batch that may be refused because processing them failed."""


@dataclass(frozen=True)
class Outcome:
    """What a batch leads to: rows for the store by table, signals, and refusals (``index`` is the batch's row)."""

    family: str
    tables: dict[str, pa.Table]
    signals: list[Signal]
    refused: list[Refusal]
    stored: int
    late: Counter[str]
    latency_s: float | None


class Ingest:
    """Turns batches into outcomes under one rulebook. Keeps the watermarks of the partitions it has seen."""

    def __init__(
        self,
        rulebook: Rulebook,
        limits: Limits,
        watermarks: Watermarks,
        lookup: Callable[[int], RegisteredSchema | None],
        max_event_bytes: int,
        allowed_lateness_s: int,
        store: bool = True,
    ) -> None:
        self._limits, self._watermarks, self._store = limits, watermarks, store
        self._lookup, self._max_bytes = lookup, max_event_bytes
        self._decoders: dict[str, Decoder] = {}
        self._lateness_us = allowed_lateness_s * SECOND_US
        self._signals = SignalMaker(rulebook, allowed_lateness_s)
        families = {detection.family for detection in rulebook.detections}
        self._matchers = {
            family: Matcher([each for each in rulebook.detections if each.family == family]) for family in families
        }

    def under(self, rulebook: Rulebook) -> Ingest:
        """The same under another rulebook: watermarks and decoders go on. Takes seconds for thousands of rules."""
        lateness_s = self._lateness_us // SECOND_US
        other = Ingest(rulebook, self._limits, self._watermarks, self._lookup, self._max_bytes, lateness_s, self._store)
        other._decoders = self._decoders
        return other

    def process(self, batch: TopicBatch, now: dt.datetime) -> Outcome:
        """Process records of one topic at time ``now`` (aware, UTC).

        A record on which a library fails is found by halving the batch and refused; the others go on.

        Raises:
            Exception: more than ``MAX_ISOLATED`` records of a batch fail: then the fault is ours, and refusing
                everything would hide it.
        """
        budget = [MAX_ISOLATED]
        return self._isolate(batch, now, budget)

    def _isolate(self, batch: TopicBatch, now: dt.datetime, budget: list[int]) -> Outcome:
        before = [(each.partition, self._watermarks.metadata(batch.topic, each.partition)) for each in batch.runs]
        try:
            return self._process(batch, now)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # panics of native libraries do not derive from Exception
            # Else the first half would be judged by event times of the second.
            for partition, metadata in before:
                self._watermarks.restore(batch.topic, partition, metadata)
            if len(batch) == 1:
                budget[0] -= 1
                if budget[0] < 0:
                    raise
                return _refused_alone(batch, error, now)
        middle = len(batch) // 2
        left = self._isolate(batch.part(0, middle), now, budget)
        return _joined(left, self._isolate(batch.part(middle, len(batch)), now, budget), middle)

    def _process(self, batch: TopicBatch, now: dt.datetime) -> Outcome:
        family = family_of(batch.topic)
        decoder = self._decoders.get(family)
        if decoder is None:
            decoder = self._decoders[family] = Decoder(family, self._lookup, self._max_bytes)
        decoded = decoder.decode(batch.values, batch.prefixes)
        passed, invalid = validate(family, decoded.table, now, self._limits)
        refused = decoded.refused + [
            replace(each, index=int(decoded.rows[each.index]), schema_id=int(decoded.schema_ids[each.index]))
            for each in invalid
        ]
        table, rows, schema_ids = decoded.table, decoded.rows, decoded.schema_ids
        if invalid:
            table, rows, schema_ids = table.filter(pa.array(passed)), rows[passed], schema_ids[passed]
        tables: dict[str, pa.Table] = {}
        signals: list[Signal] = []
        late = np.zeros(0, dtype=bool)
        latency = None
        if table.num_rows:
            origin = Origin(batch.topic, batch.partitions[rows], batch.offsets[rows], now)
            events = EventBatch(family, table)
            occurred = events.header.field("occurred_at").cast(pa.int64()).to_numpy()
            behind = self._behind(batch, rows, occurred)
            late = behind > self._lateness_us
            matcher = self._matchers.get(family)
            matches = matcher.match(events) if matcher else []
            signals = self._signals.make(events, matches, behind, origin)
            latency = now.timestamp() - pc.min(events.header.field("published_at").cast(pa.int64())).as_py() / 1e6
            if self._store:
                tables["events"] = event_rows(events, schema_ids, late, origin)
                if signals:
                    tables["signals"] = signal_rows(signals, _partitions(events, matches, origin), origin, family)
        if refused:
            refused.sort(key=lambda each: each.index)
            tables["quarantine"] = quarantine_rows(family, batch, refused, now)
        late_partners = (
            Counter(table.column(0).field("partner").filter(pa.array(late)).to_pylist()) if late.any() else Counter()
        )
        return Outcome(family, tables, signals, refused, table.num_rows, late_partners, latency)

    def _behind(self, batch: TopicBatch, rows: np.ndarray, occurred_us: np.ndarray) -> np.ndarray:
        """How far each row lies behind its partition's event time, microseconds."""
        edges = np.searchsorted(rows, [each.start for each in batch.runs[1:]])
        parts = zip(batch.runs, np.split(occurred_us, edges), strict=True)
        return np.concatenate([self._watermarks.advance(batch.topic, run.partition, part) for run, part in parts])


def _partitions(
    events: EventBatch, matches: Sequence[tuple[Detection, Rows]], origin: Origin
) -> dict[tuple[str, str], int]:
    """The partition of each event that met a rule, by its partner and id: ids are a partner's own."""
    rows = np.unique(np.concatenate([rows for _, rows in matches]))
    partners, ids = (events.header.field(name).take(pa.array(rows)).to_pylist() for name in ("partner", "event_id"))
    return dict(zip(zip(partners, ids, strict=True), origin.partitions[rows].tolist(), strict=True))


def _refused_alone(batch: TopicBatch, error: BaseException, now: dt.datetime) -> Outcome:
    family = family_of(batch.topic)
    message = f"cannot be processed: {type(error).__name__}: {str(error)[:200]}"
    refusal = Refusal(0, Reason.UNDECODABLE, message)
    tables = {"quarantine": quarantine_rows(family, batch, [refusal], now)}
    return Outcome(family, tables, [], [refusal], 0, Counter(), None)


def _joined(left: Outcome, right: Outcome, shift: int) -> Outcome:
    """Two outcomes of neighbouring records as one; rows of ``right`` lie ``shift`` further on."""
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    for name, rows in (*left.tables.items(), *right.tables.items()):
        tables[name].append(rows)
    return Outcome(
        left.family,
        {name: pa.concat_tables(parts) for name, parts in tables.items()},
        left.signals + right.signals,
        left.refused + [replace(each, index=each.index + shift) for each in right.refused],
        left.stored + right.stored,
        left.late + right.late,
        max((each for each in (left.latency_s, right.latency_s) if each is not None), default=None),
    )
