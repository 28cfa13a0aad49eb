"""The shipped rules as a corpus: what people need is there, nothing is there twice, and every rule's own tests hold."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any, get_args

import pytest
import yaml

from processors import rule_lint, rule_tests
from processors.rule_files import load
from processors.rulebook import CorrelationType, Rule
from schemas.alerts import LEVELS
from schemas.registry import FAMILIES
from schemas.settings import Settings

FOLDER = Settings().rules_path
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted(FOLDER.rglob("*.yml"))
    for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
]
BOOK = load([FOLDER])
ALERTING = [rule for rule in BOOK.rules if rule.alerts]
MAX_TITLE = 100


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["name"])
def test_a_document_says_what_people_need(document: dict[str, Any]) -> None:
    assert uuid.UUID(document["id"]).version == 4
    assert re.fullmatch(r"[a-z][a-z0-9_]*", document["name"])
    assert 0 < len(document["title"]) <= MAX_TITLE
    assert document["status"] == "test"
    assert document["author"] == "Tocsin"
    assert isinstance(document["date"], dt.date)
    assert document["level"] in LEVELS
    assert document["description"].endswith(".")
    assert document["tags"]
    assert all(re.fullmatch(r"(tocsin|attack)\.[a-z0-9][a-z0-9.-]*", tag) for tag in document["tags"])
    assert document["falsepositives"]
    assert all(isinstance(each, str) for each in document["falsepositives"])
    assert all(each.startswith("https://") for each in document.get("references", []))
    assert all(document["tocsin"][key] for key in ("owner", "response", "legal_basis"))


def test_ids_names_and_titles_are_unique() -> None:
    for key in ("id", "name", "title"):
        assert len({document[key] for document in DOCUMENTS}) == len(DOCUMENTS), key


@pytest.mark.parametrize("rule", ALERTING, ids=lambda rule: rule.meta.name)
def test_an_alerting_rule_shows_when_it_fires_and_when_not(rule: Rule) -> None:
    assert rule.meta.level != "informational"
    assert rule.meta.tocsin["suppress"]
    assert rule.meta.tocsin["response"] != "None by itself."
    expected = {bool(test["alerts"]) for test in rule.meta.tocsin["tests"]}
    assert expected == {True, False}


def test_inline_tests_hold() -> None:
    results = rule_tests.run(BOOK)
    assert {result.rule_id for result in results} == {rule.meta.id for rule in ALERTING}
    assert [f"{each.rule_title}: {each.name}: {each.message}" for each in results if not each.ok] == []


def test_nothing_is_found_against_the_rules() -> None:
    assert [f"{each.path}: {each.message}" for each in rule_lint.findings(BOOK)] == []


def test_every_family_and_every_correlation_type_is_used() -> None:
    assert len(ALERTING) >= 40
    assert {each.family for each in BOOK.detections} == set(FAMILIES)
    assert {each.type for each in BOOK.correlations} == set(get_args(CorrelationType))


def test_rules_about_watch_lists_compare_identifiers_and_never_names() -> None:
    listed = {each.meta.id for each in BOOK.detections if each.family == "watchlist_entry"}
    for each in BOOK.correlations:
        for base in listed.intersection(each.watched):
            assert "entity.person" not in {each.group_field(key, base) for key in each.group_by}, each.meta.name
