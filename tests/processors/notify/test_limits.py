"""A channel's rate: it holds over all notifications, and urgent ones wait least."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.notify.deliver import Buckets, Deliverer
from processors.notify.limits import TokenBucket
from tests.processors.notify.samples import DESK, NOW, notification, policy, state


class Time:
    """Time that goes on to the next sleeper's end once everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), woken))
        await woken

    async def run(self, *works: Awaitable[Any]) -> list[Any]:
        together = asyncio.gather(*works)
        while not together.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleepers and not together.done():
                until, _, woken = heapq.heappop(self._sleepers)
                self.now = max(self.now, until)
                if not woken.done():
                    woken.set_result(None)
        return await together


async def test_urgent_notifications_go_first_and_none_is_lost(tmp_path: Path) -> None:
    time = Time()
    people = policy(tmp_path, "{log: true, rate_limit: 12}")
    desk = Deliverer(people, desk_url=DESK, clock=time.clock, sleep=time.sleep)
    asked = [notification(f"n{number}", priority="P3") for number in range(6)] + [notification("p1", priority="P1")]
    found = await time.run(*(desk.deliver(each, [state()], NOW) for each in asked))
    assert {status for status, _ in found} == {"sent"}
    # Two at once (a sixth of 12), then one every five seconds.
    sent = sorted((row.at, row.notification_id) for _, rows in found for row in rows if row.outcome == "sent")
    assert [round((at - NOW).total_seconds()) for at, _ in sent] == [0, 0, 5, 10, 15, 20, 25]
    assert [name for _, name in sent] == ["n0", "n1", "p1", "n2", "n3", "n4", "n5"]
    limited = [row.notification_id for _, rows in found for row in rows if row.outcome == "rate_limited"]
    assert sorted(limited) == ["n2", "n3", "n4", "n5", "p1"]


async def test_a_rate_goes_on_when_the_policy_is_read_anew(tmp_path: Path) -> None:
    time, buckets = Time(), Buckets()
    used = policy(tmp_path, "{log: true, rate_limit: 6}")
    for number, expected in ((0, ["sent"]), (1, ["rate_limited", "sent"])):
        desk = Deliverer(used, desk_url=DESK, clock=time.clock, sleep=time.sleep, buckets=buckets)
        ((_, rows),) = await time.run(desk.deliver(notification(f"n{number}"), [state()], NOW))
        assert [row.outcome for row in rows] == expected


@given(st.integers(1, 120), st.lists(st.tuples(st.integers(0, 3), st.floats(0, 200)), min_size=1, max_size=30))
def test_no_minute_sees_more_than_the_rate_and_what_was_saved(per_minute: int, asked: list[tuple[int, float]]) -> None:
    time, taken = Time(), []

    async def one(bucket: TokenBucket, rank: int, start: float) -> None:
        await time.sleep(start)
        await bucket.take(rank)
        taken.append(time.now)

    async def all_of_them() -> None:
        bucket = TokenBucket(per_minute, time.clock, time.sleep)
        await time.run(*(one(bucket, rank, start) for rank, start in asked))

    asyncio.run(all_of_them())
    assert len(taken) == len(asked)
    most = per_minute + max(1.0, per_minute / 6.0)
    for begin in taken:
        assert sum(begin <= at < begin + 60 for at in taken) <= most + 1e-6


async def test_who_gives_up_waiting_leaves_the_token_to_others() -> None:
    time = Time()
    bucket = TokenBucket(6, time.clock, time.sleep)
    assert bucket.try_take()
    assert not bucket.try_take()
    first, second = asyncio.ensure_future(bucket.take(0)), asyncio.ensure_future(bucket.take(1))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await time.run(second)
    assert 10 <= time.now < 11
    assert not bucket.try_take()
