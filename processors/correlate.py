"""Sliding event-time windows over signals: which situations exist, and what each consists of.

The signals of one correlation and group, ordered by event time, fall into *situations*: runs in which no two neighbours
lie farther apart than the timespan. A window [t - timespan, t], bounds included, is looked at for each time t at which
a signal occurred; where the condition holds, the window fires and its signals are evidence. A situation with evidence
is one alert; it grows while the situation lasts, and a new one begins after the window has been empty. All of this is
a function of the set of signals alone, so any order of arrival, replay or repetition ends in the same alerts.
Conditions are gt and gte, which more signals can only make true.
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from processors.rulebook import Correlation
from schemas.alerts import Evidence, Signal

MAX_EVIDENCE = 200
"""Evidence kept per alert: the earliest. ``evidence_total`` counts the rest."""
MAX_SIGNALS = 10_000
"""Signals kept per situation; beyond it the earliest that are no evidence go, and ``capped`` counts them."""
SECOND_US = 1_000_000

SortKey = tuple[int, str, str, str, str]


class Held:
    """A signal in a window, and whether it is evidence."""

    __slots__ = ("fired", "key", "signal")

    def __init__(self, signal: Signal, fired: bool = False) -> None:
        self.signal, self.fired = signal, fired
        # Total order: event time, then ids, so that equal times order alike everywhere.
        self.key: SortKey = (signal.occurred_us, signal.partner, signal.event_id, signal.rule_id, signal.value or "")

    @property
    def at(self) -> int:
        """Event time, microseconds since 1970 UTC."""
        return self.signal.occurred_us


@dataclass
class Situation:
    """A run of signals without a gap of more than the timespan; ``start`` and ``end`` are event times, microseconds."""

    start: int
    end: int
    held: list[Held] = field(default_factory=list)
    fired_total: int = 0
    peak: int = 0
    alert_id: str | None = None
    supersedes: list[str] = field(default_factory=list)
    created_at: dt.datetime | None = None
    capped: int = 0
    joined: bool = False
    """Two situations with alerts became one and the alerts do not say so yet."""

    def insert(self, signal: Held) -> bool:
        """Add in order; False when it is already there."""
        place = bisect.bisect_left(self.held, signal.key, key=lambda each: each.key)
        if place < len(self.held) and self.held[place].key == signal.key:
            return False
        self.held.insert(place, signal)
        self.start, self.end = min(self.start, signal.at), max(self.end, signal.at)
        return True

    def absorb(self, other: Situation) -> None:
        """Take in a situation that a signal in between has joined to this one."""
        self.held = sorted((*self.held, *other.held), key=lambda each: each.key)
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.fired_total += other.fired_total
        self.peak = max(self.peak, other.peak)
        self.capped += other.capped
        self.joined = self.joined or other.joined or bool(other.alert_id)
        self.supersedes = sorted({*self.supersedes, *other.supersedes, *([other.alert_id] if other.alert_id else [])})
        known = [each for each in (self.created_at, other.created_at) if each]
        self.created_at = min(known, default=None)

    def evidence(self) -> list[Evidence]:
        """What made the windows fire, earliest first, at most ``MAX_EVIDENCE``."""
        fired = (each.signal for each in self.held if each.fired)
        return [signal.record() for signal in itertools.islice(fired, MAX_EVIDENCE)]


class Group:
    """All live situations of one correlation and group, in order of time and never within a timespan of each other."""

    def __init__(self, correlation: Correlation, values: dict[str, str], exercise: bool) -> None:
        self.correlation, self.values, self.exercise = correlation, values, exercise
        self.situations: list[Situation] = []
        self._span = correlation.timespan_s * SECOND_US

    def add(self, signals: Iterable[Signal]) -> list[Situation]:
        """Take in signals in any order; returns the situations whose alert has to be told anew."""
        touched: dict[int, tuple[int, int]] = {}
        for signal in signals:
            held = Held(signal)
            situation = self._home(held.at)
            if situation.insert(held):
                low, high = touched.get(id(situation), (held.at, held.at))
                touched[id(situation)] = (min(low, held.at), max(high, held.at))
        grown = []
        for situation in self.situations:
            if id(situation) in touched:
                # Joining may have thrown away the range of an absorbed neighbour: then look at everything.
                low, high = touched[id(situation)] if len(touched) == 1 else (situation.start, situation.end)
                if self._evaluate(situation, low, high) or situation.joined:
                    grown.append(situation)
                self._cap(situation)
        return grown

    def _home(self, at: int) -> Situation:
        """The situation that a signal at this time belongs to, joining those that it connects."""
        near = [each for each in self.situations if each.start - self._span <= at <= each.end + self._span]
        if not near:
            home = Situation(at, at)
            self.situations.append(home)
            self.situations.sort(key=lambda each: each.start)
            return home
        home, *others = near
        for other in others:
            home.absorb(other)
            self.situations.remove(other)
        return home

    def _evaluate(self, situation: Situation, low: int, high: int) -> bool:
        """Look again at the windows that end at a time in [low, high + timespan]; True when evidence was added."""
        held = situation.held
        first = bisect.bisect_left(held, low - self._span, key=lambda each: each.at)
        window = _Window(self.correlation)
        left, right, grew = first, first, False
        while right < len(held) and held[right].at <= high + self._span:
            end = held[right].at
            while right < len(held) and held[right].at == end:
                window.enter(held[right])
                right += 1
            while held[left].at < end - self._span:
                window.leave(held[left])
                left += 1
            if end < low:
                continue
            count = window.count()
            if self._holds(count):
                situation.peak = max(situation.peak, count)
                for each in held[left:right]:
                    if not each.fired:
                        each.fired = grew = True
                        situation.fired_total += 1
        return grew

    def _holds(self, count: int) -> bool:
        threshold = self.correlation.threshold
        return count > threshold if self.correlation.op == "gt" else count >= threshold

    def _cap(self, situation: Situation) -> None:
        excess = len(situation.held) - MAX_SIGNALS
        if excess > 0:
            kept, dropped = [], 0
            for each in situation.held:
                if dropped < excess and not each.fired:
                    dropped += 1
                else:
                    kept.append(each)
            situation.held, situation.capped = kept, situation.capped + dropped

    def expire(self, horizon: int) -> bool:
        """Forget what no signal at or after event time ``horizon`` can reach; True when anything went.

        ``horizon`` is the low watermark less the allowed lateness, in microseconds.
        """
        before = len(self.situations)
        self.situations = [each for each in self.situations if each.end + self._span >= horizon]
        changed = len(self.situations) < before
        for situation in self.situations:
            if situation.held and situation.held[0].at < horizon - self._span:
                kept, evidence = [], 0
                for each in situation.held:
                    evidence += each.fired
                    if each.at >= horizon - self._span or (each.fired and evidence <= MAX_EVIDENCE):
                        kept.append(each)
                changed = changed or len(kept) < len(situation.held)
                situation.held = kept
        return changed


class _Window:
    """What a window holds while it slides: distinct events, values or base rules."""

    def __init__(self, correlation: Correlation) -> None:
        self._type = correlation.type
        self._seen: Counter[Any] = Counter()

    def _thing(self, held: Held) -> Any:
        match self._type:
            case "event_count":
                return held.signal.partner, held.signal.event_id
            case "value_count":
                return held.signal.value
            case _:
                return held.signal.rule_id

    def enter(self, held: Held) -> None:
        self._seen[self._thing(held)] += 1

    def leave(self, held: Held) -> None:
        thing = self._thing(held)
        self._seen[thing] -= 1
        if not self._seen[thing]:
            del self._seen[thing]

    def count(self) -> int:
        return len(self._seen) - (None in self._seen)


def dump(group: Group) -> bytes:
    """A group's state for the changelog; :func:`restore` reads it back."""
    return orjson.dumps(
        {
            "group": group.values,
            "exercise": group.exercise,
            "situations": [
                {
                    "start": each.start,
                    "end": each.end,
                    "fired_total": each.fired_total,
                    "peak": each.peak,
                    "alert_id": each.alert_id,
                    "supersedes": each.supersedes,
                    "created_at": each.created_at,
                    "capped": each.capped,
                    "held": [[h.fired, orjson.Fragment(h.signal.to_json())] for h in each.held],
                }
                for each in group.situations
            ],
        }
    )


def restore(correlation: Correlation, state: bytes) -> Group:
    """Rebuild a group from :func:`dump`.

    Raises:
        ValueError: the bytes are not a state of this version.
    """
    content = orjson.loads(state)
    group = Group(correlation, content["group"], content["exercise"])
    for each in content["situations"]:
        created = each["created_at"]
        group.situations.append(
            Situation(
                each["start"],
                each["end"],
                [Held(Signal.from_content(content), fired) for fired, content in each["held"]],
                each["fired_total"],
                each["peak"],
                each["alert_id"],
                each["supersedes"],
                dt.datetime.fromisoformat(created) if created else None,
                each["capped"],
            )
        )
    return group
