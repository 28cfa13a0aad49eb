"""The law of the engine: however events are interleaved, sliced, delayed, repeated, and whoever dies in between, the
alerts at the end are those that a plain evaluator finds in the sorted events.

``TOCSIN_PROPERTY_EXAMPLES`` sets how many examples are tried; nightly runs take 20,000.
"""

from __future__ import annotations

import dataclasses
import os
import random
from fractions import Fraction
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors import group_state
from processors.predicates import Leaf, Op
from processors.rulebook import Bound, Correlation, Detection, Expression, Rulebook, RuleMeta, Term
from processors.signals import SignalMaker
from schemas.alerts import Signal
from tests.processors.pipeline_model import Event, Stream
from tests.processors.reference import SECOND, evaluate

EXAMPLES = int(os.environ.get("TOCSIN_PROPERTY_EXAMPLES", "500"))
BASES = ("base-a", "base-b", "base-c")
START = 1_700_000_000 * SECOND
OPERATORS = ("gt", "gte", "lt", "lte", "eq", "neq")
SLIDING = ("event_count", "value_count", "value_sum", "value_avg", "value_median", "value_percentile")
VALUED = SLIDING[1:]


def meta(name: str) -> RuleMeta:
    return RuleMeta(name, name, name, "", "high", "v1")


def expressions() -> st.SearchStrategy[Expression]:
    pairs = st.lists(st.deferred(expressions), min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.sampled_from(BASES),
        st.builds(Term, st.sampled_from(["and", "or"]), pairs),
        st.builds(Term, st.just("not"), st.tuples(st.sampled_from(BASES))),
    )


@st.composite
def correlations(draw: st.DrawFn, name: str, bases: tuple[str, ...], depth: int) -> Correlation:
    kinds: list[Any] = ["event_count", "temporal", "temporal_ordered", "absence"] + (
        [*VALUED, "travel"] if depth == 1 else []
    )
    kind = draw(st.sampled_from(kinds))
    rule = Correlation(
        meta(name),
        kind,
        bases,
        draw(st.sampled_from([("g",), (), ("g", "h")] if depth == 1 else [("g",), (), ("h",)])),
        draw(st.integers(1, 20)),
        depth=depth,
        fingerprint=name,
    )
    bounds = draw(
        st.lists(st.builds(Bound, st.sampled_from(OPERATORS), st.integers(1, 4).map(Fraction)), min_size=1, max_size=2)
    )
    match kind:
        case "absence":
            return dataclasses.replace(rule, bases=bases[:-1] or bases, absent=bases[-1:] if len(bases) > 1 else ())
        case "travel":
            return dataclasses.replace(rule, max_speed_kmh=draw(st.sampled_from([900.0, 1e6])), min_distance_km=50.0)
        case "temporal" | "temporal_ordered" if draw(st.booleans()):
            tree = draw(expressions()) if depth == 1 else Term("and", bases[:2]) if len(bases) > 1 else bases[0]
            return dataclasses.replace(rule, expression=tree)
        case "temporal" | "temporal_ordered":
            return dataclasses.replace(rule, bounds=(Bound("gte", Fraction(draw(st.integers(1, len(bases))))),))
        case "value_percentile":
            percentile = draw(st.sampled_from([None, 0, 25, 90, 100]))
            if percentile is None:
                bounds = [Bound(draw(st.sampled_from(OPERATORS)), Fraction(draw(st.sampled_from([20, 34, 50]))))]
            return dataclasses.replace(rule, bounds=tuple(bounds), value_fields=("v",), percentile=percentile)
    return dataclasses.replace(rule, bounds=tuple(bounds), value_fields=("v",) if kind in VALUED else ())


@st.composite
def rulebooks(draw: st.DrawFn) -> Rulebook:
    first = draw(correlations("low", BASES, 1))
    found = [first]
    if draw(st.booleans()):
        found.append(draw(correlations("high", ("low", *draw(st.sampled_from([(), ("base-c",)]))), 2)))
        found[0] = dataclasses.replace(first, alerts=draw(st.booleans()))
    detections = tuple(Detection(meta(base), "tip_report", Leaf("v", Op.EXISTS, True), False) for base in BASES)
    return Rulebook(detections, tuple(found))


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    found = []
    for number in range(draw(st.integers(0, 22))):
        at = START + draw(st.integers(0, 60)) * SECOND
        fields = {
            "g": draw(st.sampled_from("12")),
            "h": draw(st.sampled_from("xy")),
            "v": draw(st.sampled_from(["1", "2.5", "4"])),
        }
        lat, lon = draw(st.sampled_from([(52.5, 13.4), (48.9, 2.4), (-33.9, 151.2)]))
        exercise = draw(st.integers(0, 5)) == 0
        pieces: list[tuple[str, tuple[Any, ...]]] = []
        for base in sorted(draw(st.sets(st.sampled_from(BASES), min_size=1))):
            start = (f"e{number}", "bpol-de", "tip_report", at, at, at, "GREEN", "", "", lat, lon, "", base)
            pieces.append((base, (*start, fields, 0, number, exercise, 50, [])))
        found.append(Event(at, tuple(pieces)))
    return found


def timely(book: Rulebook, event_logs: list[list[Event]], lateness_s: int) -> list[Signal]:
    """The signals of the events that are not too late, judged partition by partition."""
    maker = SignalMaker(book, lateness_s)
    found = []
    for log in event_logs:
        for place, event in enumerate(log):
            ahead = max(each.at for each in log[: place + 1])
            if ahead - event.at <= lateness_s * SECOND:
                for rule_id, piece in event.pieces:
                    found += maker.of_event(book.by_id[rule_id], list(piece))  # type: ignore[arg-type]
    return found


@given(
    rulebooks(),
    events(),
    st.integers(1, 3),
    st.sampled_from([0, 5, 15, 3600]),
    st.sampled_from([1, 2, group_state.CHUNK]),
    st.integers(0, 1 << 32),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_alerts_at_the_end_are_those_of_the_plain_evaluator(
    book: Rulebook, happened: list[Event], partitions: int, lateness_s: int, chunk: int, seed: int
) -> None:
    rng = random.Random(seed)
    event_logs: list[list[Event]] = [[] for _ in range(partitions)]
    arriving = sorted(happened, key=lambda each: each.at + rng.randint(0, 20) * SECOND)
    for event in arriving:
        for _ in range(2 if rng.random() < 0.2 else 1):
            event_logs[rng.randrange(partitions)].append(event)
    low = max((each.at for each in happened), default=0)
    expected = evaluate(book, timely(book, event_logs, lateness_s), low)
    with patch.object(group_state, "CHUNK", chunk):
        found = Stream(book, event_logs, lateness_s, rng).run()
    assert found == expected
