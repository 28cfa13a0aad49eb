"""Says in every answer how long it took here, in the header that browsers' tools show (W3C Server Timing).

``Server-Timing: total;dur=12.3`` are milliseconds from the request's arrival in the application to its answer's head,
which goes out when a page is made completely: what the network, or a browser's queue, takes is not in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = "Server-Timing"
METRIC: Final = "total"
_TOTAL: Final = re.compile(rf"(?:^|,)\s*{METRIC};dur=([0-9.]+)")


class ServerTiming:
    """Adds the header to every answer of ``app``. ``clock`` gives seconds that never go back."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app, self._clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = self._clock()

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_ms = (self._clock() - began) * 1000
                MutableHeaders(scope=message).append(HEADER, f"{METRIC};dur={took_ms:.1f}")
            await send(message)

        await self.app(scope, receive, send_timed if scope["type"] == "http" else send)


def total_ms(header: str) -> float | None:
    """Milliseconds in such a header; ``None`` where it has none."""
    found = _TOTAL.search(header)
    return float(found[1]) if found else None
