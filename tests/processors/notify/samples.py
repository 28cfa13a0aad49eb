"""Alerts, notifications and policies of the notification tests. Everything in them is invented."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.lifecycle import AlertState, Notification
from schemas.oncall import OnCallPolicy, load_oncall

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DESK = "http://127.0.0.1:8500/"

POLICY = """\
people:
  - {{id: mira, name: Mira Falkenrath, time_zone: Europe/Berlin, channels: [{channels}]}}
escalation_policies:
  - {{id: all, steps: [{{targets: [mira]}}]}}
default_route: {{policy: all}}
"""


def policy(tmp_path: Path, *channels: str) -> OnCallPolicy:
    """One person with these channels, through the loader."""
    path = tmp_path / "oncall.yml"
    path.write_text(POLICY.format(channels=", ".join(channels)))
    return load_oncall(path)


def state(alert_id: str = "a1", **changes: Any) -> AlertState:
    values: dict[str, Any] = {
        "alert_id": alert_id,
        "revision": 1,
        "state": "open",
        "priority": "P1",
        "priority_reasons": ["level is critical", "seen by 2 partners"],
        "group_key": "rule-1/document_number=X1234567",
        "alert_version": 1,
        "rule_id": "rule-1",
        "rule_title": "One document in two countries",
        "rule_version": "1",
        "kind": "correlation",
        "level": "critical",
        "exercise": False,
        "tlp": "GREEN",
        "confidence": 80,
        "group": {"document_number": "X1234567"},
        "story": "Document X1234567 was shown in Germany and in Kenya.",
        "response": "Call the duty officers of both services.",
        "tags": ["documents"],
        "partners": ["bpol-de", "hub-ke"],
        "families": ["border_crossing"],
        "countries": ["DE", "KE"],
        "places": ["Berlin", "Nairobi"],
        "evidence_total": 2,
        "first_event_at": datetime(2026, 3, 1, 11, 30, tzinfo=UTC),
        "last_event_at": datetime(2026, 3, 1, 11, 45, tzinfo=UTC),
        "published_at": NOW,
        "raised_at": NOW,
        "updated_at": NOW,
    }
    return AlertState(**(values | changes))


def notification(name: str = "n1", **changes: Any) -> Notification:
    values: dict[str, Any] = {
        "notification_id": name,
        "thread": name,
        "kind": "first",
        "person": "mira",
        "policy": "all",
        "step": 0,
        "group_key": "rule-1/document_number=X1234567",
        "alert_ids": ["a1"],
        "priority": "P1",
        "due_at": NOW,
    }
    return Notification(**(values | changes))
