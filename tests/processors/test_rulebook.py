"""Rule files: what loads, what it becomes, and what is refused with file, line and reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from processors.predicates import And, Leaf, Not, Op, Or, in_words
from processors.rule_files import RuleError, load, load_texts
from processors.rulebook import Correlation, Rulebook
from schemas.settings import Settings
from tests.processors.sigma_rules import base, correlation

HEAD = """title: A
id: 11111111-1111-4111-8111-111111111111
name: base_a
level: high
logsource: {product: tocsin, category: tip_report}
"""
PLAIN = "detection:\n  s: {topic: x}\n  condition: s\n"


def book(tmp_path: Path, detection: str, rest: str = "", head: str = HEAD) -> Rulebook:
    file = tmp_path / "rule.yml"
    file.write_text(f"{head}detection:\n{detection}\n{rest}")
    return load([file])


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("  s: {text|contains: bomb}\n  condition: s", Leaf("text", Op.CONTAINS, "bomb")),
        ("  s: {text: 'a*'}\n  condition: s", Leaf("text", Op.STARTSWITH, "a")),
        ("  s: {text: '*a'}\n  condition: s", Leaf("text", Op.ENDSWITH, "a")),
        ("  s: {text: 'a?\\*c'}\n  condition: s", Leaf("text", Op.LIKE, "a?\\*c")),
        ("  s: {text: 'a\\*c'}\n  condition: s", Leaf("text", Op.EQ, "a*c")),
        ("  s: {text|cased: AbC}\n  condition: s", Leaf("text", Op.EQ, "AbC", cased=True)),
        ("  s: {text|re|i: 'a+'}\n  condition: s", Leaf("text", Op.RE, "(?i)a+", cased=True)),
        ("  s: {confidence|gte: 70}\n  condition: s", Leaf("confidence", Op.GTE, 70)),
        ("  s: {header.occurred_at|hour: 3}\n  condition: s", Leaf("header.occurred_at", Op.EQ, 3, part="hour")),
        ("  s: {entity.ip|cidr: 10.0.0.0/8}\n  condition: s", Leaf("entity.ip", Op.CIDR, "10.0.0.0/8")),
        ("  s: {topic|exists: false}\n  condition: s", Not(Leaf("topic", Op.EXISTS, True))),
        ("  s: {topic: null}\n  condition: s", Leaf("topic", Op.NULL, None)),
        ("  s: {topic|fieldref: language}\n  condition: s", Leaf("topic", Op.FIELDREF, "language")),
        ("  s: [word]\n  condition: s", Leaf("", Op.CONTAINS, "word")),
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


def test_a_condition_can_be_read() -> None:
    (rule,) = load_texts(
        [
            (
                Path("a.yml"),
                f"{HEAD}detection:\n  s: {{topic|neq: [x, y], text|startswith: z}}\n  k: [w]\n  condition: s or k",
            )
        ]
    ).detections
    assert in_words(rule.condition) == "(not (topic: x or topic: y) and text|startswith: z) or keyword|contains: w"


def test_the_version_follows_the_content_and_not_its_spelling(tmp_path: Path) -> None:
    one = book(tmp_path, "  s: {topic: x}\n  condition: s")
    two = book(tmp_path, "  s: {topic: y}\n  condition: s")
    again = book(tmp_path, "  condition: s\n  s:\n    topic: 'x'")
    assert one.version == again.version != two.version


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{HEAD}detection:\n  s: {{tpoic: x}}\n  condition: s", 1, "no field 'tpoic'"),
        (f"{HEAD}detection:\n  s: {{topic|fieldref: tpoic}}\n  condition: s", 1, "no field 'tpoic'"),
        (f"{HEAD}{PLAIN}\n\tbroken: [", 10, "not YAML"),
        (f"{HEAD}{PLAIN}---\n- a\n- b\n", 10, "a rule is a mapping"),
        (f"{HEAD}{PLAIN}level: low\n", 9, "'level' is given twice"),
        (f"{HEAD}{PLAIN}date: 2026-13-45\n", 1, "month must be in 1..12"),
        (f"{HEAD}{PLAIN}x: !!python/object:os.system {{}}\n", 9, "not YAML"),
        (f"{HEAD}{PLAIN}x: \x07\n", 1, "not YAML"),
        (f"{HEAD}detection: [s]\n", 1, "detection: is missing or no mapping"),
        (f"{HEAD}", 1, "detection: is missing"),
        (f"title: A\n{PLAIN}", 1, "logsource: is missing"),
        (f"{HEAD.replace('tip_report', 'tips')}{PLAIN}", 1, "category: tips} is not ours"),
        (f"{HEAD.replace('tocsin', 'windows')}{PLAIN}", 1, "--ignore-logsource takes rules of other products"),
        (f"{HEAD.replace('title: A', 'title: 7')}{PLAIN}", 1, "title must be a string"),
        (f"{HEAD.replace('id: 1', 'id: x')}{PLAIN}", 1, "UUID"),
        (f"{HEAD.replace('id: 11111111-1111-4111-8111-111111111111', 'id: 7')}{PLAIN}", 1, "id: 7 is no UUID"),
        (f"{HEAD}{PLAIN}tags: x\n", 1, "tags"),
        (f'{HEAD}detection:\n  s: {{topic: "\\ud800"}}\n  condition: s\n', 7, "not YAML"),
        (f"{HEAD}{PLAIN}action: invent\n", 1, "action 'invent' is not known"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" + f"{HEAD}{PLAIN}tocsin: {{x: 1}}\n", 1, "no key 'x'"),
        (
            "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 25)), HEAD + PLAIN]),
            1,
            "aliases",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_place_and_reason(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    file = tmp_path / "rule.yml"
    file.write_text(text)
    with pytest.raises(RuleError) as caught:
        load([file])
    assert reason in caught.value.reason
    assert (caught.value.path, caught.value.line) == (file, line)


def test_files_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_bytes(b"title: \xff")
    (tmp_path / "b.yaml").write_text(HEAD + PLAIN)
    (tmp_path / "c.yml").write_text("")
    (tmp_path / "d.yml").write_text("--- \n---\n")
    (tmp_path / "notes.txt").write_text("no rule")
    errors: list[RuleError] = []
    rules = load([tmp_path, tmp_path / "b.yaml", tmp_path / "missing"], errors=errors)
    assert [each.meta.name for each in rules.rules] == ["base_a"]
    assert {each.path.name: each.reason for each in errors} == {
        "a.yml": "not UTF-8 text: invalid start byte at byte 7",
        "missing": "no such file or folder",
    }


def test_collections_of_sigma_1_are_carried_out() -> None:
    text = """
