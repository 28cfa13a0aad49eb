"""The rule engine over JSON events at hand, without Kafka and without a clock.

Matching, groups and windows are the stream's own (:class:`Matcher`, :class:`SignalMaker`, :class:`Correlator`); only
how events are read differs. Events are taken in order of event time, so none is late.
"""

from __future__ import annotations

import datetime as dt
import gc
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from processors.alerts import Telling, pieces_of
from processors.conclude import Effects
from processors.correlate import Held
from processors.correlator import Correlator
from processors.event_time import micros_of
from processors.evidence import Piece
from processors.fields import Rows
from processors.group_state import head
from processors.json_events import JsonEvents, as_text, flat, position, tlp_symbol, value_of
from processors.matcher import Matcher
from processors.rulebook import Detection, Rule, Rulebook
from processors.signals import SignalMaker
from processors.times import micros
from processors.validate import UUID_PATTERN
from schemas.alerts import EVIDENCE_COLUMNS, TLP_ORDER, Signal
from schemas.registry import FAMILIES, UnknownFamily, family_of, load_schema
from streams.shape import HANDLING_FIELDS, HEADER_FIELDS, LOCATION_FIELDS
from streams.watermarks import SECOND_US

_OCCURRED, _SUMMARY, _RULE, _MATCHED, _OFFSET, _EXERCISE = map(
    EVIDENCE_COLUMNS.index, ("occurred_us", "summary", "rule_id", "matched", "offset", "exercise")
)
_UUID = re.compile(UUID_PATTERN)
NOBODY = "local"
"""Partner of events that name none."""


@dataclass(frozen=True, slots=True)
class OfflineAlert:
    """What a rule concluded. ``numbers`` are those under which the evidence was handed in, sorted, once each; times
    are microseconds since 1970 UTC."""

    rule: Rule
    group: dict[str, str]
    first_us: int
    last_us: int
    numbers: tuple[int, ...]
    exercise: bool
    story: str


