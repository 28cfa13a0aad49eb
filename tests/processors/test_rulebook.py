"""Rule files: what loads, what it becomes, and what is refused with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.predicates import And, Leaf, Not, Op, Or
from processors.rulebook import RuleError, load
from schemas.settings import Settings

HEAD = """title: A
id: 11111111-1111-4111-8111-111111111111
name: base_a
level: high
logsource: {product: tocsin, category: tip_report}
"""
CORRELATION = """---
title: C
id: 22222222-2222-4222-8222-222222222222
level: high
correlation:
  type: %s
  rules: [base_a]
  group-by: [entity.phone]
  timespan: 1h
"""


def book(tmp_path: Path, detection: str, rest: str = "", head: str = HEAD):  # type: ignore[no-untyped-def]
    file = tmp_path / "rule.yml"
    file.write_text(f"{head}detection:\n{detection}\n{rest}")
    return load([file])


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("  s: {text|contains: bomb}\n  condition: s", Leaf("text", Op.CONTAINS, "bomb")),
        ("  s: {text: 'a*'}\n  condition: s", Leaf("text", Op.STARTSWITH, "a")),
        ("  s: {text: '*a'}\n  condition: s", Leaf("text", Op.ENDSWITH, "a")),
        ("  s: {text: 'a?c'}\n  condition: s", Leaf("text", Op.RE, "(?si)^(?:a.c)$", cased=True)),
        ("  s: {text: 'a\\*c'}\n  condition: s", Leaf("text", Op.EQ, "a*c")),
        ("  s: {text|cased: AbC}\n  condition: s", Leaf("text", Op.EQ, "AbC", cased=True)),
        ("  s: {text|re|i: 'a+'}\n  condition: s", Leaf("text", Op.RE, "(?i)a+", cased=True)),
        ("  s: {confidence|gte: 70}\n  condition: s", Leaf("confidence", Op.GTE, 70)),
        ("  s: {entity.ip|cidr: 10.0.0.0/8}\n  condition: s", Leaf("entity.ip", Op.CIDR, "10.0.0.0/8")),
        ("  s: {topic|exists: false}\n  condition: s", Not(Leaf("topic", Op.EXISTS, True))),
        ("  s: {topic: null}\n  condition: s", Leaf("topic", Op.NULL, None)),
        ("  s: {topic|fieldref: language}\n  condition: s", Leaf("topic", Op.FIELDREF, "language")),
        (
            "  s: {text|contains|all: [a, b]}\n  condition: s",
            And((Leaf("text", Op.CONTAINS, "a"), Leaf("text", Op.CONTAINS, "b"))),
        ),
        (
            "  s_1: {topic: x}\n  s_2: {topic: y}\n  condition: 1 of s_*",
            Or((Leaf("topic", Op.EQ, "x"), Leaf("topic", Op.EQ, "y"))),
        ),
        (
            "  s: {topic: x}\n  n: {language: en}\n  condition: s and not n",
            And((Leaf("topic", Op.EQ, "x"), Not(Leaf("language", Op.EQ, "en")))),
        ),
    ],
)
def test_a_detection_becomes_a_condition(tmp_path: Path, detection: str, expected: object) -> None:
    (rule,) = book(tmp_path, detection).detections
    assert rule.condition == expected
    assert rule.alerts


def test_a_referenced_rule_is_silent_unless_generate_says_otherwise(tmp_path: Path) -> None:
    plain = "  s: {topic: x}\n  condition: s"
    silent = book(tmp_path, plain, CORRELATION % "event_count" + "  condition: {gte: 3}\n")
    assert [rule.alerts for rule in silent.detections] == [False]
    loud = book(tmp_path, plain, CORRELATION % "event_count" + "  condition: {gte: 3}\n  generate: true\n")
    assert [rule.alerts for rule in loud.detections] == [True]


def test_temporal_without_a_condition_needs_every_rule(tmp_path: Path) -> None:
    (rule,) = book(tmp_path, "  s: {topic: x}\n  condition: s", CORRELATION % "temporal").correlations
    assert (rule.type, rule.op, rule.threshold, rule.timespan_s) == ("temporal", "gte", 1, 3600)


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    one = book(tmp_path, "  s: {topic: x}\n  condition: s")
    two = book(tmp_path, "  s: {topic: y}\n  condition: s")
    again = book(tmp_path, "  s: {topic: x}\n  condition: s")
    assert one.version == again.version != two.version


@pytest.mark.parametrize(
    ("detection", "rest", "line", "reason"),
    [
        ("  s: {topic: x}\n  condition: nothing", "", 1, "nothing"),
        ("  s: {tpoic: x}\n  condition: s", "", 1, "no field 'tpoic'"),
        ("  s: {text|sounds_like: x}\n  condition: s", "", 1, "sounds_like"),
        ("  s: {text|re: '(?<=a)b'}\n  condition: s", "", 1, "(?<=a)b"),
        ("  s: [word]\n  condition: s", "", 1, "keyword"),
        (
            "  s: {topic: x}\n  condition: s",
            CORRELATION % "value_sum" + "  condition: {gte: 3, field: text}",
            10,
            "value_sum",
        ),
        ("  s: {topic: x}\n  condition: s", CORRELATION % "event_count" + "  condition: {lte: 3}", 10, "lte"),
        ("  s: {topic: x}\n  condition: s", CORRELATION % "value_count" + "  condition: {gte: 3}", 10, "field"),
        (
            "  s: {topic: x}\n  condition: s",
            (CORRELATION % "event_count").replace("entity.phone", "entity.fax") + "  condition: {gte: 3}",
            10,
            "no field 'entity.fax'",
        ),
        ("  s: {topic: x}\n  condition: s\n\tbroken: [", "", 9, "YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_place_and_reason(
    tmp_path: Path, detection: str, rest: str, line: int, reason: str
) -> None:
    with pytest.raises(RuleError) as caught:
        book(tmp_path, detection, rest)
    assert caught.value.path == tmp_path / "rule.yml"
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_a_foreign_log_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="windows"):
        book(tmp_path, "  s: {a: 1}\n  condition: s", head=HEAD.replace("product: tocsin", "product: windows"))


def test_two_rules_cannot_share_an_id(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="already used"):
        book(tmp_path, "  s: {topic: x}\n  condition: s", f"---\n{HEAD}detection:\n  s: {{topic: y}}\n  condition: s\n")


def test_the_shipped_rules_load_and_half_of_them_span_partners_or_families() -> None:
    rules = load([Settings().rules_path])
    assert len([rule for rule in rules.rules if isinstance(rule, type(rules.correlations[0])) or rule.alerts]) >= 12  # type: ignore[union-attr]
    families = {rule.meta.id: rule.family for rule in rules.detections}
    wide = [
        rule
        for rule in rules.correlations
        if len({families[base] for base in rule.bases}) > 1 or rule.value_field in ("header.partner", "geo.continent")
    ]
    assert len(wide) >= 6
    for rule in rules.rules:
        assert rule.meta.description
        assert rule.meta.false_positives
        assert {"owner", "response", "legal_basis"} <= set(rule.meta.tocsin)
