"""``tocsin alerts export`` over the real engine."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stix2
from lxml import etree
from typer.testing import CliRunner, Result

from dashboards.alerts import Store
from deploy import export_cli
from deploy.cli import app
from schemas.alerts import Alert
from schemas.lifecycle import AlertState
from tests.dashboards.engine import EngineClient, alert, iso, put_alerts
from tests.processors.export.samples import state_of

CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"


@pytest.fixture
def run(engine: EngineClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    for table in ("alert_states", "alert_actions"):
        engine.query(f"TRUNCATE TABLE {table}")
    monkeypatch.setattr(export_cli, "open_store", lambda _data_dir: store)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["alerts", "export", *arguments])

    return call


def put_state(engine: EngineClient, state: AlertState) -> None:
    names = ("alert_id", "revision", "state", "priority", "group_key", "rule_id", "level", "exercise")
    row = {name: getattr(state, name) for name in names}
    times = {"raised_at": iso(state.raised_at), "updated_at": iso(state.updated_at)}
    engine.insert("alert_states", [row | times | {"record": state.model_dump_json()}])


def test_stix_to_standard_output_and_to_a_file(engine: EngineClient, run: Any, tmp_path: Path) -> None:
    put_alerts(engine, alert("aaaa-1"))
    result = run("aaaa", "--format", "stix")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["type"] == "bundle"
    names = {each.get("name") for each in found["objects"]}
    assert "Border Police, Germany" in names
    file = tmp_path / "alert.json"
    assert run("aaaa", "--format", "stix", "--out", str(file)).exit_code == 0
    assert file.read_text() == result.stdout
    assert len(stix2.parse(file.read_text()).objects) == len(found["objects"])


def test_cap_refers_to_each_state_that_the_alert_had(engine: EngineClient, run: Any) -> None:
    record = alert("aaaa-1", supersedes=["bbbb-2"])
    put_alerts(engine, record, alert("bbbb-2", status="superseded", superseded_by="aaaa-1"))
    parsed = Alert.model_validate(record)
    at = [parsed.created_at + timedelta(minutes=minute) for minute in range(4)]
    put_state(engine, state_of(parsed, revision=3, state="closed", verdict="false_positive", updated_at=at[2]))
    actions = [
        {"at": iso(at[number]), "action_id": str(number), "alert_id": "aaaa-1", "revision": revision, "accepted": ok}
        for number, (revision, ok) in enumerate([(1, True), (2, True), (3, True), (2, False)])
    ]
    engine.insert("alert_actions", actions)
    result = run("aaaa-1", "--format", "cap", "--sender", "watch@tocsin.example")
    assert result.exit_code == 0, result.output
    root = etree.fromstring(result.stdout.encode())
    assert root.findtext(f"{CAP}identifier") == "aaaa-1.r3"
    assert root.findtext(f"{CAP}msgType") == "Cancel"
    references = [each.split(",") for each in root.findtext(f"{CAP}references").split()]
    assert {each[0] for each in references} == {"watch@tocsin.example"}
    assert [each[1] for each in references] == ["aaaa-1.r1", "bbbb-2.v1", "aaaa-1.r2"]
    assert references[2][2] == at[1].strftime("%Y-%m-%dT%H:%M:%S-00:00")


def test_an_alert_that_nobody_has_worked_on_yet(engine: EngineClient, run: Any) -> None:
    put_alerts(engine, alert("aaaa-1"))
    root = etree.fromstring(run("aaaa", "--format", "cap").stdout.encode())
    assert root.findtext(f"{CAP}identifier") == "aaaa-1.v1"
    assert root.findtext(f"{CAP}msgType") == "Alert"
    assert root.findtext(f"{CAP}sender") == "tocsin.invalid"


def test_what_is_wrong_is_said(run: Any) -> None:
    unknown = run("nope", "--format", "stix")
    assert unknown.exit_code == 1
    assert "No alert has an id that starts with 'nope'" in unknown.stderr
    assert run("nope", "--format", "pdf").exit_code == 2
