"""The peer: a Quix Streams application as its own guide writes one, a StreamingDataFrame for each topic.

What matched goes to a topic keyed by correlation and group, and tumbling windows over that topic count it, with state
in RocksDB and changelog topics, which are its defaults. Run as ``python -m deploy.bench.quix``; prints its progress as
lines of JSON.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Aggregator, Count
from quixstreams.models import Deserializer, SerializationContext, TopicConfig

from deploy.bench.job import GRACE_S, Event, Job, occurred_s, parser
from deploy.bench.workload import FAMILIES, TIMESPAN_S
from schemas.registry import topic_of

Match = dict[str, Any]


class AvroBody(Deserializer):
    """Decodes the events of one family."""

    def __init__(self, decode: Callable[[bytes], Event]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._decode = decode

    def __call__(self, value: bytes, ctx: SerializationContext) -> Event:
        return self._decode(value)


class Last(Aggregator):
    """The latest match, beside what was counted."""

    def initialize(self) -> Match:
        return {}

    def agg(self, old: Match, new: Match, timestamp: int) -> Match:
        return {"correlation": new["correlation"], "published": new["published"]}

    def result(self, value: Match) -> Match:
        return value


class Things(Aggregator):
    """Different things, up to as many as make an alert, and whether the latest was a new one."""

    def __init__(self, threshold: Callable[[int], int]) -> None:
        super().__init__()
        self._threshold = threshold

    def initialize(self) -> list[Any]:
        return [[], False]

    def agg(self, old: list[Any], new: Match, timestamp: int) -> list[Any]:
        seen = old[0]
        if len(seen) < self._threshold(new["correlation"]) and new["thing"] not in seen:
            return [[*seen, new["thing"]], True]
        return [seen, False]

    def result(self, value: list[Any]) -> int:
        return len(value[0]) if value[1] else 0


def app(bootstrap: str, job: Job, group: str, offset: str, partitions: int) -> Application:
    """The application of consumer group ``group``, which reads from ``offset``, earliest or latest."""
    application = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset=offset,  # type: ignore[arg-type]  # a literal
        state_dir=tempfile.mkdtemp(prefix=group),
        loglevel="WARNING",
    )
    matches = application.topic(
        f"{group}-matches",
        key_serializer="str",
        key_deserializer="str",
        config=TopicConfig(num_partitions=partitions, replication_factor=1),
    )
    for family in FAMILIES:
        source = application.topic(
            topic_of(family),
            value_deserializer=AvroBody(partial(job.decode, family)),
            timestamp_extractor=lambda value, *_: int(occurred_s(value) * 1000),
        )
        found = application.dataframe(source).apply(partial(job.handle, family), expand=True)
        found.to_topic(matches, key=lambda match: match["key"])

    def seen(match: Match) -> None:
        job.counts.counted += 1

    def reached(window: Match) -> None:
        last = window["last"]
        if window["count"] == job.threshold(last["correlation"]):
            job.alert(last["published"])

    windowed: dict[str, Any] = {"duration_ms": timedelta(seconds=TIMESPAN_S), "grace_ms": timedelta(seconds=GRACE_S)}
    counted = application.dataframe(matches)
    events = counted.filter(lambda match: job.counts_events(match["correlation"]))
    events = events.tumbling_window(**windowed, name="events").agg(count=Count(), last=Last()).current()
    events.update(reached)
    things = counted.filter(lambda match: not job.counts_events(match["correlation"]))
    things = things.tumbling_window(**windowed, name="things").agg(count=Things(job.threshold), last=Last()).current()
    things.update(reached)
    counted.update(seen)
    return application


def main() -> None:
    arguments_of = parser(__doc__)
    arguments_of.add_argument("--indexed", action="store_true", help="find rules by the value of an equality")
    arguments = arguments_of.parse_args()
    job = Job(arguments.rules, arguments.indexed)
    application = app(arguments.bootstrap, job, arguments.group, arguments.offset, arguments.partitions)
    job.counts.report(lambda: bool(application._consumer.assignment()))
    application.run()


if __name__ == "__main__":
    main()
