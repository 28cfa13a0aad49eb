"""The peer: Faust agents as Faust's own guide writes them, an event at a time, with tables for the windows.

An agent for each topic iterates over its stream and sends what matched to a topic keyed by correlation and group; an
agent there counts in tumbling windows. Tables are in memory, the fastest of Faust's stores. Run as
``python -m deploy.bench.plain_faust``; prints its progress as lines of JSON.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from typing import Any

import faust

from deploy.bench.job import GRACE_S, Job, occurred_s, parser
from deploy.bench.workload import FAMILIES, TIMESPAN_S
from schemas.registry import topic_of


def app(bootstrap: str, job: Job, group: str, offset: str, partitions: int) -> faust.App:
    """The application of consumer group ``group``, which reads from ``offset``, earliest or latest."""
    application = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=partitions,
        topic_replication_factor=1,
        consumer_auto_offset_reset=offset,
        datadir=tempfile.mkdtemp(prefix=group),
    )
    matches = application.topic(f"{group}-matches", key_type=str, internal=True, partitions=partitions)
    span, kept = timedelta(seconds=TIMESPAN_S), timedelta(seconds=GRACE_S)
    events = application.Table("events", default=int).tumbling(span, expires=kept)
    things = application.Table("things", default=list).tumbling(span, expires=kept)
    for family in FAMILIES:
        _agent(application, family, job, matches)

    async def count(stream: Any) -> None:
        async for match in stream:
            number, key = match["correlation"], match["key"]
            threshold = job.threshold(number)
            if job.counts_events(number):
                events[key] += 1
                reached = events[key].current() == threshold
            else:
                seen = things[key].current()
                reached = len(seen) < threshold and match["thing"] not in seen
                if reached:
                    things[key] = [*seen, match["thing"]]
                    reached = len(seen) + 1 == threshold
            if reached:
                job.alert(match["published"])
            job.counts.counted += 1

    application.agent(matches, name="windows")(count)
    return application


def _agent(application: faust.App, family: str, job: Job, matches: Any) -> None:
    async def consume(stream: Any) -> None:
        async for value in stream:
            event = job.decode(family, value)
            for match in job.handle(family, event):
                await matches.send(key=match["key"], value=match, timestamp=occurred_s(event))

    source = application.topic(topic_of(family), value_type=bytes, value_serializer="raw")
    application.agent(source, name=family)(consume)


def main() -> None:
    arguments = parser(__doc__).parse_args()
    job = Job(arguments.rules)
    application = app(arguments.bootstrap, job, arguments.group, arguments.offset, arguments.partitions)
    job.counts.report(lambda: bool(application.consumer.assignment()))
    faust.Worker(application, loglevel="WARNING", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