@contextmanager
def without_collector() -> Iterator[None]:
    """Spare the search for cycles: events of JSON have none, and it would take longer than everything else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Offline:
    """Runs a rulebook over events that come in order of event time. ``family`` is that of all events; None looks at
    each event for it."""

    def __init__(self, book: Rulebook, family: str | None = None) -> None:
        self._book, self._family = book, family
        self._matchers: dict[str, _FamilyMatcher] = {}
        for name in {each.family for each in book.detections}:
            self._matchers[name] = _FamilyMatcher([each for each in book.detections if each.family == name])
        self._correlator, self._maker = Correlator(book, 0), SignalMaker(book, 0)
        self._alone: dict[tuple[str, str, str], OfflineAlert] = {}
        self._joint: dict[str, OfflineAlert] = {}
        self._depth = max((each.depth for each in book.correlations), default=0)
        self._cut: dict[str, set[int]] = {}
        self._now = dt.datetime.now(dt.UTC)

    @property
    def alerts(self) -> int:
        """Alerts so far."""
        return len(self._alone) + len(self._joint)

    def add(self, events: Sequence[dict[str, Any]], occurred_us: Sequence[int], numbers: Sequence[int]) -> None:
        """Take in events in order of event time, none earlier than those before; ``numbers`` identify them."""
        if not events:
            return
        signals: list[Signal] = []
        for family, rows in self._by_family(events):
            batch = JsonEvents(family, [events[row] for row in rows])
            pieces: dict[int, Piece] = {}
            for detection, hits in self._matchers[family].match(batch):
                for hit in hits.tolist():
                    if hit not in pieces:
                        row = rows[hit]
                        pieces[hit] = _piece(family, events[row], occurred_us[row], numbers[row])
                if detection.alerts:
                    for hit in hits.tolist():
                        self._conclude(detection, pieces[hit])
                if self._book.watchers.get(detection.meta.id):
                    signals += self._signals(detection, batch, hits, pieces)
        self._take(self._correlator.add(signals, self._now))
        # Events of the same time may still come.
        self._advance(occurred_us[-1] - 1)

    @property
    def undecided_us(self) -> int:
        """How long after the last event, in microseconds, nothing waits for the absence of another any more."""
        return SECOND_US * (1 + sum(each.timespan_s for each in self._book.correlations))

    def close(self, until_us: int) -> list[OfflineAlert]:
        """Let event time come to ``until_us`` and no further; returns all alerts by the time of first evidence."""
        self._advance(until_us)
        joint = (
            replace(alert, numbers=tuple(sorted({*alert.numbers, *self._cut.get(key, ())})))
            for key, alert in self._joint.items()
        )
        found = [*self._alone.values(), *joint]
        return sorted(found, key=lambda each: (each.first_us, each.numbers, each.rule.meta.id))

    def _by_family(self, events: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[int]]]:
        """Rows of each family that has rules; rules of no family see every event."""
        if "" in self._matchers:
            yield "", list(range(len(events)))
        if not any(self._matchers):
            return
        found: dict[str, list[int]] = defaultdict(list)
        for row, event in enumerate(events):
            for family in (self._family,) if self._family else families_of(event):
                found[family].append(row)
        yield from ((family, rows) for family, rows in found.items() if family in self._matchers)

    def _conclude(self, detection: Detection, piece: Piece) -> None:
        """A rule that needs no other event."""
        at, number, drill = piece[_OCCURRED], piece[_OFFSET], piece[_EXERCISE]
        title, summary = detection.meta.title, piece[_SUMMARY]
        story = f"{title}: {summary}" if summary else title
        alert = OfflineAlert(detection, {}, at, at, (number,), drill, story)
        self._alone.setdefault((detection.meta.id, *piece[:2]), alert)

    def _signals(
        self, detection: Detection, batch: JsonEvents, hits: Rows, pieces: Mapping[int, Piece]
    ) -> Iterator[Signal]:
        carried = dict.fromkeys((*detection.fields, *self._book.carried[detection.meta.id]))
        values = {name: batch.values(name) for name in carried}
        for hit in hits.tolist():
            piece = pieces[hit].copy()
            piece[_RULE] = detection.meta.id
            piece[_MATCHED] = {
                name: plain for name, column in values.items() if (plain := _plain(column[hit])) not in (None, [])
            }
            yield from (each for each in self._maker.of_event(detection, piece) if each.correlation_id)

    def _advance(self, low_us: int) -> None:
        for depth in range(1, self._depth + 1):
            self._take(self._correlator.advance(low_us, self._now, depth))

    def _take(self, effects: Effects) -> None:
        """Keep alerts as they stand now, and hand signals of correlations to the correlations above."""
        while True:
            for alert in effects.alerts:
                self._joint.pop(alert.alert_id, None)
                if alert.status == "open":
                    self._joint[alert.alert_id] = self._plain(alert.tell())
            self._complete()
            if not effects.signals:
                return
            effects = self._correlator.add(effects.signals, self._now)

    def _plain(self, told: Telling) -> OfflineAlert:
        head = told.head
        if head.evidence_total > len(told.evidence):
            self._cut.setdefault(head.alert_id, set())
        return OfflineAlert(
            self._book.by_id[head.rule.id],
            head.group,
            micros(head.first_event_at),
            micros(head.last_event_at),
            tuple(sorted({each.piece[_OFFSET] for each in told.evidence})),
            head.exercise,
            head.story,
        )

    def _complete(self) -> None:
        """Alerts show no more than their first evidence: note what else the states of their groups hold."""
        for (fingerprint, text, chunk), state in self._correlator.changed().items():
            if chunk or state is None or not self._cut or not head(state)[1]:
                continue
            group = self._correlator.group((fingerprint, text))
            if group is None:
                continue
            for run in group.runs():
                fired, quiet = _numbers(run.evidence()), _numbers([each for each in run.held if not each.fired])
                for key, told in group.told.items():
                    if key in self._cut and told.status == "open" and run.start <= told.anchor <= run.end:
                        self._cut[key] = (self._cut[key] - quiet) | fired
        self._correlator.forget()  # what is no longer held shows no more


def _numbers(held: Sequence[Held]) -> set[int]:
    return {piece[_OFFSET] for piece in pieces_of(held)}


class _FamilyMatcher:
    """The rules of one family, and which fields they look at."""

    def __init__(self, detections: Sequence[Detection]) -> None:
        self._matcher = Matcher(detections)
        self._fields = dict.fromkeys(name for each in detections for name in each.fields)

    def match(self, batch: JsonEvents) -> Iterator[tuple[Detection, Rows]]:
        """Detections with rows of ``batch``; a detection comes once for each kind of rows."""
        for rows, part in batch.uniform(self._fields):
            for detection, hits in self._matcher.match(part):
                yield detection, rows[hits]


def families_of(event: dict[str, Any]) -> tuple[str, ...]:
    """The family that the event names, by ``family`` or ``topic``; else each family that has all of those fields of
    the event that any family has, and every family where that leaves no choice."""
    family, topic = event.get("family"), event.get("topic")
    if isinstance(family, str) and family in FAMILIES:
        return (family,)
    if isinstance(topic, str):
        try:
            return (family_of(topic),)
        except UnknownFamily:
            pass
    return _families_with(tuple(event))


@lru_cache(maxsize=4096)
def _families_with(names: tuple[str, ...]) -> tuple[str, ...]:
    known = _family_fields()
    asked = set(names) & set().union(*known.values())
    if not asked:
        return FAMILIES
    return tuple(each for each in FAMILIES if asked <= known[each]) or tuple(
        each for each in FAMILIES if asked & known[each]
    )


@cache
def _family_fields() -> dict[str, set[str]]:
    return {family: {each["name"] for each in load_schema(family)["fields"]} - {"header"} for family in FAMILIES}


@lru_cache(maxsize=4096)
def _has_header(names: tuple[str, ...]) -> bool:
    """Whether an event with these keys can say anything that the contract has in the header."""
    known = {"header", "handling", "location"} | HEADER_FIELDS | HANDLING_FIELDS | LOCATION_FIELDS
    return any(name.partition(".")[0] in known for name in names)


def identity_of(event: dict[str, Any], number: int) -> tuple[str, str]:
    """Partner and event id: what makes two lines the same event.

    Logs use ``event_id`` for the kind of an event too, so it counts as an id only beside a partner, or if it is a UUID.
    An event without one goes by its number, so that equal times stay in the order of the file.
    """
    partner, event_id = value_of(event, "header.partner"), value_of(event, "header.event_id")
    named = isinstance(partner, str) and bool(partner)
    if not isinstance(event_id, str) or not ((named and event_id) or _UUID.fullmatch(event_id)):
        event_id = f"{number:012d}"
    return partner if named else NOBODY, event_id


def _plain(value: Any) -> Any:
    """A value as evidence carries it: a scalar or a list of scalars."""
    if isinstance(value, list):
        return [_plain(each) for each in flat(value)]
    return as_text(value) if isinstance(value, dict) else value


def _piece(family: str, event: dict[str, Any], at: int, number: int) -> Piece:
    """Evidence in the order of :data:`schemas.alerts.EVIDENCE_COLUMNS`, without rule and matched fields; its offset is
    the number."""
    if not _has_header(tuple(event)):
        nothing: tuple[Any, ...] = ("CLEAR", "", "", None, None, "", "", {}, 0)
        return [f"{number:012d}", NOBODY, family, at, at, at, *nothing, number, False, 50, []]
    texts = [value_of(event, f"header.{name}") for name in ("location.country", "location.place", "summary")]
    country, place, summary = (each if isinstance(each, str) else "" for each in texts)
    tlp = tlp_symbol(value_of(event, "header.handling.tlp"))
    confidence = value_of(event, "header.confidence")
    partner, event_id = identity_of(event, number)
    lat, lon = position(event)
    return [
        *(event_id, partner, family),
        *(at, micros_of(value_of(event, "header.published_at")) or at, at),
        tlp if isinstance(tlp, str) and tlp in TLP_ORDER else "CLEAR",
        *(country, place, lat, lon, summary),
        *("", {}, 0, number),
        value_of(event, "header.exercise") is True,
        confidence if isinstance(confidence, int) else 50,
        [],
    ]
