"""What a window holds while it slides over the signals of a group, and what each correlation type observes in it.

A window is fed by :meth:`Window.enter` and :meth:`Window.leave` and asked by :meth:`Window.observe`. What it answers
depends on the set of signals inside alone, never on the order in which they came. Sums, averages and percentiles are
exact: numbers are read as decimals and kept as fractions.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from processors.rulebook import Correlation, Expression

Number = Fraction | int
MAX_EXPONENT = 400
"""Numbers beyond ten to this power, or below its inverse, are read as no number: doubles end at 308."""
EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 of the Earth (Moritz 1980, Geodetic Reference System)."""


class Seen(Protocol):
    """A signal as windows look at it; ``at`` is event time, microseconds since 1970 UTC."""

    at: int
    partner: str
    event_id: str
    rule_id: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Firing:
    """The condition holds; ``values`` names those that met it where only their signals are evidence."""

    observed: Number
    values: frozenset[str] | None = None


class Window(ABC):
    """The signals of one group inside one window."""

    def __init__(self, correlation: Correlation) -> None:
        self._bounds = correlation.bounds

    @abstractmethod
    def enter(self, seen: Seen) -> None: ...

    @abstractmethod
    def leave(self, seen: Seen) -> None:
        """The earliest signal goes."""

    @abstractmethod
    def observe(self) -> Firing | None:
        """How the condition holds now; None when it does not."""

    def _judged(self, observed: Number) -> Firing | None:
        return Firing(observed) if all(bound.holds(observed) for bound in self._bounds) else None


def window_of(correlation: Correlation) -> Window:
    """An empty window for a correlation that slides: all types but absence and travel, which look at neighbours."""
    match correlation.type:
        case "event_count":
            return _Events(correlation)
        case "value_count":
            return _Values(correlation)
        case "temporal":
            return _Rules(correlation)
        case "temporal_ordered":
            return _Order(correlation)
        case "value_percentile" if correlation.percentile is None:
            return _Share(correlation)
        case "value_sum" | "value_avg" | "value_median" | "value_percentile":
            return _Numbers(correlation)
    raise ValueError(f"{correlation.type} has no sliding window")


class _Distinct(Window):
    """Counts distinct things."""

    def __init__(self, correlation: Correlation) -> None:
        super().__init__(correlation)
        self._seen: dict[object, int] = {}

    @abstractmethod
    def _thing(self, seen: Seen) -> object: ...

    def enter(self, seen: Seen) -> None:
        thing = self._thing(seen)
        self._seen[thing] = self._seen.get(thing, 0) + 1

    def leave(self, seen: Seen) -> None:
        thing = self._thing(seen)
        if self._seen[thing] > 1:
            self._seen[thing] -= 1
        else:
            del self._seen[thing]

    def observe(self) -> Firing | None:
        return self._judged(len(self._seen))


class _Events(_Distinct):
    def _thing(self, seen: Seen) -> object:
        return seen.partner, seen.event_id


class _Values(_Distinct):
    def _thing(self, seen: Seen) -> object:
        return seen.value


class _Rules(_Distinct):
    def __init__(self, correlation: Correlation) -> None:
        super().__init__(correlation)
        self._expression = correlation.expression

    def _thing(self, seen: Seen) -> object:
        return seen.rule_id

    def observe(self) -> Firing | None:
        if self._expression is None:
            return super().observe()
        return Firing(len(self._seen)) if self._holds(self._expression) else None

    def _holds(self, expression: Expression) -> bool:
        if isinstance(expression, str):
            return expression in self._seen
        match expression.op:
            case "and":
                return all(self._holds(each) for each in expression.arguments)
            case "or":
                return any(self._holds(each) for each in expression.arguments)
            case "not":
                return not self._holds(expression.arguments[0])


class _Order(Window):
    """Times of each rule's signals, for chains of rules in the order in which they are listed."""

    def __init__(self, correlation: Correlation) -> None:
        super().__init__(correlation)
        self._rules = tuple(dict.fromkeys(correlation.bases))
        self._expression = correlation.expression
        self._times: dict[str, list[int]] = defaultdict(list)

    def enter(self, seen: Seen) -> None:
        bisect.insort(self._times[seen.rule_id], seen.at)

    def leave(self, seen: Seen) -> None:
        self._times[seen.rule_id].pop(0)

    def observe(self) -> Firing | None:
        if self._expression is None:
            return self._judged(self._chain())
        done = self._completion(self._expression, 0)
        return None if done is None else Firing(sum(map(bool, self._times.values())))

    def _chain(self) -> int:
        """Length of the longest chain of different rules in listed order whose times rise."""
        ends: list[int] = []
        for rule in self._rules:
            for length in range(len(ends), -1, -1):
                after = self._next(rule, ends[length - 1] + 1 if length else 0)
                if after is None:
                    continue
                if length == len(ends):
                    ends.append(after)
                else:
                    ends[length] = min(ends[length], after)
        return len(ends)

    def _next(self, rule: str, start: int) -> int | None:
        times = self._times[rule]
        place = bisect.bisect_left(times, start)
        return times[place] if place < len(times) else None

    def _completion(self, expression: Expression, start: int) -> int | None:
        """Earliest time at which what comes next may begin when the expression begins at ``start``; None when it is
        never complete. The operands of ``and`` complete one after the other; ``not`` looks at the whole window."""
        if isinstance(expression, str):
            found = self._next(expression, start)
            return None if found is None else found + 1
        match expression.op:
            case "and":
                moment: int | None = start
                for each in expression.arguments:
                    moment = None if moment is None else self._completion(each, moment)
                return moment
            case "or":
                ends = [self._completion(each, start) for each in expression.arguments]
                return min((each for each in ends if each is not None), default=None)
            case "not":
                return start if self._completion(expression.arguments[0], 0) is None else None


