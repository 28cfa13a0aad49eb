"""All windows of one partition of signals: what arrives goes to its group, what is concluded comes out."""

from __future__ import annotations

import datetime as dt
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from processors.alerts import from_detection
from processors.conclude import Effects, conclude, tell_again
from processors.correlate import NEVER, Group
from processors.group_state import head, named, pack, unpack
from processors.rulebook import Correlation, Detection, Rulebook
from processors.wheel import Wheel
from schemas.alerts import Signal
from streams.watermarks import SECOND_US

MAX_WARM = 50_000
MIN_WARM = 8
"""A group with fewer signals is read from its bytes in no time."""
GroupKey = tuple[str, str]
"""Fingerprint of the correlation, and live or exercise with the values of the group."""
StateKey = tuple[str, str, int]
"""A group and the number of a chunk of its state, 0 for its head."""
States = dict[StateKey, bytes | None]
"""Records to be written in this order, None for what is gone."""


class Shelf:
    """The groups of one correlation, packed, and when each is due."""

    def __init__(self, correlation: Correlation, allowed_lateness_s: int) -> None:
        self.correlation = correlation
        own = correlation.allowed_lateness_s
        self.lateness_us = SECOND_US * (allowed_lateness_s if own is None else own)
        self.groups: dict[str, bytes] = {}
        self.chunks: dict[str, dict[int, bytes]] = {}
        self.wheel = Wheel()

    def unpack(self, text: str) -> Group:
        """A group that is held, as an object."""
        return unpack(self.correlation, self.groups[text], self.chunks.get(text, {}))


class Warm:
    """Groups that were touched lately, as objects beside their bytes, up to a total of held signals."""

    def __init__(self) -> None:
        self._groups: OrderedDict[GroupKey, Group] = OrderedDict()
        self._held = 0

    def take(self, key: GroupKey) -> Group | None:
        """Take a group out, to change it."""
        group = self._groups.pop(key, None)
        self._held -= len(group.held) if group else 0
        return group

    def put(self, key: GroupKey, group: Group) -> None:
        """Keep a group as it is now packed; those touched longest ago make room."""
        self._groups[key] = group
        self._held += len(group.held)
        while self._held > MAX_WARM and len(self._groups) > 1:
            _, oldest = self._groups.popitem(last=False)
            self._held -= len(oldest.held)


