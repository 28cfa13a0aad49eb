"""Correlations of every type: what they become, how they refer to each other, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from processors.rule_files import RuleError
from processors.rulebook import Bound, Term
from tests.processors.sigma_rules import A, B, C, base, book, correlation, one, ours


@pytest.mark.parametrize(
    ("type_", "condition", "bounds"),
    [
        ("event_count", {"gt": 3}, [("gt", 3)]),
        ("event_count", {"gte": 3, "lte": 10}, [("gte", 3), ("lte", 10)]),
        ("event_count", {"lt": 3}, [("lt", 3)]),
        ("event_count", {"eq": 0}, [("eq", 0)]),
        ("event_count", {"neq": 7, "gt": 1, "lt": 9}, [("gt", 1), ("lt", 9), ("neq", 7)]),
        ("value_sum", {"field": "header.confidence", "gt": 10.1}, [("gt", "10.1")]),
        ("value_avg", {"field": "header.confidence", "gte": "2.50"}, [("gte", "2.5")]),
        ("value_median", {"field": "header.confidence", "lt": 1e-3}, [("lt", "0.001")]),
        ("temporal", {"gte": 1}, [("gte", 1)]),
        ("temporal_ordered", {"eq": 2}, [("eq", 2)]),
    ],
)
def test_bounds_are_exact_and_may_be_several(type_: str, condition: dict[str, Any], bounds: list[Any]) -> None:
    found = one(correlation(type=type_, condition=condition))
    assert found.type == type_
    assert sorted(found.bounds, key=str) == sorted((Bound(op, Fraction(n)) for op, n in bounds), key=str)


def test_temporal_without_a_condition_needs_every_distinct_rule() -> None:
    found = one(correlation(type="temporal", rules=["a", A, "b"]))
    assert found.bases == (A, B)
    assert found.bounds == (Bound("gte", Fraction(2)),)
    assert one(correlation(type="temporal_ordered", rules="b")).bounds == (Bound("gte", Fraction(1)),)


@pytest.mark.parametrize("rules", [["b", "a"], None])
def test_an_extended_condition_becomes_an_expression_over_ids(rules: list[str] | None) -> None:
    found = one(correlation(type="temporal", rules=rules, condition="a and not (b or a)"))
    assert found.expression == Term("and", (A, Term("not", (Term("or", (B, A)),))))
    assert found.bounds == ()
    assert found.bases == ((B, A) if rules else (A, B))
    assert one(correlation(type="temporal_ordered", rules=None, condition="a")).expression == A


def test_value_types_name_fields_and_percentile() -> None:
    several = one(correlation(type="value_count", condition={"field": ["header.partner", "mode"], "gte": 2}))
    assert several.value_fields == ("header.partner", "mode")
    high = one(correlation(type="value_percentile", condition={"field": "confidence", "percentile": 95, "gt": 1}))
    assert (high.percentile, high.value_fields) == (95, ("confidence",))
    assert one(correlation(type="value_percentile", condition={"field": "mode", "lte": 1})).percentile is None


def test_group_by_may_be_absent_or_text() -> None:
    assert one(correlation(group_by=None, condition={"gte": 1})).group_by == ()
    assert one(correlation(group_by="mode", condition={"gte": 1})).group_by == ("mode",)


def test_aliases_are_told_per_base() -> None:
    aliases = {"who": {"a": "entity.phone", "b": "header.partner"}}
    found = one(correlation(group_by=["who", "mode"], aliases=aliases, condition={"gte": 1}))
    assert [found.group_field("who", each) for each in (A, B)] == ["entity.phone", "header.partner"]
    assert found.group_field("mode", A) == "mode"


def test_correlations_over_correlations() -> None:
    inner = correlation("inner", rules=["a"], condition={"gte": 3})
    outer = correlation("outer", type="temporal_ordered", rules=["inner", "b"], generate=True)
    top = correlation("top", rules=["outer"], group_by=["phone"], aliases={"phone": {"outer": "entity.phone"}})
    top["correlation"]["condition"] = {"gte": 2}
    # The order of documents does not matter.
    rules = book(top, outer, base("b"), inner, base("a"))
    by_name = {each.meta.name: each for each in rules.rules}
    assert [by_name[name].depth for name in ("inner", "outer", "top")] == [1, 2, 3]  # type: ignore[union-attr]
    assert {name: each.alerts for name, each in by_name.items()} == {
        "a": False,
        "b": True,
        "inner": True,
        "outer": False,
        "top": True,
    }
    assert set(rules.carried[A]) >= {"entity.phone"}


def test_a_group_key_of_a_base_correlation_need_not_be_a_field() -> None:
    inner = correlation("inner", rules=["a"], group_by=["who"], aliases={"who": {"a": "entity.phone"}})
    inner["correlation"]["condition"] = {"gte": 3}
    assert one(inner, correlation("outer", rules=["inner"], group_by=["who"], condition={"gte": 2})).group_by == (
        "who",
    )
    with pytest.raises(RuleError, match="no field 'whom'"):
        one(inner, correlation("outer", rules=["inner"], group_by=["whom"], condition={"gte": 2}))


def test_the_fingerprint_follows_everything_below() -> None:
    outer = correlation("outer", rules=["inner"], condition={"gte": 2})

    def prints(**changes: Any) -> list[str]:
        inner = correlation("inner", rules=["a"], condition={"gte": 3})
        return [each.fingerprint for each in book(base("a", **changes), inner, outer).correlations]

    assert prints() == prints()
    assert len(set(prints()) | set(prints(level="high"))) == 4
    assert all(len(each) == 12 for each in prints())


def test_one_generate_false_is_enough_to_silence_a_base() -> None:
    loud = correlation("loud", rules=["a", "b"], generate=True, condition={"gte": 2})
    quiet = correlation("quiet", rules=["a"], condition={"gte": 2})
    rules = book(base("a"), base("b"), loud, quiet)
    assert [each.alerts for each in rules.detections] == [False, True]


def test_absence_and_travel() -> None:
    found = one(ours("absence", rules=["a"], absent="b", generate=True))
    assert (found.type, found.bases, found.absent, found.watched) == ("absence", (A,), (B,), (A, B))
    travel = one(ours("travel", **{"max-speed-kmh": 900.5, "group_by": ["entity.document"]}))
    assert (travel.type, travel.max_speed_kmh, travel.min_distance_km) == ("travel", 900.5, 50)
    assert one(ours("travel", **{"max-speed-kmh": 1, "min-distance-km": 0.5})).min_distance_km == 0.5
    aliased = one(
        ours("absence", rules=["a"], absent=["b"], group_by=["who"], aliases={"who": {"a": "mode", "b": "outcome"}})
    )
    assert [aliased.group_field("who", each) for each in (A, B)] == ["mode", "outcome"]


def test_our_keys_of_windows() -> None:
    plain = one(correlation(condition={"gte": 1}))
    assert (plain.allowed_lateness_s, plain.max_groups, plain.max_signals) == (None, 1_000_000, 5_000)
    own = correlation(condition={"gte": 1}) | {
        "tocsin": {"allowed_lateness": "6h", "max_groups": 7, "max_signals": 9, "owner": "desk", "tests": []}
    }
    found = one(own)
    assert (found.allowed_lateness_s, found.max_groups, found.max_signals) == (21_600, 7, 9)
    assert found.meta.tocsin["owner"] == "desk"


def refused(*documents: dict[str, Any]) -> str:
    with pytest.raises(RuleError) as caught:
        one(*documents)
    assert caught.value.path == Path("rules.yml")
    assert caught.value.line > 1
    return caught.value.reason


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (correlation(), "without condition"),
        (correlation(condition={}), "exactly one condition item"),
        (correlation(condition={"gte": "many"}), "'many' is no valid"),
        (correlation(condition={"gte": True}), "expected a number"),
        (correlation(condition={"gte": 1, "lte": "nan"}), "expected a number"),
        (correlation(condition={"gte": 1, "over": 2}), "correlation.condition has no key 'over'"),
        (correlation(condition={"gte": 1, "field": "mode"}), "condition.field has no meaning for event_count"),
        (correlation(condition={"gte": 1, "percentile": 5}), "percentile has no meaning"),
        (correlation(type="value_count", condition=C), "condition.field: is a field"),
        (correlation(type="value_sum", condition=C | {"field": ["mode", "outcome"]}), "looks at one field"),
        (correlation(type="value_count", condition=C | {"field": []}), "condition.field"),
        (correlation(type="value_percentile", condition=C | {"field": "mode", "percentile": 101}), "from 0 to 100"),
        (correlation(type="value_percentile", condition=C | {"field": "mode", "percentile": 99.5}), "from 0 to 100"),
        (correlation(type="value_guess", condition=C), "value_guess"),
        (correlation(type=None, condition=C), "without type"),
        (correlation(type=["event_count"], condition=C), "correlation.type: ['event_count'] is none"),
        (correlation(timespan=None, condition=C), "timespan"),
        (correlation(timespan="1 hour", condition=C), "Timespan '1 hour' is invalid"),
        (correlation(timespan="0m", condition=C), "greater than zero"),
        (correlation(rules=None, condition=C), "without rule"),
        (correlation(rules=[], condition=C), "names no rule"),
        (correlation(type="temporal", rules=None), "names no rule"),
        (correlation(rules=["a", "bb"], condition=C), "there is no rule 'bb': did you mean 'b'?"),
        (correlation(rules=["zzzz"], condition=C), "there is no rule 'zzzz': load its file as well"),
        (correlation(type="event_count", condition="a and b"), "temporal"),
        (correlation(type="temporal", condition="a"), "not referenced"),
        (correlation(type="temporal", condition="a and b and x"), "not defined in rules list: x"),
        (correlation(type="temporal", rules=None, condition="a and"), "extended condition"),
        (correlation(group_by=["entity.fax"], condition=C), "no field 'entity.fax'"),
        (correlation(type="value_count", condition=C | {"field": "nothing"}), "no field 'nothing'"),
        (correlation(condition=C, groupby=["mode"]), "correlation has no key 'groupby'"),
        (correlation(condition=C, aliases={"who": {"a": "mode"}}), "alias 'who' is not in group-by"),
        (correlation(condition=C, group_by=["who"], aliases={"who": {"x": "mode"}}), "there is no rule 'x'"),
        (correlation(condition=C, rules=["b"], group_by=["w"], aliases={"w": {"a": "mode"}}), "none of the rules"),
        (correlation(condition=C, group_by=["who"], aliases={"who": "mode"}), "aliases.who"),
        (correlation(condition=C, generate="maybe"), "generate"),
        (correlation(condition=C, rules=["c"]), "cannot go in a circle"),
        (correlation(type="absence", condition=C), "put the correlation under tocsin"),
        (correlation(condition=C) | {"detection": {}}, "either detection or correlation"),
        (correlation(condition=C) | {"tocsin": {"correlation": {}}}, "either correlation or tocsin.correlation"),
        (correlation(condition=C) | {"tocsin": {"owners": 1}}, "tocsin has no key 'owners': known are owner, "),
        (correlation(condition=C) | {"tocsin": []}, "tocsin: is a mapping"),
        (correlation(condition=C) | {"tocsin": {"allowed_lateness": "soon"}}, "tocsin.allowed_lateness"),
        (correlation(condition=C) | {"tocsin": {"max_groups": 0}}, "tocsin.max_groups is 0"),
        (correlation(condition=C) | {"tocsin": {"max_signals": "many"}}, "tocsin.max_signals"),
        (correlation(condition=C) | {"title": None}, "title"),
        (correlation(condition=C) | {"id": "four"}, "UUID"),
        (correlation(condition=C) | {"level": "worst"}, "level"),
        (base("x") | {"tocsin": {"max_groups": 5}}, "belongs to correlations"),
        (ours("absence", rules=["a"]), "absent: lists the rules"),
        (ours("absence", rules=["a"], absent=[]), "absent: lists the rules"),
        (ours("absence", rules=["a"], absent=["zzzz"]), "there is no rule 'zzzz'"),
        (ours("absence", rules=["a"], absent=["b", "a"]), "both in rules and in absent"),
        (ours("absence", rules=["a"], absent=["b"], condition=C), "has no key 'condition'"),
        (ours("absence", rules=["a"], absent=["b"], timespan=None), "timespan"),
        (ours("absence", rules=None, absent=["b"]), "without rule"),
        (ours("travel"), "max-speed-kmh: is missing"),
        (ours("travel", **{"max-speed-kmh": -3}), "number above 0"),
        (ours("travel", **{"max-speed-kmh": 3, "min-distance-km": "far"}), "expected a number"),
        (ours("travel", **{"max-speed-kmh": 3, "absent": ["a"]}), "has no key 'absent'"),
        (ours("event_count"), "expected absence or travel"),
    ],
)
def test_what_makes_no_sense_is_refused(document: dict[str, Any], reason: str) -> None:
    assert reason in refused(document)


def test_circles_are_refused_whatever_their_length() -> None:
    ring = [correlation(name, rules=[after], condition=C) for name, after in ("cd", "de", "ec")]
    assert "cannot go in a circle" in refused(*ring)
    errors: list[RuleError] = []
    rules = book(*ring, base("a"), errors=errors)
    assert len(errors) == 3
    assert [each.meta.name for each in rules.rules] == ["a"]
