"""Which alert makes which others less pressing: a confirmed incident those on the same place and time.

As in Alertmanager: an alert never inhibits itself, two that meet both sides of a rule never inhibit each other, a field
that is missing equals one that is empty. Exercise and live alerts never inhibit each other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from processors.lifecycle.matchers import matches, values
from processors.lifecycle.roster import InhibitRule
from processors.windows import distance_km
from schemas.lifecycle import AlertState

_KM_PER_DEGREE = 111.0
"""A little less than a degree of latitude has, so that neighbours in bands are never missed."""
Key = tuple[int, bool, tuple[tuple[str, ...], ...], int]
"""Rule, exercise, values of its ``equal`` fields, band of latitude."""


@dataclass(frozen=True, slots=True)
class _Part:
    """An alert's part in one rule."""

    rule: int
    key: Key
    is_source: bool
    is_target: bool


class Inhibition:
    """Index of active alerts by what the rules compare, so that only those that may be close are looked at."""

    def __init__(self, rules: tuple[InhibitRule, ...], states: Mapping[str, AlertState]) -> None:
        """``states`` is the live mapping: read, never written."""
        self._rules = rules
        self._states = states
        self._sources: dict[Key, set[str]] = defaultdict(set)
        self._targets: dict[Key, set[str]] = defaultdict(set)
        self._parts: dict[str, dict[int, _Part]] = {}
        for state in states.values():
            self.put(state)

    def put(self, state: AlertState) -> None:
        """Take note of an alert as it is now."""
        self.drop(state.alert_id)
        if not state.is_active:
            return
        parts: dict[int, _Part] = {}
        for number, rule in enumerate(self._rules):
            key = _key(number, rule, state)
            if key is None:
                continue
            part = _Part(number, key, matches(rule.source, state), matches(rule.target, state))
            if part.is_source:
                self._sources[key].add(state.alert_id)
            if part.is_target:
                self._targets[key].add(state.alert_id)
            if part.is_source or part.is_target:
                parts[number] = part
        if parts:
            self._parts[state.alert_id] = parts

    def drop(self, alert_id: str) -> None:
        """Forget an alert."""
        for part in self._parts.pop(alert_id, {}).values():
            for index in (self._sources, self._targets):
                if alert_id in index.get(part.key, ()):
                    index[part.key].discard(alert_id)
                    if not index[part.key]:
                        del index[part.key]

    def inhibitor(self, target: AlertState) -> str | None:
        """The alert that inhibits ``target``: the one that does already while it may, else the earliest."""
        if target.inhibited_by is not None and self.holds(target.inhibited_by, target.alert_id):
            return target.inhibited_by
        found = {
            each
            for part in self._parts.get(target.alert_id, {}).values()
            if part.is_target
            for near in _near(part.key)
            for each in self._sources.get(near, ())
            if self._inhibits(part.rule, each, target.alert_id)
        }
        return min(found, key=lambda each: (self._states[each].raised_at, each), default=None)

    def targets(self, source_id: str) -> set[str]:
        """Alerts that the source would inhibit and that nothing inhibits yet."""
        return {
            each
            for part in self._parts.get(source_id, {}).values()
            if part.is_source
            for near in _near(part.key)
            for each in self._targets.get(near, ())
            if self._states[each].inhibited_by is None and self._inhibits(part.rule, source_id, each)
        }

    def holds(self, source_id: str, target_id: str) -> bool:
        """Whether the one inhibits the other."""
        return any(self._inhibits(number, source_id, target_id) for number in self._parts.get(target_id, ()))

    def _inhibits(self, number: int, source_id: str, target_id: str) -> bool:
        source, target = (self._parts.get(each, {}).get(number) for each in (source_id, target_id))
        if source is None or target is None or source_id == target_id or source.key[:3] != target.key[:3]:
            return False
        if not source.is_source or not target.is_target or (source.is_target and target.is_source):
            return False
        return _close(self._rules[number], self._states[source_id], self._states[target_id])


def _key_values(rule: InhibitRule, state: AlertState) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(sorted(values(state, field))) for field in rule.equal)


def _key(number: int, rule: InhibitRule, state: AlertState) -> Key | None:
    """None where the rule asks for a place and the alert has none."""
    band = 0
    if rule.within_km is not None:
        if state.lat is None or state.lon is None:
            return None
        band = math.floor(state.lat * _KM_PER_DEGREE / max(rule.within_km, 1.0))
    return number, state.exercise, _key_values(rule, state), band


def _near(key: Key) -> Iterator[Key]:
    number, exercise, equal, band = key
    return ((number, exercise, equal, each) for each in (band - 1, band, band + 1))


def _close(rule: InhibitRule, source: AlertState, target: AlertState) -> bool:
    """Close in time, by the gap between the events of one and of the other, and in space."""
    gap = max(source.first_event_at, target.first_event_at) - min(source.last_event_at, target.last_event_at)
    if gap.total_seconds() > rule.within_s:
        return False
    if rule.within_km is None:
        return True
    if source.lat is None or source.lon is None or target.lat is None or target.lon is None:
        return False
    return distance_km((source.lat, source.lon), (target.lat, target.lon)) <= rule.within_km
