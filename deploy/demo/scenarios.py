"""Scripted situations whose alerts are known: what to publish when, and which rule must answer with which group.

Every event is marked ``exercise`` and dated within the last 45 minutes, inside the allowed lateness of one hour.
Identifiers carry a tag of the run, so that playing a scenario again is a new situation.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from random import Random

from deploy.demo.script import ExpectedAlert, Names, Scenario, Step
from deploy.demo.situations import SITUATIONS
from deploy.demo.world import Event, event_id_at

__all__ = ["ExpectedAlert", "Scenario", "Step", "event_of", "expected", "scenarios", "tag_of"]

PUBLISHED_WITHIN_S = 40.0
"""All events of a round are published by then, in seconds after its start."""
MAX_AGE_S = 45 * 60


def tag_of(run_id: str, round_number: int = 0) -> str:
    """Six hexadecimal digits, in capitals, that mark a round of a run."""
    return hashlib.sha256(f"{run_id}/{round_number}".encode()).hexdigest()[:6].upper()


def scenarios(run_id: str, round_number: int = 0) -> tuple[Scenario, ...]:
    """All scenarios of one round of a run, in the order in which their first event is published."""
    tag = tag_of(run_id, round_number)
    return tuple(build(Names(tag, number)) for number, build in enumerate(SITUATIONS, 1))


def expected(run_id: str, rounds: int = 1) -> list[ExpectedAlert]:
    """Every alert that the first ``rounds`` rounds of a run must lead to."""
    return [alert for each in range(rounds) for scenario in scenarios(run_id, each) for alert in scenario.alerts]


def event_of(step: Step, now: datetime, rng: Random) -> Event:
    """The full event of a step, published at ``now`` (aware, UTC)."""
    place = step.place
    return {
        "header": {
            "event_id": event_id_at(now, rng),
            "occurred_at": now - timedelta(seconds=step.age_s),
            "occurred_precision": "INSTANT",
            "published_at": now,
            "partner": step.partner,
            "source_system": step.source_system,
            "handling": {
                "tlp": "AMBER",
                "releasable_to": ["law-enforcement"],
                "purpose": "exercise",
                "legal_basis": None,
                "retain_days": 30,
            },
            "exercise": True,
            "confidence": 80,
            "location": place
            and {
                "lat": place.lat,
                "lon": place.lon,
                "precision_m": 500,
                "place": place.name,
                "country": place.country,
            },
            "entities": [{"type": kind, "value": value, "role": role} for kind, value, role in step.entities],
            "summary": step.summary,
        },
        **{key: now + value if isinstance(value, timedelta) else value for key, value in step.fields.items()},
    }
