"""Rule sets as values: what is written to ``rules.v1`` comes back, and what is not ours does no harm."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import pytest

from processors.rule_files import load_texts, read_texts
from processors.ruleset import Deployment, History, RuleSet
from schemas.settings import Settings
from streams.rulesets import CURRENT, version_key
from streams.topics import MAX_RULES_BYTES

AT = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)
RULE = """\
title: Number {n}
id: 5f0a2c3e-0000-4000-8000-{n:012d}
description: {words}
logsource: {{product: tocsin, category: tip_report}}
detection:
  words: {{text|contains: '{words}'}}
  condition: words
"""


def deployment(version: str, hours: int = 0) -> Deployment:
    return Deployment(version, AT + dt.timedelta(hours=hours), "A. Berg", "operator", "for the summit")


def ruleset(paths: list[Path]) -> RuleSet:
    texts = read_texts(paths)
    book = load_texts(texts)
    return RuleSet.of(texts, book, deployment(book.version))


def test_the_shipped_rules_come_back_as_they_were() -> None:
    made = ruleset([Settings().rules_path])
    back = RuleSet.from_bytes(made.to_bytes())
    assert back == made
    assert back.rulebook.version == made.version
    assert back.detections == len(back.rulebook.detections) > 10
    assert "border/document_two_continents.yml" in dict(back.files)


def test_paths_count_from_the_folder_that_holds_all_files(tmp_path: Path) -> None:
    for name in ("a/one.yml", "b/deep/one.yml"):
        (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / "a/one.yml").write_text(RULE.format(n=1, words="van"))
    (tmp_path / "b/deep/one.yml").write_text(RULE.format(n=2, words="lorry"))
    assert [path for path, _ in ruleset([tmp_path / "a", tmp_path / "b"]).files] == ["a/one.yml", "b/deep/one.yml"]
    assert [path for path, _ in ruleset([tmp_path / "a/one.yml"]).files] == ["one.yml"]


def test_thousands_of_rules_fit_into_a_record() -> None:
    texts = [(f"{n}.yml", RULE.format(n=n, words=f"{n * 7919 % 9973} " * 300)) for n in range(3_000)]
    assert sum(len(text) for _, text in texts) > 8 << 20
    value = RuleSet(deployment("0" * 12), tuple(texts), 3_000, 0).to_bytes()
    assert len(value) < MAX_RULES_BYTES / 8
    assert RuleSet.from_bytes(value).files == tuple(texts)


def test_a_history_lists_the_last_deployed_first_and_knows_what_is_in_force() -> None:
    first, second = (RuleSet(deployment(name, hours), (), 0, 0) for hours, name in enumerate(("a" * 12, "b" * 12)))
    stored = {version_key(each.version): each.to_bytes() for each in (first, second)}
    history = History(stored | {CURRENT: deployment("a" * 12, 2).to_bytes()})
    assert history.sets == [second, first]
    assert history.current == deployment("a" * 12, 2)
    assert history.get("a" * 12) == first
    assert history.get("c" * 12) is None
    assert History({}).current is None


@pytest.mark.parametrize(
    "value",
    [b"", b"not gzip", gzip.compress(b"not JSON"), gzip.compress(b"[]"), gzip.compress(b"{}"), b"\x1f\x8b\x08"],
    ids=["empty", "not gzip", "not JSON", "a list", "no fields", "cut off"],
)
def test_what_is_no_rule_set_counts_as_not_there(value: bytes) -> None:
    history = History({version_key("a" * 12): value, CURRENT: value, b"\xff other": value})
    assert history.sets == []
    assert history.current is None
    assert history.get("a" * 12) is None
