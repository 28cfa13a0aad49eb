"""A second ingest worker joins and leaves while events flow: nothing lost, the same alerts."""

from __future__ import annotations

import datetime as dt
import random
import threading
from uuid import uuid4

from deploy.demo.scenarios import expected
from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded, produce_encoded
from deploy.parts import worker_part
from schemas.registry import FAMILIES
from tests.stack import Stack

EVENTS = 24_000
SLICE = 500


def test_a_worker_joins_and_leaves(stack: Stack) -> None:
    run = uuid4().hex[:8]
    now = dt.datetime.now(dt.UTC)
    families = [family for family in FAMILIES if family != "heartbeat"]
    scenario = encode_scenarios(run, stack.schema_ids, now)
    rng = random.Random(6)
    records = generate_encoded(EVENTS, rng.randrange(1 << 30), families, stack.schema_ids, spread_s=120)
    for each in scenario:
        records.insert(rng.randrange(len(records)), each)
    joined, changed, failed = threading.Event(), threading.Event(), list[BaseException]()
    sent = list[EncodedRecord]()

    def flow() -> None:
        """Publish steadily until all is sent, in slices; the last ones after the second worker has left."""
        try:
            for start in range(0, len(records), SLICE):
                if start > len(records) * 0.8:
                    changed.wait(90)
                produce_encoded(stack.settings, records[start : start + SLICE])
                sent.extend(records[start : start + SLICE])
                # Slowly at first: how long a worker takes to start depends on what else the machine does.
                if joined.wait(1.0):
                    changed.wait(0.25)
        except BaseException as error:  # shown by the test, which would else wait in vain
            failed.append(error)

    publishing = threading.Thread(target=flow)
    publishing.start()
    name = "ingest-1"
    try:
        (second,) = stack.platform.add_parts([worker_part(stack.settings, "ingest", "1")])
        at_join = len(sent)
        joined.set()
        stack.wait_until(lambda: took_part(stack, name), 30, "the second worker ingests")
        second.stop()
        assert at_join < len(records) * 0.8, "events had run out before the second worker joined"
    finally:
        joined.set()
        changed.set()
        publishing.join(120)
        stack.platform.parts.pop(name, None)
    assert not failed, failed
    assert len(sent) == len(records)
    ids = {value[6:42].decode() for _, _, value in records}

    stack.wait_ingested()
    since = now - dt.timedelta(hours=2)
    rows = stack.rows("SELECT event_id FROM events FINAL WHERE occurred_at > {s:DateTime64(3)}", s=since)
    found = [row[0] for row in rows if row[0] in ids]
    assert len(found) == len(set(found)) == len(records)
    wanted = expected(run)

    def missing() -> list[str]:
        alerts = stack.alerts()
        return [each.rule_title for each in wanted if not any(each.met_by(alert) for alert in alerts)]

    stack.wait_until(lambda: missing() == [], 30, "every expected alert")
    markers = {each.marker for each in wanted}
    about = [
        alert
        for alert in stack.alerts()
        if any(marker in evidence["summary"] for evidence in alert["evidence"] for marker in markers)
    ]
    assert len(about) == len(wanted), "an alert more than expected"


def took_part(stack: Stack, worker: str) -> bool:
    """Whether the worker says of itself that it accepted events."""
    found = stack.rows(
        "SELECT sum(value) FROM pipeline_metrics WHERE worker = {w:String} AND metric LIKE 'tocsin_records%'", w=worker
    )
    return float(found[0][0] or 0) > 0
