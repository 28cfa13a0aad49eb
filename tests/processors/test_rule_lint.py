"""What the lint says of rules that load."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rule_lint import cost, findings
from processors.rulebook import Bound, Correlation, Detection, Rulebook, RuleMeta

TOCSIN = {"owner": "desk", "response": "call", "legal_basis": "law", "tests": [{}]}
EXISTS = Leaf("entity.phone", Op.EXISTS, True)


def meta(name: str, **changes: Any) -> RuleMeta:
    full: dict[str, Any] = {"tags": ("t",), "false_positives": ("f",), "tocsin": TOCSIN, "path": f"{name}.yml:1"}
    return RuleMeta(
        **{"id": name, "name": name, "title": name, "description": "d", "level": "low", "version": "v"} | full | changes
    )


def detection(condition: Condition = EXISTS, alerts: bool = True, **changes: Any) -> Detection:
    return Detection(meta("base", **changes), "tip_report", condition, alerts)


def correlation(**changes: Any) -> Correlation:
    fields: dict[str, Any] = {
        "meta": meta("top"),
        "type": "event_count",
        "bases": ("base",),
        "group_by": ("entity.phone",),
        "timespan_s": 600,
        "bounds": (Bound("gte", Fraction(3)),),
    }
    return Correlation(**fields | changes)


def said(*rules: Detection | Correlation) -> list[tuple[str, str]]:
    book = Rulebook(
        tuple(each for each in rules if isinstance(each, Detection)),
        tuple(each for each in rules if isinstance(each, Correlation)),
    )
    return [(each.level, each.message) for each in findings(book)]


def test_a_complete_rule_is_passed() -> None:
    assert said(detection()) == []
    assert said(detection(alerts=False, tocsin={}), correlation()) == []


def test_what_alerts_must_say_what_it_is() -> None:
    (found,) = said(detection(description="", false_positives=(), tocsin=TOCSIN | {"owner": None}))
    assert found == ("warning", "alerts, but has no description, falsepositives, tocsin.owner")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Leaf("text", Op.CONTAINS, "ab"), ["text|contains: 'ab' is in nearly every text"]),
        (Leaf("text", Op.CONTAINS, "abc"), []),
        (Leaf("text", Op.RE, "^a"), ["text|re: ^a is asked of every event"]),
        (And((Leaf("text", Op.RE, "^a"), EXISTS)), ["text|re: ^a is asked"]),
        (And((Leaf("text", Op.RE, "^a"), Leaf("topic", Op.EQ, "x"))), []),
        (Or((Leaf("text", Op.RE, "^a"), Leaf("topic", Op.EQ, "x"))), ["text|re: ^a is asked"]),
        (And((Not(Leaf("text", Op.RE, "^a")), Leaf("topic", Op.EQ, "x"))), []),
        (Leaf("text", Op.RE, "^abcd?"), []),
        (Leaf("text", Op.LIKE, "a*b"), []),
        (Leaf("src_ip", Op.CIDR, "10.0.0.0/8"), ["src_ip|cidr: 10.0.0.0/8 is asked"]),
        (Not(EXISTS), []),
    ],
)
def test_conditions_that_cost_much_or_tell_little(condition: Condition, words: list[str]) -> None:
    found = said(detection(condition))
    assert [message.startswith(begin) for (_, message), begin in zip(found, words, strict=True)] == [True] * len(words)


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"bounds": (Bound("gte", Fraction(5)), Bound("lt", Fraction(3)))}, "error", "no number meets"),
        ({"type": "temporal", "bounds": (Bound("gte", Fraction(2)),)}, "error", "but it names 1 rules"),
        ({"bounds": (Bound("gt", Fraction(9000)),)}, "error", "tocsin.max_signals of a group is 5,000"),
        ({"aliases": {"x": {"base": "entity.ip"}}}, "warning", "alias x is not used"),
        (
            {"aliases": {"entity.phone": {"base": "entity.phone", "gone": "entity.ip"}}},
            "warning",
            "maps gone, which this rule does not watch",
        ),
        ({"group_by": ("header.summary",)}, "warning", "group-by header.summary differs in nearly every event"),
        ({"group_by": (), "type": "value_count", "value_fields": ("x",)}, "warning", "without group-by one window"),
        ({"timespan_s": 86_400, "allowed_lateness_s": 86_400 * 30}, "warning", "holds its matches for 31 days"),
        ({"timespan_s": 86_400 * 8}, "warning", "holds nearly every event for 8 days: base asks for little"),
    ],
)
def test_correlations_that_cannot_fire_or_hold_too_much(changes: dict[str, Any], level: str, words: str) -> None:
    ((found, message),) = said(detection(alerts=False), correlation(**changes))
    assert (found, words in message) == (level, True), message


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "value_sum", "value_fields": ("amount",), "bounds": (Bound("lt", Fraction(-5)),)},
        {"bounds": (Bound("gte", Fraction(3)), Bound("lte", Fraction(3)))},
        {"bounds": (Bound("eq", Fraction(3)),)},
        {"type": "temporal", "bounds": (Bound("gte", Fraction(1)),)},
    ],
)
def test_conditions_that_can_hold_are_left_alone(changes: dict[str, Any]) -> None:
    assert said(detection(alerts=False), correlation(**changes)) == []


def test_errors_come_first_and_are_located() -> None:
    bad = correlation(bounds=(Bound("gt", Fraction(9000)),), aliases={"x": {}})
    found = findings(Rulebook((detection(description=""),), (bad,)))
    assert [(each.level, each.rule, each.path) for each in found] == [
        ("error", "top", "top.yml:1"),
        ("warning", "base", "base.yml:1"),
        ("warning", "top", "top.yml:1"),
    ]


def test_costs_name_the_way_events_are_found_and_what_is_held() -> None:
    condition = And((Leaf("text", Op.CONTAINS, "bomb"), Leaf("text", Op.RE, "^a")))
    found = {each.rule: each for each in cost(Rulebook((detection(condition),), (correlation(),)))}
    assert (found["base"].matching, found["base"].state) == ("substring", "none")
    assert found["top"].state == "matches of 600 s, at most 5,000 for each group of entity.phone"
