"""Which past alerts are like this one, and how they ended. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dashboards.explain import as_text
from schemas.alerts import Alert

MAX_SHOWN: Final = 12
MAX_VALUES: Final = 100
SHORT: Final = 4
"""Values below this length (a country, a yes) are shared by chance."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A past alert that may be like this one. ``shared_values`` are values of this alert found in its evidence or
    group, ``shared_events`` events that both rest on; ``verdict`` is empty while nobody has closed it."""

    alert_id: str
    rule_id: str
    rule_title: str
    level: str
    exercise: bool
    story: str
    group: dict[str, str]
    partners: tuple[str, ...]
    last_event_at: datetime
    shared_values: tuple[str, ...] = ()
    shared_events: int = 0
    state: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Similar:
    """A past alert and what it has in common with this one, most telling first."""

    alert: Candidate
    score: int
    reasons: tuple[str, ...]


def values_of(alert: Alert) -> list[str]:
    """Values that may lead to similar alerts: those of the group, then the entities', once each."""
    entities = (entity.value for item in alert.evidence for entity in item.entities)
    values = dict.fromkeys([*alert.group.values(), *entities])
    return [value for value in values if len(value) >= SHORT][:MAX_VALUES]


def rank(alert: Alert, candidates: Iterable[Candidate]) -> list[Similar]:
    """The most similar first, and of equals the latest. The same drill state counts: a drill tells little of a live
    situation. An alert that shares nothing but its rule comes last."""
    judged = [_judge(alert, each) for each in candidates if each.alert_id != alert.alert_id]
    found = [each for each in judged if each.score > 0]
    found.sort(key=lambda each: (each.score, each.alert.last_event_at, each.alert.alert_id), reverse=True)
    return found[:MAX_SHOWN]


def _judge(alert: Alert, other: Candidate) -> Similar:
    score, reasons = 0, list[str]()
    same_rule = other.rule_id == alert.rule.id
    if same_rule and other.group and other.group == alert.group:
        score += 8
        reasons.append("same rule, same " + ", ".join(alert.group))
    shared = tuple(value for value in other.shared_values if value not in alert.group.values() or not reasons)
    if shared:
        score += 3 + min(len(shared), 3)
        reasons.append(f"also names {_some(shared)}")
    if set(other.group.values()) & set(alert.group.values()):
        score += 4
    if other.shared_events:
        score += 3
        reasons.append(f"rests on {other.shared_events} of the same events")
    if same_rule and not reasons:
        reasons.append("same rule")
    if same_rule:
        score += 2
    if score and other.exercise == alert.exercise:
        score += 1
    return Similar(other, score, tuple(reasons))


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(as_text(value) for value in values[:3]) + more


def verdicts(found: Sequence[Similar]) -> str:
    """How the similar ones ended: ``Of 5 similar alerts 2 were true positives; 1 is not closed.``"""
    if not found:
        return "No earlier alert is like this one."
    counts = Counter(each.alert.verdict for each in found)
    still = counts.pop("", 0)
    ended = [f"{count} closed as {verdict.replace('_', ' ')}" for verdict, count in counts.most_common()]
    ended += [f"{still} not closed"] if still else []
    total = len(found)
    return f"{total} similar alert{'s' if total != 1 else ''}: {', '.join(ended)}."