class _Numbers(Window):
    """Numeric values: sum, average, median and percentile; a value counts once for each event that has it."""

    def __init__(self, correlation: Correlation) -> None:
        super().__init__(correlation)
        self._type = correlation.type
        self._share = Fraction(50 if correlation.percentile is None else correlation.percentile, 100)
        self._ranked = self._type in ("value_median", "value_percentile")
        self._seen: Counter[tuple[str, str, Fraction]] = Counter()
        self._sum = Fraction(0)
        self._ordered: list[Fraction] = []

    def enter(self, seen: Seen) -> None:
        number = as_number(seen.value)
        if number is None:
            return
        thing = (seen.partner, seen.event_id, number)
        self._seen[thing] += 1
        if self._seen[thing] == 1:
            self._sum += number
            if self._ranked:
                bisect.insort(self._ordered, number)

    def leave(self, seen: Seen) -> None:
        number = as_number(seen.value)
        if number is None:
            return
        thing = (seen.partner, seen.event_id, number)
        self._seen[thing] -= 1
        if not self._seen[thing]:
            del self._seen[thing]
            self._sum -= number
            if self._ranked:
                del self._ordered[bisect.bisect_left(self._ordered, number)]

    def observe(self) -> Firing | None:
        if not self._seen:
            return None
        match self._type:
            case "value_sum":
                return self._judged(self._sum)
            case "value_avg":
                return self._judged(self._sum / len(self._seen))
            case _:
                return self._judged(_quantile(self._ordered, self._share))


def _quantile(ordered: list[Fraction], share: Fraction) -> Fraction:
    """Linear interpolation between closest ranks: definition 7 of Hyndman and Fan (1996), The American Statistician."""
    rank = (len(ordered) - 1) * share
    below = int(rank)
    value = ordered[below]
    return value if rank == below else value + (rank - below) * (ordered[below + 1] - value)


class _Share(Window):
    """Per cent of the values in the window that are the same as a value; fires for each value that meets the bounds."""

    def __init__(self, correlation: Correlation) -> None:
        super().__init__(correlation)
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()

    def enter(self, seen: Seen) -> None:
        value = seen.value or ""
        thing = (seen.partner, seen.event_id, value)
        self._seen[thing] += 1
        if self._seen[thing] == 1:
            self._resize(value, 1)

    def leave(self, seen: Seen) -> None:
        value = seen.value or ""
        thing = (seen.partner, seen.event_id, value)
        self._seen[thing] -= 1
        if not self._seen[thing]:
            del self._seen[thing]
            self._resize(value, -1)

    def _resize(self, value: str, by: int) -> None:
        before = self._counts[value]
        for size, change in ((before, -1), (before + by, 1)):
            self._sizes[size] += change
            if self._sizes[size] <= 0:
                del self._sizes[size]
        self._counts[value] = before + by
        if not self._counts[value]:
            del self._counts[value]

    def observe(self) -> Firing | None:
        total = len(self._seen)
        # Many values share few counts, so looking at the counts first spares looking at every value.
        met = {size: share for size in self._sizes if size and self._judged(share := Fraction(100 * size, total))}
        if not met:
            return None
        values = frozenset(value for value, size in self._counts.items() if size in met)
        return Firing(min(met.values()), values)


@lru_cache(maxsize=65536)
def as_number(text: str | None) -> Fraction | None:
    """The decimal number that a text writes, exactly; None when it writes none."""
    if text is None or len(text) > 2 * MAX_EXPONENT:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return Fraction(number) if number.is_finite() and abs(number.adjusted()) <= MAX_EXPONENT else None


def distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Great-circle distance between two (latitude, longitude) in degrees, by the haversine formula (Sinnott 1984)."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, each)) for each in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def as_position(value: str | None) -> tuple[float, float] | None:
    """(latitude, longitude) of a travel signal's value ``lat,lon``; None when it holds none."""
    try:
        lat, lon = map(float, (value or "").split(","))
    except ValueError:
        return None
    return lat, lon
