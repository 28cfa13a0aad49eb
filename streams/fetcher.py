"""The fetcher of Faust's client: where little comes, it asks seldom and hears at once; where much comes, it gathers.

aiokafka asks each broker for all its partitions in one request, and sends it nothing else before the answer (KIP-74).
"""

from __future__ import annotations

import time
from typing import Any

from aiokafka.consumer import fetcher

FETCH_MAX_WAIT_MS = 50
"""How long a fetch may wait for data. While busy partitions are being worked off, the client asks for the idle ones
alone and sends nothing else to that broker until the answer: Faust's fixed 1,500 ms held everything up for so long."""
QUIET_MAX_WAIT_MS = 400
QUIET_AFTER_S = 1.0


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Once nothing has come for ``QUIET_AFTER_S`` seconds, a fetch waits longer, and the first byte ends it: then no
    partition is being worked off that it could hold up."""

    _fetch_max_wait_ms: int
    _fetch_min_bytes: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy = FETCH_MAX_WAIT_MS, self._fetch_min_bytes
        self._came_at = time.monotonic()

    def _get_actions_per_node(self, assignment: Any) -> Any:
        quiet = time.monotonic() - self._came_at > QUIET_AFTER_S
        self._fetch_max_wait_ms, self._fetch_min_bytes = (QUIET_MAX_WAIT_MS, 1) if quiet else self._busy
        return super()._get_actions_per_node(assignment)

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        has_data = bool(await super()._proc_fetch_request(assignment, node_id, request))
        if has_data:
            self._came_at = time.monotonic()
        return has_data
