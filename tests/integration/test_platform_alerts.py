"""From Grafana's webhook to the state of an alert, through the real desk, Kafka and the lifecycle worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from dashboards.desk.app import create_api
from tests.stack import Stack


async def until(condition: Callable[[], Any], what: str) -> Any:
    """On the loop that feeds the desk: it must not be blocked."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := condition():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within 30 s: {what}")


async def test_grafana_raises_an_alert_and_takes_it_back(stack: Stack, tmp_path: Path) -> None:
    settings = stack.settings.model_copy(update={"data_dir": tmp_path, "desk_database": None})
    app, desk = create_api(settings)
    desk.accounts.add_machine("grafana", "watch_officer")
    token = desk.accounts.tokens.make("grafana", ["report"], timedelta(hours=1)).secret
    fired: dict[str, Any] = {
        "status": "firing",
        "labels": {"alertname": "Consumer lag", "topic": "events.tip_report.v1", "level": "high"},
        "annotations": {"summary": "60,000 records of events.tip_report.v1 wait."},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": uuid4().hex[:16],
    }
    async with app.router.lifespan_context(app):
        await until(lambda: desk.live.standing.loaded, "the desk has read the log")
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )

        async def send(**changes: Any) -> list[dict[str, str]]:
            answer = await client.post("/api/v1/platform-alerts", json={"alerts": [fired | changes]})
            assert answer.status_code == 200, answer.text
            told: list[dict[str, str]] = answer.json()["told"]
            return told

        (raised,) = await send()
        assert await send() == [], "at once again, before the lifecycle has it"
        key = raised["alert_id"]
        state = await until(lambda: desk.live.states.get(key), "the lifecycle has taken it in")
        assert (state.kind, state.state, state.level, state.withdrawn) == ("platform", "open", "high", False)
        assert state.story == fired["annotations"]["summary"]

        assert await send(status="resolved") == [{"alert_id": key, "status": "retracted"}]
        await until(lambda: desk.live.states[key].withdrawn, "the lifecycle has taken it back")
        assert await send(status="resolved") == []

    def stored() -> bool:
        rows = stack.rows("SELECT status, kind FROM alerts FINAL WHERE alert_id = {a:String}", a=key)
        return [tuple(row) for row in rows] == [("retracted", "platform")]

    stack.wait_until(stored, 30, "the store has both versions")
