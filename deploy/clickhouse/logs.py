"""The access log: one line for each request, never with a parameter's value or a statement's text."""

from __future__ import annotations

import logging
import time
from typing import Any

log = logging.getLogger("tocsin.clickhouse.access")


class AccessLog:
    """ASGI middleware that logs method, path, user, query id, status, sizes and duration of each request."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts: dict[str, Any] = {"user": "-", "query_id": "-", "error": "-"}
        scope["tocsin"] = facts
        started = time.monotonic()
        status = received = sent = 0

        async def counted_receive() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Any) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            level = logging.DEBUG if scope["path"] == "/ping" else logging.INFO
            log.log(
                level,
                "%s %s user=%s id=%s status=%d error=%s in=%d out=%d ms=%.1f",
                scope["method"],
                scope["path"],
                facts["user"],
                facts["query_id"],
                status,
                facts["error"].replace(" ", "_"),
                received,
                sent,
                (time.monotonic() - started) * 1000,
            )
