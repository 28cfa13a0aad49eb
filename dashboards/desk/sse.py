"""Server-sent events of alert changes (HTML Living Standard, 9.2): resumable, and bounded in memory.

An event's id is the offset of the state in ``lifecycle-state.v1``. Resuming sends the latest state of every alert that
changed behind it: of several changes of one alert while nobody listened, the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from dashboards.desk.live import Live
from schemas.lifecycle import AlertState

HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 2_000


async def events(
    live: Live,
    sees: Callable[[AlertState], bool],
    last_event_id: str | None,
    heartbeat_s: float = HEARTBEAT_S,
    shown: Callable[[AlertState], AlertState] = lambda state: state,
) -> AsyncIterator[str]:
    """The stream, for a listener who ``sees`` those alerts, as they are ``shown`` to it; without ``last_event_id`` from
    now on."""
    position = resume_at(live, last_event_id)
    news = asyncio.Event()
    unsubscribe = live.subscribe(lambda *_: news.set(), "alert")
    try:
        yield f"retry: {RETRY_MS}\n: follows the log from {position}\n\n"
        while True:
            news.clear()
            for at, state in live.changed_since(position):
                position = at
                if sees(state):
                    yield f"id: {at}\nevent: alert\ndata: {shown(state).model_dump_json()}\n\n"
            try:
                await asyncio.wait_for(news.wait(), heartbeat_s)
            except TimeoutError:
                yield ": still here\n\n"
    finally:
        unsubscribe()


def resume_at(live: Live, last_event_id: str | None) -> int:
    """The position to go on behind. An id from another log, which lies ahead of this one, begins it anew."""
    if last_event_id is None or not last_event_id.isascii() or not last_event_id.isdigit():
        return live.end
    position = int(last_event_id[:18])
    return position if position <= live.end else -1
