"""``tocsin oncall`` from files, over the real engine, and through real channels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dashboards.alerts import Store, StoreAwayError
from deploy import oncall_cli
from deploy.cli import app
from schemas.lifecycle import AlertState
from schemas.settings import Settings
from tests.dashboards.engine import EngineClient
from tests.processors.notify.receivers import mailbox, webhook
from tests.processors.notify.samples import POLICY, state


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setenv("TERM", "dumb")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["oncall", *arguments])

    return call


@pytest.fixture
def stored(engine: EngineClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(oncall_cli, "open_store", lambda _data_dir: store)
    engine.query("TRUNCATE TABLE alert_states")

    def put(*states: AlertState) -> None:
        columns = set(AlertState.model_fields) - {"acknowledged_by", "assignee", "verdict", "merged_into"}
        kept = columns & {"alert_id", "revision", "state", "priority", "group_key", "rule_id", "level", "exercise"}
        rows = [{name: getattr(each, name) for name in kept} | {"record": each.model_dump_json()} for each in states]
        engine.insert("alert_states", rows)

    return put


def test_who_is_on_call_at_a_hand_over_where_the_clock_changes(run: Any) -> None:
    # In Lisbon 09:00 on Monday 30 March 2026 is 08:00 UTC; a week before it was 09:00 UTC.
    for moment, person in (("2026-03-30T07:59:59Z", "mira"), ("2026-03-30T09:00:00+01:00", "ines")):
        [found] = json.loads(run("who", "--at", moment, "--schedule", "duty-lead", "--json").output)
        assert found["person"] == person
    assert found["from"] == "2026-03-30T08:00:00+00:00"
    assert found["to"] == "2026-04-06T08:00:00+00:00"
    table = run("who", "--at", "2026-12-25").output
    assert "Ines Carvalho" in table
    assert "override: holidays" in table
    assert "Thu 2026-12-24 20:00 CET" in table
    assert len(json.loads(run("who", "--json").output)) == 3


def test_shifts_of_a_span(run: Any) -> None:
    span = ("--from", "2026-03-28", "--to", "2026-04-01")
    found = json.loads(run("shifts", *span, "--schedule", "watch", "--json").output)
    assert found[0]["from"] == "2026-03-28T00:00:00+00:00"
    assert found[-1]["to"] == "2026-04-01T00:00:00+00:00"
    assert all(one["to"] == other["from"] for one, other in zip(found, found[1:], strict=False))  # noqa: RUF007
    assert "WEST" in run("shifts", *span).output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("who", "--at", "soon"), 2, "'soon' is no time"),
        (("who", "--schedule", "night"), 1, "no schedule 'night'; there is watch, duty-lead, cyber-analyst"),
        (("shifts", "--from", "2026-03-02", "--to", "2026-03-01"), 2, "is not after"),
        (("test", "--person", "nobody"), 1, "no person 'nobody'; there is mira"),
    ],
)
def test_what_cannot_be_asked(run: Any, arguments: tuple[str, ...], status: int, says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert says in result.output


def test_check_names_mistakes_by_line_and_warns_of_gaps(run: Any, tmp_path: Path) -> None:
    assert "6 people, 3 schedules, 4 escalation policies and 4 routes" in run("check").output
    path = tmp_path / "oncall.yml"
    path.write_text(POLICY.format(channels="{smtp: {host: a, from: a@b, to: c@d, user: u, password: hunter2}}"))
    result = run("check", str(path))
    assert result.exit_code == 1
    assert f"{path}:2: " in result.output
    assert "hunter2" not in result.output
    path.write_text(
        POLICY.format(channels="{log: true}") + "schedules: [{id: office, name: Office, time_zone: UTC, rotations: "
        '[{name: a, people: [mira], start: 2026-01-05, handover: "08:00", restrictions: [{from: "09:00", to: "17:00"}]}'
        "]}]\n"
    )
    result = run("check", str(path))
    assert result.exit_code == 0
    assert "warning: nobody is on call in office from" in result.output


def test_preview_says_who_would_get_what_and_why(run: Any, stored: Any) -> None:
    stored(state("aaaa-1"), state("bbbb-2", exercise=True), state("bbbb-3", silences=["s-7"], level="low"))
    found = json.loads(run("preview", "aaaa", "--at", "2026-03-02T12:00:00Z", "--json").output)
    assert found["alert_id"] == "aaaa-1"
    assert found["held_back"] == ""
    first = found["planned"][0]
    assert (first["person"], first["due_at"]) == ("wanjiru", "2026-03-02T12:00:05+00:00")
    assert first["why"] == "route critical (level=critical); policy critical, step 1: schedule watch, rotation days"
    assert first["channels"] == ["log log"]
    table = run("preview", "bbbb-3").output
    assert "Now nobody is told of it: silenced by s-7" in table
    assert "default route" in table
    for wrong, says in (("bbbb", "start of several alert ids: bbbb-2, bbbb-3"), ("zz", "No alert has an id")):
        result = run("preview", wrong)
        assert result.exit_code == 1
        assert says in result.output


def test_preview_says_when_the_store_is_away(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise StoreAwayError("ClickHouse does not answer")

    monkeypatch.setattr(oncall_cli, "open_store", lambda _data_dir: Store(Settings(data_dir=tmp_path), away))
    result = run("preview", "a")
    assert (result.exit_code, "does not answer" in result.output) == (2, True)


def test_a_test_message_goes_through_each_channel(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK_SECRET", "invented")
    with webhook() as hook, mailbox("550 no") as box:
        channels = f"{{webhook: {{url: '{hook.url}', secret: env:TEST_HOOK_SECRET}}}}, {box.channel()}"
        path = tmp_path / "oncall.yml"
        path.write_text(POLICY.format(channels=channels))
        monkeypatch.setenv("TOCSIN_ONCALL_FILE", str(path))
        result = run("test", "--person", "mira", "--json")
        assert result.exit_code == 1
        found = [(each["channel"], each["outcome"]) for each in json.loads(result.output)]
        assert found == [("webhook", "sent"), ("smtp", "failed")]
        assert len(hook.taken) == 1
        assert run("test", "--person", "mira").exit_code == 0
        assert len(box.mails) == 1
