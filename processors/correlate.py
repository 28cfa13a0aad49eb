"""The signals of one correlation and group: which windows fire, and which situations there are.

``SEMANTICS.md`` says in words what this computes. Everything is a function of the set of signals, and for absence of
how far event time has come, so any order of arrival, replay or repetition ends in the same situations.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Literal

from processors.evidence import Shown
from processors.rulebook import Correlation
from processors.windows import Number, Window, as_position, distance_km, window_of
from schemas.alerts import Signal
from streams.watermarks import SECOND_US

MAX_EVIDENCE = 200
"""Pieces of evidence kept per alert: the earliest. ``evidence_total`` counts the rest."""
HOUR_US = 3600 * SECOND_US
NEVER = 1 << 62

SortKey = tuple[int, str, str, str, str]
Target = tuple[str, tuple[str, ...], str | None]
"""A window of a correlation above: its rule id, the values of its group, and the value that it looks at."""
Sent = tuple[str, int, list[Target]]
"""What the correlations above were told of a firing: alert id, checksum of the evidence, and to whom."""
Withdrawn = tuple[str, int, list[Target]]
"""What they were told and is not so any more: alert id, event time of the firing, and to whom."""


class Held:
    """A signal in a group. ``key`` is its identity and its place: event time, then ids, so that equal times order alike
    everywhere. ``since`` is the start of the evidence when the window that ends here fires; ``shown`` is
    its evidence as an alert shows it, once one has, ``row`` what the state writes of it, and ``chunk`` the number of
    the chunk of the state that it is in, 0 with the latest."""

    __slots__ = (
        "at",
        "chunk",
        "event_id",
        "evidence",
        "fired",
        "key",
        "observed",
        "partner",
        "row",
        "rule_id",
        "sent",
        "shown",
        "since",
        "value",
        "values",
    )

    def __init__(self, at: int, partner: str, event_id: str, rule_id: str, value: str | None, evidence: bytes) -> None:
        self.at, self.partner, self.event_id, self.rule_id, self.value = at, partner, event_id, rule_id, value
        self.evidence = evidence
        self.key: SortKey = (at, partner, event_id, rule_id, value or "")
        self.fired = False
        self.since: int | None = None
        self.observed: Number = 0
        self.values: frozenset[str] | None = None
        self.sent: Sent | None = None
        self.shown: Shown | None = None
        self.row: bytes | None = None
        self.chunk = 0

    def clear(self) -> None:
        if self.since is not None:
            self.since, self.observed, self.values, self.row = None, 0, None, None


at_of, _key_of = attrgetter("at"), attrgetter("key")


@dataclass
class Told:
    """What the world was told under one alert id. ``anchor`` is the time of its earliest evidence, ``last`` that
    evidence once the alert is retracted; ``dropped`` counts evidence that is no longer held."""

    version: int
    status: Literal["open", "superseded", "retracted"]
    anchor: int
    created_us: int
    superseded_by: str | None = None
    dropped: int = 0
    last: bytes = b""


@dataclass
class Run:
    """Signals of one situation: no neighbours farther apart than the timespan. ``dirty``: its evidence changed."""

    held: list[Held]
    start: int
    end: int
    dirty: bool = False

    def evidence(self) -> list[Held]:
        """What made its windows fire, earliest first."""
        return [each for each in self.held if each.fired]

    def firings(self) -> list[Held]:
        return [each for each in self.held if each.since is not None]


class Group:
    """All that is held of one correlation and one value of its group. ``chunks`` says how many signals each chunk of
    the state was written with."""

    def __init__(self, correlation: Correlation, values: tuple[str, ...], exercise: bool) -> None:
        self.correlation, self.values, self.exercise = correlation, values, exercise
        self.held: list[Held] = []
        self.told: dict[str, Told] = {}
        self.withdrawn: list[Withdrawn] = []
        self.removed: list[Held] = []
        self._tail: tuple[Window, int, int] | None = None
        self.bridges: list[tuple[int, int]] = []
        self.clock = -NEVER
        self.revision = 0
        self.capped = 0
        self.chunks: dict[int, int] = {}
        self.last_chunk = 0
        self.span = correlation.timespan_s * SECOND_US

    def add(self, signals: Iterable[Signal]) -> list[Run]:
        """Take in signals in any order; returns the runs that may have to be told anew."""
        low, high = NEVER, -NEVER
        touched: set[int] = set()
        for signal in signals:
            at = self._apply(signal, touched)
            if at is not None:
                low, high = min(low, at), max(high, at)
        if low > high:
            return []
        runs = self._evaluate(low, high, touched)
        for run in runs:
            # What was at an edge of the run, or held two of them together, lies outside of what is left.
            near = (run.start - self.span, run.end + self.span)
            run.dirty = run.dirty or any(near[0] <= each.at <= near[1] for each in self.removed)
        return runs

    def _apply(self, signal: Signal, touched: set[int]) -> int | None:
        """Insert, replace or remove; returns the event time where something changed."""
        new = Held(signal.occurred_us, signal.partner, signal.event_id, signal.rule_id, signal.value, signal.evidence)
        place = bisect.bisect_left(self.held, new.key, key=_key_of)
        known = self.held[place] if place < len(self.held) and self.held[place].key == new.key else None
        if signal.withdrawn:
            if known is None:
                return None
            del self.held[place]
            self._tail = None
            self.removed.append(known)
        elif known is None:
            if place < len(self.held):
                self._tail = None
            self.held.insert(place, new)
        elif not signal.partner and known.evidence != new.evidence:
            # Only a correlation's signal may say more on a second telling; an event is what it was. A copy, for alerts
            # that wait to be told show what it said before.
            known = self.held[place] = copy(known)
            known.evidence, known.shown, known.row = new.evidence, None, None
            touched.add(id(known))
        else:
            return None
        return new.at

    def advance(self, low_us: int) -> list[Run]:
        """Event time has passed ``low_us``; decides what waited for absence."""
        before, self.clock = self.clock, max(self.clock, low_us)
        if self.correlation.type != "absence" or self.clock == before:
            return []
        return self._evaluate(max(before, -HOUR_US * 10**6) - self.span, self.clock - self.span, set())

    def _evaluate(self, low: int, high: int, touched: set[int]) -> list[Run]:
        """Look again at every window that a change between ``low`` and ``high`` can affect."""
        span = self.span
        # An absence is of the signal at the beginning of its window, all else is of the one at its end.
        first, last = self._slice(low - span if self.correlation.type == "absence" else low, high + span)
        marks = [(each, each.since, each.observed, each.values) for each in self.held[first:last]]
        match self.correlation.type:
            case "absence":
                self._absences(first, last)
            case "travel":
                self._journeys(first, last)
            case _:
                self._windows(low, high + span)
        flipped = self._flag(low - span, high + span)
        flipped |= touched
        flipped |= {
            id(each)
            for each, since, observed, values in marks
            if (each.since, each.observed, each.values) != (since, observed, values)
        }
        found = []
        for run in self.runs():
            if run.start <= high + span and run.end >= low - span:
                run.dirty = not flipped.isdisjoint(map(id, run.held))
                found.append(run)
        return found

    def _slice(self, low: int, high: int) -> tuple[int, int]:
        """Indexes of what is held from ``low`` to ``high``, both included."""
        return bisect.bisect_left(self.held, low, key=at_of), bisect.bisect_right(self.held, high, key=at_of)

    def _windows(self, low: int, high: int) -> None:
        """Ask the windows that end from ``low`` to ``high``."""
        held, tail = self.held, self._tail
        if tail is not None and held[tail[2] - 1].at < low:
            window, left, right = tail
        else:
            left = right = bisect.bisect_left(held, low - self.span, key=at_of)
            window = window_of(self.correlation)
        while right < len(held) and held[right].at <= high:
            start, end = right, held[right].at
            while right < len(held) and held[right].at == end:
                window.enter(held[right])
                right += 1
            while held[left].at < end - self.span:
                window.leave(held[left])
                left += 1
            if end < low:
                continue
            for each in held[start:right]:
                if each.since is not None:
                    each.clear()
            firing = window.observe()
            if firing is not None:
                last = held[right - 1]
                last.since, last.observed, last.values = end - self.span, firing.observed, firing.values
                last.row = None
        # What comes in order goes on from here, without looking at all of the window again.
        self._tail = (window, left, right) if right == len(held) and right else None

    def _absences(self, first: int, last: int) -> None:
        absent = set(self.correlation.absent)
        for place in range(first, last):
            each = self.held[place]
            each.clear()
            if each.rule_id in absent or each.at + self.span >= self.clock:
                continue
            start, end = self._slice(each.at, each.at + self.span)
            alone = not any(other.rule_id in absent for other in self.held[start:end])
            # One mark for all signals of that time: what follows is the same for each of them.
            if alone and self._slice(each.at, each.at)[1] == place + 1:
                each.since, each.row = each.at, None

    def _journeys(self, first: int, last: int) -> None:
        for each in self.held[first:last]:
            each.clear()
        for place in range(max(first, 1), last):
            before, here = self.held[place - 1], self.held[place]
            speed = self._speed(before, here)
            if speed is not None:
                # The mark of a window sits on the last signal of its end, so that it reaches all of that time.
                end = self.held[self._slice(here.at, here.at)[1] - 1]
                end.since = before.at if end.since is None else min(end.since, before.at)
                end.observed, end.row = max(end.observed, speed), None

    def _speed(self, before: Held, here: Held) -> Number | None:
        """Speed in km/h at which no one travels, from one sighting to the next; None where it can have been."""
        one, other, elapsed = as_position(before.value), as_position(here.value), here.at - before.at
        if one is None or other is None or elapsed > self.span:
            return None
        km = distance_km(one, other)
        if km < self.correlation.min_distance_km or km * HOUR_US <= self.correlation.max_speed_kmh * elapsed:
            return None
        return Fraction(round(km * HOUR_US / elapsed) if elapsed else round(km))

    def _flag(self, low: int, high: int) -> set[int]:
        """Mark the signals from ``low`` to ``high`` that lie in a window that fires; returns those that changed."""
        _, place = self._slice(low, high + self.span)
        reach, by_value = NEVER, dict[str | None, int]()
        flipped = set()
        while place:
            place -= 1
            each = self.held[place]
            if each.at < low:
                break
            if each.since is not None:
                if each.values is None:
                    reach = min(reach, each.since)
                else:
                    by_value |= {value: min(by_value.get(value, NEVER), each.since) for value in each.values}
            if each.at > high:
                continue
            fired = reach <= each.at or by_value.get(each.value, NEVER) <= each.at
            if fired != each.fired:
                each.fired, each.row = fired, None
                flipped.add(id(each))
        return flipped

    def runs(self) -> Iterator[Run]:
        """The situations, earliest first."""
        held, span, place, count = self.held, self.span, 0, len(self.held)
        while place < count:
            start, begin = place, held[place].at
            end = begin
            while True:
                while place < count and (at := held[place].at) - end <= span:
                    if at > end:
                        end = at
                    place += 1
                if not self.bridges:
                    break
                # Where earlier signals were given up, the situation went on although nothing of it is held.
                further = max((b[1] for b in self.bridges if b[0] <= end + span), default=end)
                if further <= end or further < begin:
                    break
                end = further
            yield Run(held[start:place], begin, end)

    def cap(self) -> int:
        """Give up the earliest signals beyond ``max_signals``, evidence that is shown last; returns how many."""
        excess = len(self.held) - self.correlation.max_signals
        if excess <= 0:
            return 0
        return self._drop(lambda _: True, excess)

    def may_expire(self, horizon_us: int) -> bool:
        """Whether anything may be beyond the reach of signals at or after ``horizon_us``."""
        return not self.held or self.held[0].at + self.span < horizon_us or bool(self.withdrawn)

    def expire(self, horizon_us: int) -> bool:
        """Forget what no signal at or after ``horizon_us`` can reach; True when anything went."""
        if not self.may_expire(horizon_us):
            return False
        span, before = self.span, len(self.held) + len(self.told) + len(self.withdrawn)
        live: list[Held] = []
        gone: list[Run] = []
        for run in self.runs():
            if run.end + span < horizon_us:
                gone.append(run)
            else:
                live += run.held
        if gone:
            self.held, self._tail = live, None
            last = max(run.end for run in gone)
            self.bridges = [each for each in self.bridges if each[1] > last]
            self.told = {key: each for key, each in self.told.items() if each.anchor > last}
        if not self.held:
            self.told = {key: each for key, each in self.told.items() if each.anchor + span >= horizon_us}
        self.withdrawn = [each for each in self.withdrawn if each[1] + span >= horizon_us]
        if self.held and self.held[0].at < horizon_us - span:
            self._drop(lambda each: each.at < horizon_us - span, len(self.held))
        return len(self.held) + len(self.told) + len(self.withdrawn) < before

    def _drop(self, may_go: Callable[[Held], bool], most: int) -> int:
        """Drop up to ``most`` of the earliest signals that may go, but none of the evidence that alerts show."""
        kept: list[Held] = []
        dropped = 0
        for run in list(self.runs()):
            shown, ids = 0, [each for each in self.told.values() if run.start <= each.anchor <= run.end]
            until = None
            for each in run.held:
                shown += each.fired
                if dropped < most and may_go(each) and not (each.fired and shown <= MAX_EVIDENCE):
                    dropped += 1
                    until = each.at
                    for told in ids:
                        told.dropped += each.fired
                else:
                    kept.append(each)
            if until is not None and kept:
                self.bridges = [b for b in self.bridges if not run.start <= b[0] <= run.end] + [(run.start, until)]
        self.held, self._tail = kept, None
        return dropped

    def due(self, lateness_us: int) -> int:
        """Event time that the low watermark must pass before anything is to be done here unasked."""
        last = max(
            *(each.at for each in self.held[-1:]),
            *(each.anchor for each in self.told.values()),
            *(at for _, at, _ in self.withdrawn),
            *(end for _, end in self.bridges),
            *(-NEVER, -NEVER),
        )
        expiry = last + self.span + lateness_us
        if self.correlation.type == "absence":
            absent = set(self.correlation.absent)
            waiting = (
                each.at + self.span
                for each in self.held
                if each.rule_id not in absent and each.at + self.span >= self.clock
            )
            return min(expiry, min(waiting, default=expiry))
        return expiry
