"""Sending: in the order of a thread, and what is stopped stays to be sent."""

from __future__ import annotations

import asyncio
import datetime as dt

from processors.notifier import Notifier
from schemas.lifecycle import Notification
from tests.processors.test_lifecycle_store import NOW, Slow, notification


def in_thread(number: int, thread: str, after_s: int = 0) -> Notification:
    found = notification(number, thread=thread)
    return found.model_copy(update={"due_at": NOW + dt.timedelta(seconds=after_s)})


async def test_messages_of_one_thread_do_not_overtake_each_other() -> None:
    slow, woken = Slow(), asyncio.Event()
    notifier = Notifier(woken.set)
    pending = [in_thread(5, "t", 9), in_thread(2, "t"), in_thread(3, "other")]
    notifier.send(pending, {}, slow, lambda: NOW)
    await asyncio.sleep(0)
    assert slow.begun == ["n2", "n3"], "the later one waits, though it is more urgent"
    slow.may_end.set()
    await woken.wait()
    notifier.send(pending, {}, slow, lambda: NOW)
    await asyncio.sleep(0.01)
    assert slow.begun == ["n2", "n3"], "what is not recorded is not known to be sent"
    notifier.recorded(notifier.settled())
    notifier.send(pending[:1], {}, slow, lambda: NOW)
    await asyncio.sleep(0)
    assert slow.begun == ["n2", "n3", "n5"]
    await notifier.drain(1)


async def test_an_orderly_stop_leaves_what_waits_to_the_next_worker() -> None:
    slow = Slow()
    notifier = Notifier(lambda: None)
    notifier.send([notification(0)], {}, slow, lambda: NOW)
    await asyncio.sleep(0)
    await notifier.drain(0.01)
    slow.may_end.set()
    await asyncio.sleep(0.01)
    assert notifier.settled() == [], "neither sent nor failed"
    assert notifier.sending == 0


async def test_what_is_cancelled_may_be_sent_again() -> None:
    slow = Slow()
    notifier = Notifier(lambda: None)
    notifier.send([notification(0)], {}, slow, lambda: NOW)
    notifier.cancel()
    await asyncio.sleep(0.01)
    assert (slow.begun, notifier.sending) == ([], 0), "before it began"
    notifier.send([notification(0)], {}, slow, lambda: NOW)
    await asyncio.sleep(0)
    notifier.cancel()
    slow.may_end.set()
    await asyncio.sleep(0.01)
    notifier.send([notification(0)], {}, slow, lambda: NOW)
    await notifier.drain(1)
    assert slow.begun == ["n0", "n0"]
    assert [each.outcome for each in notifier.settled()] == ["sent"]