action: global
title: Shared
logsource: {product: tocsin, category: tip_report}
detection: {condition: s}
---
name: first
detection: {s: {topic: x}}
---
action: repeat
name: second
detection: {s: {topic: y}}
---
action: reset
---
title: Other
logsource: {product: tocsin, category: border_crossing}
detection: {s: {mode: AIR}, condition: s}
"""
    rules = load_texts([(Path("a.yml"), text)]).detections
    assert [(each.meta.name, each.family, in_words(each.condition)) for each in rules] == [
        ("first", "tip_report", "topic: x"),
        ("second", "tip_report", "topic: y"),
        ("", "border_crossing", "mode: AIR"),
    ]
    assert [each.meta.path for each in rules] == ["a.yml:7", "a.yml:10", "a.yml:16"]


def test_many_rules_load_in_seconds() -> None:
    documents = [base(f"rule_{number}") for number in range(300)]
    for number in range(20):
        bases = [f"rule_{number + other}" for other in range(20)]
        documents.append(correlation(f"c{number}", rules=bases, condition={"gte": 2}))
    text = yaml.dump_all(documents, Dumper=yaml.CSafeDumper)
    start = time.process_time()
    rules = load_texts([(Path("a.yml"), text)])
    assert len(rules.rules) == 320
    assert time.process_time() - start < 6


def test_half_of_the_shipped_rules_span_partners_or_families() -> None:
    rules = load([Settings().rules_path])
    assert len([rule for rule in rules.rules if rule.alerts]) >= 12
    wide = [
        rule
        for rule in rules.correlations
        if len({leaf.family for leaf in rules.leaves_of(rule.meta.id)}) > 1
        or {"header.partner", "geo.continent"} & set(rule.value_fields)
    ]
    assert len(wide) >= 6
    for rule in rules.rules:
        assert rule.meta.description
        assert rule.meta.false_positives
        assert {"owner", "response", "legal_basis"} <= set(rule.meta.tocsin)
        assert not isinstance(rule, Correlation) or rule.fingerprint
