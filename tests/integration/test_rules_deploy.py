"""``tocsin rules deploy`` on the running platform: rules change while the workers run, and change back."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.prepare import deploy_files
from deploy.rules_deploy_cli import running
from processors.correlate_worker import CorrelateWorker
from processors.rule_files import load
from processors.ruleset import Deployment, RuleSet, RuleSetWatcher, deploy, read_history
from streams import rulesets
from tests.integration.commands import tocsin
from tests.integration.events import encoded, event
from tests.stack import Stack

TOPIC = "events.tip_report.v1"
WORKERS = ["correlate-0", "ingest-0"]
BASE = """\
title: Tip about a van
name: tip_van
id: {id}
status: test
logsource: {{product: tocsin, category: tip_report}}
detection:
  words: {{text|contains: {word}}}
  condition: words
"""
THREE = """\
---
title: Three tips about a van
id: {id}
status: test
correlation:
  type: event_count
  rules: [tip_van]
  group-by: [header.source_system]
  timespan: 1h
  condition: {{gte: 3}}
level: high
"""


@pytest.fixture
def folder(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """The shipped rules, to which a test may add; what was in force before is so again afterwards."""
    before = tocsin(stack, "rules", "deployed")["current"]
    yield Path(shutil.copytree(stack.settings.rules_path, tmp_path / "rules"))
    tocsin(stack, "rules", "deploy", "--version", before)
    wait_for(stack, before)


def wait_for(stack: Stack, version: str) -> None:
    """Until every worker says that it runs this version; the command then says so too."""
    wanted = dict.fromkeys(WORKERS, version)
    stack.wait_until(lambda: running(stack.settings) == wanted, 60, f"every worker on version {version}")
    (current,) = [each for each in tocsin(stack, "rules", "deployed")["versions"] if each["current"]]
    assert (current["version"], current["workers"]) == (version, WORKERS)


def add_rules(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yml").write_text(text)


def tip(stack: Stack, source: str, text: str) -> None:
    stack.produce(TOPIC, encoded(stack.schema_ids["tip_report"], event(source, text=text)), source.encode())


def alerts_of(stack: Stack, rule_id: str) -> list[dict[str, Any]]:
    return [each for each in stack.alerts() if each["rule"]["id"] == rule_id]


def test_rules_come_and_go_and_what_stays_keeps_its_state(stack: Stack, folder: Path) -> None:
    source, van, lorry = (f"w{uuid4().hex[:8]}" for _ in range(3))
    three_id, lorry_id = str(uuid4()), str(uuid4())
    add_rules(folder, "van", BASE.format(id=uuid4(), word=van) + THREE.format(id=three_id))
    first = tocsin(stack, "rules", "deploy", str(folder), "--by", "A. Berg", "--note", "vans")
    assert first["added"] == ["Three tips about a van", "Tip about a van"]
    assert (first["removed"], first["changed"]) == ([], [])
    assert len(first["unchanged"]) > 10
    wait_for(stack, first["version"])
    for _ in range(2):
        tip(stack, source, f"Seen again: {van}")
    stack.wait_ingested()

    add_rules(folder, "lorry", BASE.format(id=lorry_id, word=lorry).replace("van", "lorry"))
    second = tocsin(stack, "rules", "deploy", str(folder))
    assert second["added"] == ["Tip about a lorry"]
    assert "Three tips about a van" in second["unchanged"]
    wait_for(stack, second["version"])
    tip(stack, source, f"Seen again: {van}")
    tip(stack, source, f"And a {lorry}")
    (alert,) = stack.wait_until(lambda: alerts_of(stack, three_id), 30, "an alert from state of both versions")
    assert alert["evidence_total"] == 3
    (single,) = stack.wait_until(lambda: alerts_of(stack, lorry_id), 30, "an alert of the new rule")
    rules = load([folder]).by_id
    for each in (alert, single):
        assert each["rule"]["version"] == rules[each["rule"]["id"]].meta.version

    back = tocsin(stack, "rules", "deploy", "--version", first["version"], "--note", "too many lorries")
    assert back["removed"] == ["Tip about a lorry"]
    wait_for(stack, first["version"])
    tip(stack, source, f"Another {lorry}")
    tip(stack, source, f"Seen again: {van}")
    stack.wait_until(lambda: alerts_of(stack, three_id)[0]["evidence_total"] == 4, 30, "the older rule goes on")
    assert len(alerts_of(stack, lorry_id)) == 1
    listed = {each["version"]: each for each in tocsin(stack, "rules", "deployed")["versions"]}
    assert listed[first["version"]]["note"] == "too many lorries"
    assert listed[first["version"]]["current"]
    assert listed[second["version"]]["detections"] == listed[first["version"]]["detections"] + 1


def test_a_broken_rule_set_is_refused_and_the_old_one_stays(stack: Stack, folder: Path) -> None:
    before = tocsin(stack, "rules", "deployed")
    add_rules(folder, "wrong", BASE.format(id=uuid4(), word="x").replace("tip_report", "no_such_family"))
    found = tocsin(stack, "rules", "deploy", str(folder), status=1)
    assert found["path"].endswith("wrong.yml")
    assert "no_such_family" in found["reason"]
    assert tocsin(stack, "rules", "deployed") == before
    tocsin(stack, "rules", "deploy", "--version", "0" * 12, status=1)
    assert tocsin(stack, "rules", "deployed") == before


def test_a_rule_set_that_workers_cannot_use_leaves_the_one_before_in_force(stack: Stack, folder: Path) -> None:
    """As an older worker sees a set that uses what only a newer one knows; also when it starts anew."""
    source, word, rule_id = uuid4().hex[:8], f"w{uuid4().hex[:8]}", str(uuid4())
    add_rules(folder, "van", BASE.format(id=rule_id, word=word))
    good = tocsin(stack, "rules", "deploy", str(folder))["version"]
    wait_for(stack, good)
    ahead = Deployment(uuid4().hex[:12], dt.datetime.now(dt.UTC), "a newer version", "operator")
    deploy(stack.settings, ahead, RuleSet(ahead, (("new.yml", "correlation: {type: of the future}"),), 1, 0))
    tip(stack, source, f"A {word}")
    stack.wait_until(lambda: alerts_of(stack, rule_id), 30, "an alert of the rules before")
    stack.wait_until(lambda: refusals(stack) == set(WORKERS), 30, "every worker counts the refusal")

    stack.part("ingest-0").kill()
    tip(stack, uuid4().hex, f"A {word} once more")
    stack.wait_until(lambda: len(alerts_of(stack, rule_id)) == 2, 60, "an alert of the rules before, after a restart")
    found = tocsin(stack, "rules", "deployed")
    assert found["current"] == ahead.version
    assert found["workers"] == dict.fromkeys(WORKERS, good)


async def test_correlators_ask_when_signals_come_of_rules_that_they_do_not_know(stack: Stack, folder: Path) -> None:
    """The ingest workers may be the first to take up new rules."""
    rule_id = str(uuid4())
    worker = CorrelateWorker(stack.settings, RuleSetWatcher(stack.settings), "tests")
    try:
        before = worker.rules_version
        add_rules(folder, "van", BASE.format(id=rule_id, word="van"))
        new = tocsin(stack, "rules", "deploy", str(folder))["version"]
        await worker._switch({load([folder]).by_id[rule_id].meta.version})
        assert worker.rules_version == new != before
    finally:
        worker.close()


def test_a_worker_takes_the_rule_files_where_nothing_was_ever_deployed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulesets, "RULES_TOPIC", "tests.no-such-topic.v1")
    watcher = RuleSetWatcher(stack.settings)
    assert watcher.current().version == load([stack.settings.rules_path]).version
    assert watcher.refresh() is watcher.rulebook


def refusals(stack: Stack) -> set[str]:
    """Workers that say of themselves that they could not use a rule set."""
    sql = "SELECT DISTINCT worker FROM pipeline_metrics WHERE metric = 'tocsin_rules_refused_total' AND value > 0"
    return {row[0] for row in stack.rows(sql)}


def test_files_are_deployed_at_the_start_unless_an_operator_has_deployed(stack: Stack, folder: Path) -> None:
    settings = stack.settings.model_copy(update={"rules_path": folder})

    def current() -> Deployment:
        found = read_history(settings).current
        assert found is not None
        return found

    shipped = load([stack.settings.rules_path]).version
    deploy(settings, Deployment(shipped, dt.datetime.now(dt.UTC), "tocsin up", "files"))
    add_rules(folder, "van", BASE.format(id=uuid4(), word="van"))
    assert deploy_files(settings) == ""
    assert (current().version, current().origin) == (load([folder]).version, "files")

    in_force = current()
    assert deploy_files(settings) == ""
    assert current() == in_force, "files that did not change are not deployed again"

    add_rules(folder, "wrong", "title: [")
    assert "stays in force" in deploy_files(settings)
    assert current() == in_force

    (folder / "wrong.yml").unlink()
    tocsin(stack, "rules", "deploy", str(stack.settings.rules_path), "--by", "A. Berg")
    line = deploy_files(settings)
    assert "A. Berg" in line
    assert "tocsin rules deploy" in line
    assert "\n" not in line
    assert (current().version, current().origin) == (shipped, "operator")
