"""Which of the rule sets that were deployed a replay takes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from deploy.replay import book_with
from processors.rule_files import load_texts
from processors.ruleset import Deployment, RuleSet
from schemas.alerts import Alert
from tests.dashboards.engine import alert

RULE = """title: one
id: 00000000-0000-4000-8000-000000000001
logsource: {{product: tocsin, category: tip_report}}
detection: {{s: {{text: {0}}}, condition: s}}
"""
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def ruleset(text: str) -> RuleSet:
    return RuleSet(Deployment("v", NOW, "ana", "operator"), (("one.yml", text),), 1, 0)


def test_what_cannot_be_used_is_left_out_and_the_version_that_fired_goes_first() -> None:
    newer, older, broken = ruleset(RULE.format("b")), ruleset(RULE.format("a")), ruleset("title: [")
    (detection,) = load_texts([(Path("one.yml"), RULE.format("a"))]).detections
    fired = Alert.model_validate(alert("a"))
    fired.rule.id, fired.rule.version = detection.meta.id, detection.meta.version
    assert book_with(fired, [broken, newer, older]).detections == (detection,)
    assert book_with(fired, [broken, newer]) is newer.rulebook
    with pytest.raises(LookupError, match=detection.meta.id):
        book_with(fired, [broken])
