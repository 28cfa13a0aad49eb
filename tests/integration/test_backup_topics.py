"""Topics with gaps, as retention, compaction and transactions leave them, to files and back on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fastavro
import pytest
from confluent_kafka import KafkaError, KafkaException

from deploy.backup.archive import Archive, CommittedOffset, StoredPartition
from deploy.backup.topics import RECORD, Writer, committed, delete, save
from streams.topics import TopicSpec, ensure_topics
from tests.stack import Stack

LONG_AGO_MS = 1_700_000_000_000


def stored(folder: Path, topic: str, offsets: list[int], end: int, compacted: bool) -> StoredPartition:
    """A partition as a backup has it, with one record at each of the offsets."""
    archive = Archive(folder)
    records = [
        {
            "offset": offset,
            "timestamp_ms": LONG_AGO_MS + offset,
            "key": b"key %d" % offset,
            "value": None if offset == 12 else b"value %d" % offset,
            "headers": [{"name": "topic", "value": b"x"}] if offset == 5 else [],
        }
        for offset in offsets
    ]
    with archive.path("a.avro").open("wb") as file:
        fastavro.writer(file, RECORD, records, codec="zstandard")
    archive.add("a.avro", len(offsets))
    return StoredPartition(topic=topic, partition=0, begin=offsets[0], end=end, compacted=compacted, file="a.avro")


@pytest.fixture
def topic(stack: Stack) -> Iterator[str]:
    name = f"backup-{uuid4().hex[:8]}"
    yield name
    delete(stack.settings, [name])


def test_records_get_their_offsets_back_and_gaps_stay(stack: Stack, topic: str, tmp_path: Path) -> None:
    spec = TopicSpec(topic, 1, {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"})
    writer = Writer(stack.settings)
    writer.make([spec])
    before = stored(tmp_path / "before", topic, [550_005, 550_006, 550_009], 550_010, compacted=False)
    assert writer.restore(tmp_path / "before", before, [3, 550_006, 550_010]) == {
        3: 550_005,
        550_006: 550_006,
        550_010: 550_010,
    }
    ensure_topics(stack.settings, [spec])
    found = stack.read(topic, {0: 550_005})
    assert [(m.offset(), m.key(), m.value()) for m in found] == [
        (550_005, b"key 550005", b"value 550005"),
        (550_006, b"key 550006", b"value 550006"),
        (550_007, None, None),
        (550_008, None, None),
        (550_009, b"key 550009", b"value 550009"),
    ]
    assert found[0].timestamp()[1] == LONG_AGO_MS + 550_005
    again = save(stack.settings, Archive(tmp_path / "again"), (topic, 0), compacted=False)
    assert (again.begin, again.end) == (550_005, 550_010)


def test_compacted_records_are_numbered_anew(stack: Stack, topic: str, tmp_path: Path) -> None:
    spec = TopicSpec(topic, 1, {"cleanup.policy": "compact"})
    writer = Writer(stack.settings)
    writer.make([spec])
    before = stored(tmp_path / "before", topic, [5, 9, 12, 40], 60, compacted=True)
    assert writer.restore(tmp_path / "before", before, [0, 9, 10, 41, 60]) == {0: 0, 9: 1, 10: 2, 41: 4, 60: 4}
    found = stack.read(topic, {0: 0})
    assert [(m.key(), m.value()) for m in found] == [
        (b"key 5", b"value 5"),
        (b"key 9", b"value 9"),
        (b"key 12", None),
        (b"key 40", b"value 40"),
    ]
    assert found[0].headers() == [("topic", b"x")]


def test_offsets_are_committed_with_what_was_noted_beside(stack: Stack, topic: str) -> None:
    writer = Writer(stack.settings)
    writer.make([TopicSpec(topic, 2, {"cleanup.policy": "delete"})])
    wanted = [
        CommittedOffset(group=topic, topic=topic, partition=0, offset=7, metadata='{"low": 12}'),
        CommittedOffset(group=topic, topic=topic, partition=1, offset=0, metadata=""),
    ]
    writer.commit(wanted)
    assert committed(stack.settings, {topic: [topic]}) == wanted


def test_a_group_at_work_is_not_moved(stack: Stack) -> None:
    settings = stack.settings
    at_work = [
        CommittedOffset(group=settings.ingest_group, topic="events.tip_report.v1", partition=0, offset=0, metadata="")
    ]
    with pytest.raises(KafkaException) as refused:
        Writer(settings).commit(at_work)
    assert refused.value.args[0].code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION)
