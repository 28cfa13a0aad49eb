"""What loads but is not good: rules that say too little of themselves, can never fire, or cost more than they need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from processors.match_plan import implied, simplified
from processors.predicates import And, Condition, Leaf, Not, Op, Or, leaves
from processors.rulebook import Correlation, Detection, Rule, Rulebook

DAY_S = 86_400
EXPECTED_OF_ALERTS = ("owner", "response", "legal_basis", "tests")
FREE_TEXT = frozenset(
    f"{prefix}{name}" for prefix in ("", "header.") for name in ("summary", "event_id", "occurred_at", "published_at")
) | {"text", "purpose_text", "suspicion_reason", "where_description", "instruction", "url", "content_url"}
"""Fields with a value of its own for nearly every event."""
COSTS = ("look-up", "substring", "scan")
"""How the matcher finds the events of a condition, the cheapest first: in tables that all rules share; in one pass over
a field for all texts asked of it; by looking at each event."""


@dataclass(frozen=True)
class Finding:
    """Something about a rule: an ``error`` means that it cannot do what it says."""

    level: Literal["error", "warning"]
    rule: str
    path: str
    message: str


@dataclass(frozen=True)
class Cost:
    """What a rule costs: how its events are found (one of :data:`COSTS`), and what its windows hold, in words."""

    rule: str
    title: str
    matching: str
    state: str


def findings(book: Rulebook) -> list[Finding]:
    """All findings, errors first, then by rule."""
    found = [
        Finding(level, rule.meta.id, rule.meta.path, message)
        for rule in book.rules
        for level, message in _of(book, rule)
    ]
    return sorted(found, key=lambda each: each.level != "error")


def cost(book: Rulebook) -> list[Cost]:
    """What each rule costs; detections under a correlation are listed by themselves."""
    costs = []
    for rule in book.rules:
        if isinstance(rule, Detection):
            costs.append(Cost(rule.meta.id, rule.meta.title, COSTS[max(map(_cost_of, _ways(rule.condition)))], "none"))
        else:
            span = rule.timespan_s + (rule.allowed_lateness_s or 0)
            group = f"group of {', '.join(rule.group_by)}" if rule.group_by else "all events together"
            state = f"matches of {span:,} s, at most {rule.max_signals:,} for each {group}"
            costs.append(Cost(rule.meta.id, rule.meta.title, "signals of its rules", state))
    return costs


def _of(book: Rulebook, rule: Rule) -> Iterator[tuple[Literal["error", "warning"], str]]:
    if rule.alerts and (missing := list(_missing(rule))):
        yield "warning", f"alerts, but has no {', '.join(missing)}"
    if isinstance(rule, Detection):
        yield from (("warning", message) for message in _of_detection(rule))
    else:
        yield from (("error", message) for message in _never(rule))
        yield from (("warning", message) for message in _of_correlation(book, rule))


def _missing(rule: Rule) -> Iterator[str]:
    meta = rule.meta
    texts = {"description": meta.description, "level": meta.level}
    lists = {"tags": meta.tags, "falsepositives": meta.false_positives}
    yield from (name for name, value in {**texts, **lists}.items() if not value)
    yield from (f"tocsin.{name}" for name in EXPECTED_OF_ALERTS if not meta.tocsin.get(name))


def _of_detection(rule: Detection) -> Iterator[str]:
    for leaf in dict.fromkeys(leaves(rule.condition)):
        if leaf.op is Op.CONTAINS and len(str(leaf.value)) < 3:
            yield f"{leaf.field}|contains: {leaf.value!r} is in nearly every text: three characters or more tell more"
    for parts in _ways(rule.condition):
        for part in parts if _cost_of(parts) == len(COSTS) - 1 else ():
            if isinstance(part, Leaf) and part.op not in (Op.EXISTS, Op.NULL):
                yield f"{part} is asked of every event: add a plain value beside it that few events have"


def _ways(condition: Condition) -> Iterator[tuple[Condition, ...]]:
    """What must hold together, for each way in which the condition can hold, as the matcher sees it."""
    whole = simplified(condition)
    for way in whole.children if isinstance(whole, Or) else (whole,):
        yield way.children if isinstance(way, And) else (way,)


def _cost_of(parts: tuple[Condition, ...]) -> int:
    """Index into :data:`COSTS`."""
    clauses = [clause for part in parts for clause in implied(part)]
    return min((int(any(leaf.op is Op.CONTAINS for leaf in clause)) for clause in clauses), default=len(COSTS) - 1)


def _narrows(condition: Condition) -> bool:
    """Whether it asks for more than that a field is there, or that something is not so."""
    return all(
        any(not isinstance(part, Not) and {leaf.op for leaf in leaves(part)} - {Op.EXISTS, Op.NULL} for part in parts)
        for parts in _ways(condition)
    )


def _never(rule: Correlation) -> Iterator[str]:
    """Why the condition cannot hold, if so."""
    low, high = float("-inf"), float("inf")
    for bound in rule.bounds:
        number = float(bound.number)
        if bound.op in ("gt", "gte", "eq"):
            low = max(low, number)
        if bound.op in ("lt", "lte", "eq"):
            high = min(high, number)
    shown = rule.condition_text
    if low > high and rule.bounds:
        yield f"can never fire: no number meets {shown}"
    if rule.type.startswith("temporal") and rule.expression is None and low > len(rule.bases):
        yield f"can never fire: {shown}, but it names {len(rule.bases)} rules"
    if rule.type in ("event_count", "value_count") and low > rule.max_signals:
        yield f"can never fire: {shown}, but tocsin.max_signals of a group is {rule.max_signals:,}"


def _of_correlation(book: Rulebook, rule: Correlation) -> Iterator[str]:
    watched = set(rule.watched)
    for name, mapping in rule.aliases.items():
        if name not in rule.group_by:
            yield f"alias {name} is not used: group-by does not name it"
        for base in mapping.keys() - watched:
            other = book.by_id.get(base)
            yield f"alias {name} maps {(other.meta.name or base) if other else base}, which this rule does not watch"
    fields = dict.fromkeys(rule.group_field(key, base) for key in rule.group_by for base in rule.watched)
    for field in fields:
        if field in FREE_TEXT:
            yield f"group-by {field} differs in nearly every event: no two will meet, and each holds a window"
    if not rule.group_by and rule.type in ("value_count", "value_percentile"):
        yield "without group-by one window holds every match: state grows with the traffic up to tocsin.max_signals"
    held_s = rule.timespan_s + (rule.allowed_lateness_s or 0)
    if held_s > 30 * DAY_S:
        yield f"holds its matches for {held_s / DAY_S:.0f} days (timespan and allowed lateness); 30 are much already"
    if rule.timespan_s > 7 * DAY_S:
        for detection in dict.fromkeys(leaf for base in rule.watched for leaf in book.leaves_of(base)):
            if not _narrows(detection.condition):
                name = detection.meta.name or detection.meta.title
                yield f"holds nearly every event for {rule.timespan_s / DAY_S:.0f} days: {name} asks for little"
