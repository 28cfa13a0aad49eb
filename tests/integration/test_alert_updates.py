"""What the correlation worker tells when nothing more comes to remind it."""

from __future__ import annotations

import asyncio
import contextlib

from processors.conclude import Effects
from processors.correlate_worker import CorrelateWorker
from processors.ruleset import RuleSetWatcher
from tests.processors.test_pace import versions
from tests.stack import Stack


async def test_the_latest_version_of_an_alert_is_told_although_no_batch_follows(stack: Stack) -> None:
    first, _, last = versions(3)
    pieces = last.tell().head.evidence_total
    worker = CorrelateWorker(stack.settings, RuleSetWatcher(stack.settings), "tests")
    waiting = asyncio.create_task(worker.tell_waiting())
    try:
        for alert in (first, last):
            await worker._tell(Effects(alerts=[alert]))
        for _ in range(600):
            found = [each for each in stack.alerts() if each["alert_id"] == first.alert_id]
            if found and found[0]["evidence_total"] == pieces:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"told {found}, not {pieces} pieces of evidence")
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        worker.close()