class Correlator:
    """Windows of every correlation of a rulebook. Pure: no clock, no I/O; the same signals give the same alerts.

    ``counts`` holds what was not taken in and why: ``late``, ``stale`` (of a rule that is no longer in force),
    ``capped`` signals and ``evicted`` groups, by (what, rule id).
    """

    def __init__(self, rulebook: Rulebook, allowed_lateness_s: int) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._lateness_s = allowed_lateness_s
        self._shelves: dict[str, Shelf] = {}
        self._low: dict[int, int] = {}
        self._changed: States = {}
        self._to_expire: dict[GroupKey, None] = {}
        self.use(rulebook)

    def use(self, rulebook: Rulebook) -> None:
        """Go over to another rulebook. Groups of correlations that are the same in both are kept, others go."""
        self.rulebook = rulebook
        self._warm = Warm()
        before = self._shelves
        self._shelves = {
            each.fingerprint: before.get(each.fingerprint) or Shelf(each, self._lateness_s)
            for each in rulebook.correlations
        }
        for fingerprint in before.keys() - self._shelves.keys():
            for text in list(before[fingerprint].groups):
                self._remove(before[fingerprint], text, self._changed)

    def add(self, signals: Iterable[Signal], now: dt.datetime) -> Effects:
        """Take in signals in any order; ``now`` (aware, UTC) stamps the alerts."""
        effects = Effects()
        grouped: dict[GroupKey, list[Signal]] = defaultdict(list)
        for signal in signals:
            if signal.correlation_id:
                grouped[signal.fingerprint, signal.group_text].append(signal)
            else:
                rule = self.rulebook.by_id.get(signal.rule_id)
                if isinstance(rule, Detection):
                    effects.alerts.append(from_detection(rule, signal, now))
                else:
                    self.counts["stale", signal.rule_id] += 1
        for (fingerprint, text), members in grouped.items():
            shelf = self._shelves.get(fingerprint)
            if shelf is None:
                self.counts["stale", members[0].correlation_id] += len(members)
                continue
            self._add(shelf, text, members, now, effects)
        return effects

    def _add(self, shelf: Shelf, text: str, signals: list[Signal], now: dt.datetime, effects: Effects) -> None:
        rule = shelf.correlation
        low = self._low.get(rule.depth, -NEVER)
        # Behind the horizon state may be gone already: a window that is half there would lie.
        horizon = low - shelf.lateness_us
        timely = [each for each in signals if each.occurred_us >= horizon and each.rule_id in rule.watched]
        if len(timely) < len(signals):
            self.counts["late", rule.meta.id] += len(signals) - len(timely)
        if not timely:
            return
        state = shelf.groups.get(text)
        if state is None:
            if len(shelf.groups) >= rule.max_groups:
                self._evict(shelf)
            group = Group(rule, timely[0].group, timely[0].exercise)
        else:
            group = self._warm.take((rule.fingerprint, text)) or shelf.unpack(text)
        effects.extend(conclude(group, group.advance(low), self.rulebook, now))
        effects.extend(conclude(group, group.add(timely), self.rulebook, now))
        capped = group.cap()
        if capped:
            group.capped += capped
            self.counts["capped", rule.meta.id] += capped
        if group.may_expire(horizon):
            self._to_expire[rule.fingerprint, text] = None
        self._keep(shelf, text, group, self._changed)

    def advance(self, low_us: int, now: dt.datetime, depth: int = 1) -> Effects:
        """Event time has passed ``low_us`` (microseconds since 1970 UTC) for correlations of ``depth``: what waited
        for absence is decided, what no event in time can reach is forgotten."""
        effects = Effects()
        # Also where it has not moved: a worker that took over has not looked at its groups yet.
        if low_us < self._low.get(depth, -NEVER):
            return effects
        self._low[depth] = low_us
        for shelf in self._shelves.values():
            if shelf.correlation.depth != depth:
                continue
            for text in shelf.wheel.due(low_us):
                state = shelf.groups.get(text)
                if state is None:
                    continue
                due, _ = head(state)
                if due >= low_us:
                    shelf.wheel.add(due, text)
                    continue
                key = (shelf.correlation.fingerprint, text)
                group = self._warm.take(key) or shelf.unpack(text)
                if runs := group.advance(low_us):
                    effects.extend(conclude(group, runs, self.rulebook, now))
                    self._keep(shelf, text, group, self._changed)
                self._to_expire[key] = None
        return effects

    def _keep(self, shelf: Shelf, text: str, group: Group, changes: States) -> None:
        if not (group.held or group.told or group.withdrawn):
            self._remove(shelf, text, changes)
            return
        fingerprint = shelf.correlation.fingerprint
        due = group.due(shelf.lateness_us)
        state = shelf.groups.get(text)
        packed = pack(group, due)
        shelf.groups[text] = packed.head
        for number, chunk in packed.chunks.items():
            shelf.chunks.setdefault(text, {})[number] = chunk
            _note(changes, (fingerprint, text, number), chunk)
        _note(changes, (fingerprint, text, 0), packed.head)
        for number in packed.gone:
            del shelf.chunks[text][number]
            _note(changes, (fingerprint, text, number), None)
        self._warm.take((fingerprint, text))
        if len(group.held) >= MIN_WARM:
            self._warm.put((fingerprint, text), group)
        # One that is due later finds its way on when its old time comes.
        if state is None or head(state)[0] > due or head(state)[0] < self._low.get(shelf.correlation.depth, -NEVER):
            shelf.wheel.add(due, text)

    def _remove(self, shelf: Shelf, text: str, changes: States) -> None:
        fingerprint = shelf.correlation.fingerprint
        self._warm.take((fingerprint, text))
        shelf.groups.pop(text, None)
        for number in (0, *shelf.chunks.pop(text, ())):
            _note(changes, (fingerprint, text, number), None)

    def _evict(self, shelf: Shelf) -> None:
        """Make room: the group that would go first goes now."""
        while (text := shelf.wheel.earliest()) is not None:
            if text in shelf.groups:
                self._remove(shelf, text, self._changed)
                self.counts["evicted", shelf.correlation.meta.id] += 1
                return

    def changed(self) -> States:
        """States that changed since the last call: to be written to the changelog before the effects are told, so that
        whoever takes over knows what may have been told."""
        found, self._changed = self._changed, {}
        return found

    def forget(self) -> tuple[States, set[str]]:
        """Forget what no event in time can reach. Returns the states without it, to be written after the effects were
        told and after what has :meth:`changed`, and the ids of the alerts that are forgotten: what is no longer in the
        state is not told again."""
        states: States = {}
        alerts: set[str] = set()
        for fingerprint, text in self._to_expire:
            shelf = self._shelves.get(fingerprint)
            if shelf is None or text not in shelf.groups:
                continue
            low = self._low.get(shelf.correlation.depth, -NEVER)
            group = self._warm.take((fingerprint, text)) or shelf.unpack(text)
            group.advance(low)
            told = set(group.told)
            # Where its time has come although nothing goes, it has to be looked at again at its next time.
            if group.expire(low - shelf.lateness_us) or head(shelf.groups[text])[0] < low:
                self._keep(shelf, text, group, states)
                alerts |= told - group.told.keys()
            elif len(group.held) >= MIN_WARM:
                self._warm.put((fingerprint, text), group)
        self._to_expire.clear()
        return states, alerts

    def group(self, key: GroupKey) -> Group | None:
        """The group as it is now, to be looked at; None where it is not held."""
        shelf = self._shelves.get(key[0])
        return shelf.unpack(key[1]) if shelf is not None and key[1] in shelf.groups else None

    def restore(self, states: Mapping[StateKey, bytes], lows: dict[int, int], now: dt.datetime) -> Effects:
        """Take over what another worker wrote; returns everything that may not have been told.

        ``lows`` is the event time by depth up to which that worker had come.

        Raises:
            StateError: a state is not of this version, or a chunk is missing that its head names.
        """
        effects = Effects()
        self._low = dict(lows)
        for (fingerprint, text, number), state in states.items():
            shelf = self._shelves.get(fingerprint)
            if shelf is None:
                self._changed[fingerprint, text, number] = None
            elif number:
                shelf.chunks.setdefault(text, {})[number] = state
            else:
                shelf.groups[text] = state
        for shelf in self._shelves.values():
            self._drop_unnamed(shelf)
            for text, state in shelf.groups.items():
                due, speaks = head(state)
                shelf.wheel.add(due, text)
                if speaks:
                    effects.extend(tell_again(shelf.unpack(text), self.rulebook, now))
        return effects

    def _drop_unnamed(self, shelf: Shelf) -> None:
        """Chunks that no head names are of a write that was cut off."""
        for text, chunks in list(shelf.chunks.items()):
            known = named(shelf.correlation, shelf.groups[text]) if text in shelf.groups else []
            for number in chunks.keys() - set(known):
                del chunks[number]
                self._changed[shelf.correlation.fingerprint, text, number] = None
            if not chunks:
                del shelf.chunks[text]

    @property
    def lows(self) -> dict[int, int]:
        """Event time by depth of correlation that has been passed, microseconds since 1970 UTC."""
        return dict(self._low)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """(rule id, groups held) of each correlation."""
        for shelf in self._shelves.values():
            yield shelf.correlation.meta.id, len(shelf.groups)


def _note(changes: States, key: StateKey, state: bytes | None) -> None:
    """At the end, also where an earlier state of the same record waits."""
    changes.pop(key, None)
    changes[key] = state
