"""Alerts between what concludes them and what tells them: told late they are what they were, and their rows say what
their records say."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from processors.alerts import Draft
from processors.conclude import Effects
from processors.correlator import MIN_WARM
from processors.rulebook import Correlation
from processors.sink import alert_rows, evidence_rows
from tests.processors.by_hand import NOW, SECOND, START, Bench, meta, read_alerts, rule

HIGH = dataclasses.replace(
    rule("temporal", "gte 2", bases=("low", "c")), meta=meta("high"), fingerprint="high", depth=2, timespan_s=30
)
RULES: dict[str, tuple[Correlation, ...]] = {
    "alone": (rule("event_count", "lt 2", timespan_s=1),),
    "counted": (rule("event_count", "gte 2", "lte 4"),),
    "capped": (rule("event_count", "gte 2", max_signals=5),),
    "absence": (rule("absence", bases=("a",), absent=("b",)),),
    "chain": (rule("event_count", "gte 2", "lte 4", bases=("a",)), HIGH),
}


def conclude(keep: Callable[[Draft], Any], *rules: Correlation) -> None:
    """Events in no order, and what no event can reach is forgotten in between."""
    bench, rng = Bench(*rules, alone=("b",), lateness_s=20), random.Random(7)

    def take(effects: Effects) -> None:
        while effects.alerts or effects.signals:
            for draft in effects.alerts:
                keep(draft)
            effects = bench.correlator.add(effects.signals, NOW)

    for number in range(120):
        second, base = 3 * number + rng.randint(-9, 9), rng.choice("aabc")
        place = rng.choice([(None, None), (52.5, 13.4), (1e-7, -0.0)])
        take(bench.correlator.add(bench.signals(second, f"e{number}", base, position=place), NOW))
        if number % 4 == 3:
            for depth in (1, 2):
                take(bench.correlator.advance(START + 3 * (number - 1) * SECOND, NOW, depth))
            bench.correlator.forget()


@pytest.mark.parametrize("name", RULES)
def test_an_alert_told_late_is_what_it_was(name: str) -> None:
    drafts: list[Draft] = []
    conclude(drafts.append, *RULES[name])
    at_once: list[bytes] = []
    conclude(lambda draft: at_once.append(draft.tell().record()), *RULES[name])
    assert len(at_once) > 20
    assert [draft.tell().record() for draft in reversed(drafts)] == at_once[::-1]


def test_every_kind_of_word_is_told_so() -> None:
    drafts: list[Draft] = []
    for rules in RULES.values():
        conclude(drafts.append, *rules)
    assert {(each.status, each.kind) for each in read_alerts(drafts)} == {
        ("open", "detection"),
        ("open", "correlation"),
        ("superseded", "correlation"),
        ("retracted", "correlation"),
    }


def test_a_piece_of_evidence_is_written_once() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    for second in range(MIN_WARM):
        bench.see(second, f"e{second}")
    grown = bench.correlator.add(bench.signals(MIN_WARM, "x"), NOW).alerts[0].tell().evidence
    again = bench.correlator.add(bench.signals(MIN_WARM, "y"), NOW).alerts[0].tell().evidence
    assert all(one is other for one, other in zip(grown, again, strict=False))


def test_rows_say_what_the_records_say() -> None:
    drafts: list[Draft] = []
    conclude(drafts.append, *RULES["chain"])
    told, alerts = [draft.tell() for draft in drafts], read_alerts(drafts)
    rows = alert_rows([each.head for each in told], [each.record() for each in told]).to_pylist()
    for alert, row in zip(alerts, rows, strict=True):
        whole = alert.model_dump() | {"group": list(alert.group.items())}
        shared = row.keys() & whole.keys()
        assert len(shared) == 23
        assert {name: row[name] for name in shared - {"superseded_by"}} == {
            name: _cut(whole[name]) for name in shared - {"superseded_by"}
        }
        assert (row["superseded_by"] or None, row["rule_id"]) == (alert.superseded_by, alert.rule.id)
        assert row["record"] == alert.model_dump_json()
    known: set[Any] = set()
    evidence = [row for each in told for row in evidence_rows([each], known).to_pylist()]
    expected = {
        (alert.alert_id, each.event_id, each.rule_id): each
        for alert in reversed(alerts)
        if alert.status == "open"
        for each in alert.evidence
    }
    assert len(evidence) == len(expected)
    for row in evidence:
        piece = expected[row["alert_id"], row["event_id"], row["rule_id"]]
        assert orjson.loads(row.pop("matched")) == piece.matched
        assert row == {"alert_id": row["alert_id"]} | {
            name: _cut(getattr(piece, name)) for name in row if name != "alert_id"
        }
    assert evidence_rows(told, known).num_rows == 0


def _cut(value: Any) -> Any:
    """Tables keep milliseconds."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000) if hasattr(value, "microsecond") else value
