"""The shipped rule files as a corpus: complete, unique, loadable, and naming fields that exist."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from sigma.collection import SigmaCollection

from processors.fields import field_exists
from schemas.settings import Settings
from tests.demo.pipeline import shipped_rules

FOLDER = Settings().rules_path
FILES = sorted(FOLDER.rglob("*.yml"))
DOCUMENTS = [(path, document) for path in FILES for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
LEVELS = {"informational", "low", "medium", "high", "critical"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_loads_by_itself_without_errors(path: Path) -> None:
    assert SigmaCollection.load_ruleset([path]).errors == []


@pytest.mark.parametrize(("path", "document"), DOCUMENTS, ids=[document["name"] for _, document in DOCUMENTS])
def test_a_rule_says_what_people_need(path: Path, document: dict[str, Any]) -> None:
    assert uuid.UUID(document["id"]).version == 4
    for key in ("title", "name", "description", "date", "tags", "falsepositives"):
        assert document[key], f"{path}: {key}"
    assert document["author"] == "Tocsin"
    assert document["level"] in LEVELS
    assert all(isinstance(each, str) for each in document["falsepositives"])
    ours = document["tocsin"]
    assert {"owner", "response", "legal_basis"} <= set(ours) <= {"owner", "response", "legal_basis", "suppress"}
    if "correlation" in document:
        assert document["tocsin"]["suppress"]
    else:
        assert document["logsource"]["product"] == "tocsin"


def test_ids_names_and_titles_are_unique() -> None:
    for key in ("id", "name", "title"):
        values = [document[key] for _, document in DOCUMENTS]
        assert len(values) == len(set(values))


def test_every_field_exists_in_its_family() -> None:
    book = shipped_rules()
    by_id = {each.meta.id: each for each in book.detections}
    for detection in book.detections:
        for name in detection.fields:
            assert field_exists(detection.family, name), f"{detection.meta.name}: {name}"
    for correlation in book.correlations:
        for base in correlation.bases:
            names = [correlation.group_field(key, base) for key in correlation.group_by]
            for name in [*names, *([correlation.value_field] if correlation.value_field else [])]:
                assert field_exists(by_id[base].family, name), f"{correlation.meta.name}: {name}"


def test_base_rules_do_not_alert_and_every_other_detection_does() -> None:
    book = shipped_rules()
    bases = {base for each in book.correlations for base in each.bases}
    assert {each.meta.id for each in book.detections if not each.alerts} == bases
