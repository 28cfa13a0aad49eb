"""Rules as the engine uses them: detections and correlations, freed from the files and the library they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

from processors.predicates import Condition, fields_of, leaves

CorrelationType = Literal[
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "temporal",
    "temporal_ordered",
    "absence",
    "travel",
]
Operator = Literal["gt", "gte", "lt", "lte", "eq", "neq"]


@dataclass(frozen=True)
class RuleMeta:
    """What people read about a rule; ``version`` is the first 12 hex digits of the SHA-256 of its content, ``path``
    file:line."""

    id: str
    name: str
    title: str
    description: str
    level: str
    version: str
    tags: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    tocsin: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    path: str = ""


@dataclass(frozen=True)
class Detection:
    """A single-event rule. ``family`` is empty where the rule is to read events of every family (log source ignored).
    ``alerts`` says that each matching event is an alert of its own."""

    meta: RuleMeta
    family: str
    condition: Condition
    alerts: bool

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Fields that the condition names, in order, once each."""
        return fields_of(self.condition)

    @cached_property
    def has_keywords(self) -> bool:
        """Whether it looks for words in every text of an event."""
        return any(not leaf.field for leaf in leaves(self.condition))


@dataclass(frozen=True)
class Bound:
    """One comparison of a correlation's condition; the number is exact (``10.1`` is ten and a tenth)."""

    op: Operator
    number: Fraction

    @cached_property
    def _plain(self) -> Fraction | int:
        # Most bounds are whole and most of what is observed is, and a Fraction takes long to compare.
        return self.number.numerator if self.number.denominator == 1 else self.number

    def holds(self, observed: Fraction | int) -> bool:
        match self.op:
            case "gt":
                return observed > self._plain
            case "gte":
                return observed >= self._plain
            case "lt":
                return observed < self._plain
            case "lte":
                return observed <= self._plain
            case "eq":
                return observed == self._plain
            case "neq":
                return observed != self._plain

    def __str__(self) -> str:
        return f"{self.op} {float(self.number):g}"


@dataclass(frozen=True)
class Term:
    """A node of an extended condition: ``not`` has one argument, ``and`` and ``or`` two or more, in the order written.
    Arguments are terms or ids of base rules."""

    op: Literal["and", "or", "not"]
    arguments: tuple[Expression, ...]


Expression = Term | str


@dataclass(frozen=True)
class Correlation:
    """A sliding event-time window over what base rules matched.

    ``bases`` are ids of detections or of other correlations, in the order written. ``group_by`` are the fields whose
    values key the window, each mapped per base rule by ``aliases``. The condition is ``bounds`` (all must hold) on the
    number that ``type`` observes, or for temporal types ``expression`` over the base rules. ``value_fields`` are what
    value types look at. ``absent`` are the rules that must not follow (absence). ``max_speed_kmh`` and
    ``min_distance_km`` belong to travel. ``depth`` is 1 over detections and one more than its deepest base otherwise.
    ``alerts`` is False where the rule only serves another one. ``fingerprint`` changes when the rule or anything that
    it stands on changes.
    """

    meta: RuleMeta
    type: CorrelationType
    bases: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_s: int
    bounds: tuple[Bound, ...] = ()
    expression: Expression | None = None
    value_fields: tuple[str, ...] = ()
    percentile: int | None = None
    absent: tuple[str, ...] = ()
    max_speed_kmh: float = 0.0
    min_distance_km: float = 0.0
    aliases: dict[str, dict[str, str]] = field(default_factory=dict, hash=False, compare=False)
    depth: int = 1
    alerts: bool = True
    allowed_lateness_s: int | None = None
    max_groups: int = 1_000_000
    max_signals: int = 5_000
    fingerprint: str = ""

    @cached_property
    def watched(self) -> tuple[str, ...]:
        """Every rule whose matches enter the window: the bases and those that must be absent."""
        return tuple(dict.fromkeys((*self.bases, *self.absent)))

    def group_field(self, key: str, base: str) -> str:
        """The field that supplies ``key`` of the group on events of base rule ``base``."""
        return self.aliases.get(key, {}).get(base, key)

    @property
    def condition_text(self) -> str:
        """The condition as a person reads it, for example ``value_count(header.partner) gte 3 within 3600 s``."""
        within = f"within {self.timespan_s} s"
        match self.type:
            case "absence":
                return f"nothing follows {within}"
            case "travel":
                return f"faster than {self.max_speed_kmh:g} km/h over at least {self.min_distance_km:g} km {within}"
        of = f"({', '.join(self.value_fields)})" if self.value_fields else ""
        at = f" {self.percentile}" if self.percentile is not None else ""
        bounds = " and ".join(map(str, self.bounds)) or "extended condition"
        return f"{self.type}{at}{of} {bounds} {within}"


Rule = Detection | Correlation


@dataclass(frozen=True)
class Rulebook:
    """All rules in force; ``version`` identifies the set."""

    detections: tuple[Detection, ...]
    correlations: tuple[Correlation, ...]

    @property
    def rules(self) -> list[Rule]:
        return [*self.detections, *self.correlations]

    @cached_property
    def version(self) -> str:
        parts = sorted(f"{each.meta.id}:{each.meta.version}" for each in self.rules)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        return {each.meta.id: each for each in self.rules}

    @cached_property
    def watchers(self) -> dict[str, tuple[Correlation, ...]]:
        """Correlations by the id of each rule that they watch."""
        found: dict[str, list[Correlation]] = {}
        for correlation in self.correlations:
            for base in correlation.watched:
                found.setdefault(base, []).append(correlation)
        return {base: tuple(each) for base, each in found.items()}

    @cached_property
    def carried(self) -> dict[str, tuple[str, ...]]:
        """Fields that evidence of each detection must carry for correlations above it, by detection id."""
        found: dict[str, dict[str, None]] = {}
        for correlation in self.correlations:
            for base in correlation.watched:
                names = [
                    *(correlation.group_field(key, base) for key in correlation.group_by),
                    *correlation.value_fields,
                ]
                for detection in self.leaves_of(base):
                    found.setdefault(detection.meta.id, {}).update(dict.fromkeys(names))
        return {base: tuple(names) for base, names in found.items()}

    def leaves_of(self, rule_id: str) -> Iterator[Detection]:
        """The detections under a rule, itself when it is one; repeats included."""
        rule = self.by_id[rule_id]
        if isinstance(rule, Detection):
            yield rule
        else:
            for base in rule.watched:
                yield from self.leaves_of(base)
