"""Alerts and commands out of batches of records; what is none is said and left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from schemas.alerts import Alert
from schemas.lifecycle import Command
from streams.batching import PartitionBatch
from streams.records import Record

Refuse = Callable[[Record, str], None]
"""Told the record and what is wrong with it."""


_VERSION = re.compile(rb'"version":\s*(\d+)')


def alerts_in(batch: PartitionBatch, refuse: Refuse) -> Iterator[Alert]:
    """The highest version of each alert in the batch that can be read, in the order in which the last ones came.

    A version says all that the ones before it said, and in a storm there are dozens of them: to read one is enough.
    """
    by_alert: dict[bytes, list[Record]] = {}
    for record in batch:
        if record.value is not None:
            key = record.key or str(record.offset).encode()
            by_alert[key] = [*by_alert.pop(key, ()), record]
    for records in by_alert.values():
        for record in sorted(records, key=_version, reverse=True):
            try:
                yield Alert.model_validate_json(record.value or b"")
                break
            except ValidationError as error:
                refuse(record, _short(error))


def _version(record: Record) -> tuple[int, int]:
    found = _VERSION.search(record.value or b"")
    return (int(found[1]) if found else 0, record.offset)


def commands_in(batch: PartitionBatch, refuse: Refuse) -> Iterator[Command]:
    """The commands in the batch, in their order."""
    for record in batch:
        try:
            yield Command.model_validate_json(record.value or b"")
        except ValidationError as error:
            refuse(record, _short(error))


def _short(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'record'}: {each['msg']}" for each in error.errors()[:3])
