"""Invented alert states, and a log fed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboards.desk.live import Change, Live, Standing
from schemas.lifecycle import AlertState
from schemas.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def state(alert_id: str, **changes: Any) -> AlertState:
    """An open live alert of P2, raised ten minutes before ``NOW``."""
    raised = NOW - timedelta(minutes=10)
    values: dict[str, Any] = {
        "alert_id": alert_id,
        "revision": 1,
        "state": "open",
        "priority": "P2",
        "priority_reasons": ["level high", "2 partners"],
        "group_key": f"g-{alert_id}",
        "alert_version": 1,
        "rule_id": "c0ffee",
        "rule_title": "One document at two distant borders",
        "rule_version": "1f3a9c",
        "kind": "correlation",
        "level": "high",
        "exercise": False,
        "tlp": "AMBER",
        "confidence": 80,
        "group": {"document_number": "X1234567"},
        "story": "Document X1234567 was shown in Germany and in Kenya within 14 minutes.",
        "tags": ["attack.t1036"],
        "partners": ["bpol-de", "hub-ke"],
        "families": ["border_crossing"],
        "countries": ["DE", "KE"],
        "places": ["Frankfurt (Oder)", "Nairobi"],
        "evidence_total": 4,
        "first_event_at": raised,
        "last_event_at": raised,
        "published_at": raised,
        "raised_at": raised,
        "updated_at": raised,
    }
    return AlertState.model_validate(values | changes)


class HandFed(Live):
    """Follows no log: tests put in what it would have read."""

    def __init__(self, settings: Settings, states: Iterable[AlertState] = ()) -> None:
        super().__init__(settings)
        self._position = -1
        self._first = list(states)

    def start(self) -> None:
        self.stand(Standing(connected=True, loaded=True))
        self.put(*self._first)

    async def stop(self) -> None:
        return

    def put(self, *states: AlertState) -> None:
        """New versions of these alerts, in this order."""
        changes = []
        for each in states:
            self._position += 1
            changes.append(Change("alert", each.alert_id, each, self._position))
        self.feed(changes)
