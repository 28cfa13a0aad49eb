"""Kafka's records as aiokafka's native parser makes them, a Kafka batch at a time.

A turn of aiokafka's loop and an object of its own for each record took a quarter of the ingest worker's CPU time. Its
parsing stays (checksums, control batches, transactions); only what it hands on are lists. The private classes that are
replaced here are pinned by ``tests/streams/test_batching_unit.py``.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from aiokafka.consumer import fetcher


class Record(Protocol):
    """A consumed Kafka record; ``timestamp`` is milliseconds since 1970 UTC. Its batch knows topic and partition."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class _Whole:
    """A Kafka batch that iterates over one thing: all of its records, with the offset of the last."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Records]:
        if records := list(self._batch):
            yield _Records(records, records[-1].offset)

    def __next__(self) -> Any:
        return next(self._batch)


class _Records(NamedTuple):
    records: list[Record]
    offset: int


class _WholeBatches:
    """What aiokafka parses of one partition's answer, batch by batch."""

    def __init__(self, records: Any) -> None:
        self.has_next, self._next_batch = records.has_next, records.next_batch

    def next_batch(self) -> _Whole:
        return _Whole(self._next_batch())


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Hands on the records as the native parser made them."""

    def __init__(self, tp: Any, records: Any, aborted: Any, fetch_offset: int, *rest: Any) -> None:
        self._begun: list[Record] = []
        self._left: Iterator[Record] = iter(())
        super().__init__(tp, _WholeBatches(records), aborted, fetch_offset, *rest)

    def __iter__(self) -> Iterator[Record]:
        yield from self._left
        first = self._behind
        for records, _ in self._records_iterator:
            if records[0].offset < first:
                # A fetch brings whole batches, also that in the midst of which the last one ended.
                records = [each for each in records if each.offset >= first]
            self._begun, self._left = records, iter(records)
            yield from self._left
            first = self._behind

    def __next__(self) -> Record:
        return next(iter(self))

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record

    @property
    def next_fetch_offset(self) -> int:
        """Offset of the first record that was not handed on."""
        left = operator.length_hint(self._left)
        return self._begun[-left].offset if left else self._behind

    @next_fetch_offset.setter
    def next_fetch_offset(self, offset: int) -> None:
        self._behind = offset


class LeanResult(fetcher.FetchResult):  # type: ignore[misc]
    """Takes records by the list."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Record]:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found = list(itertools.islice(self._partition_records, max_records))
        self._update_position()
        if max_records is None or len(found) < max_records:
            self._partition_records = None
        return found
