"""Sync against an HTTP double: how it takes a Grafana that says no, and what it sends.

What a real Grafana makes of it is in test_sync_grafana.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards import cli
from dashboards.grafana import build, provisioned
from dashboards.grafana import sync as sync_module
from dashboards.grafana.sync import Sync, SyncError, wanted
from dashboards.grafana.sync_plan import NotOursError, stamp
from schemas.settings import Settings
from tests.dashboards.grafana_double import ALERTING, PLUGIN, Answer, Double, double

BOARD = {"uid": "tocsin-feeds", "title": "Feeds", "tags": ["tocsin"], "version": 1, "panels": []}
SETTINGS = Settings(clickhouse_reader_password="store-secret", grafana_desk_token="desk-secret")
WANTED = wanted(SETTINGS, {"tocsin-feeds": BOARD})


@pytest.fixture
def grafana() -> Iterator[Double]:
    with double() as made:
        yield made


def run(grafana: Double, settings: Settings = SETTINGS, **options: Any) -> list[str]:
    sync = Sync(grafana.url, "glsa_token", settings)
    return [str(each) for each in sync.apply(sync.plan(WANTED, **options))]


@pytest.mark.parametrize(
    ("at", "answer", "said"),
    [
        ("/api/folders", (401, {"message": "Invalid API key"}), "does not know the token (401)"),
        ("/api/folders", (403, {"message": "denied"}), "let the token read folders (403): its service account needs"),
        ("/api/datasources", (500, {"message": "database is locked"}), "could not read data sources: Server Error 500"),
        ("/api/search", (404, {"message": "gone"}), "could not search dashboards: Client Error 404: gone"),
        (f"{ALERTING}/policies", (403, {"message": "denied"}), "read notification policies (403)"),
        ("/api/health", (200, {"database": "ok", "version": "9.3.16"}), "is Grafana 9.3.16; sync needs 9.4 or newer"),
        ("/api/health", (200, {"database": "ok", "version": "8.5.27"}), "is Grafana 8.5.27"),
        ("/api/health", (200, b"<html>It works!</html>"), "is no Grafana"),
        ("/api/health", (200, {"status": "UP"}), "could not read its version"),
        ("/api/health", (200, b"[}"), "does not answer as Grafana does: could not read its version"),
        ("/api/health", (200, b""), "does not answer as Grafana does: could not read its version"),
        (PLUGIN, (404, {"message": "Plugin not found"}), "grafana cli plugins install grafana-clickhouse-datasource"),
        (PLUGIN, (200, {"info": {"version": "2.2.1"}}), "grafana-clickhouse-datasource 2.2.1; needed is 3.3"),
    ],
)
def test_a_grafana_that_cannot_be_used(grafana: Double, at: str, answer: Answer, said: str) -> None:
    grafana.set["GET", at] = answer
    with pytest.raises(SyncError) as error:
        run(grafana)
    assert said in str(error.value)
    assert grafana.url in str(error.value)
    assert "glsa_token" not in str(error.value)
    assert grafana.sent == []


def test_a_version_that_is_hidden_from_strangers_is_asked_for_with_the_token(grafana: Double) -> None:
    grafana.set["GET", "/api/health"] = (200, {"database": "ok"})
    grafana.set["GET", "/api/frontend/settings"] = (200, {"buildInfo": {"version": "13.0.1-cloud.2"}})
    assert run(grafana)
    assert grafana.headers[1]["Authorization"] == "Bearer glsa_token"


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        monkeypatch.setattr(sync_module, "TIMEOUT_S", 0.2)
        with pytest.raises(SyncError, match="does not answer within 0 s"):
            Sync(f"http://127.0.0.1:{port}", "t", SETTINGS).plan(WANTED)
    with pytest.raises(
        SyncError, match=r"does not answer: \[Errno \d+\] Connection refused. Is TOCSIN_GRAFANA_URL right"
    ):
        Sync(f"http://127.0.0.1:{port}", "t", SETTINGS).plan(WANTED)


@pytest.mark.parametrize("url", ["localhost:3000", "grafana", "ftp://grafana.example"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SyncError, match="no address of a Grafana"):
        Sync(url, "t", SETTINGS)
    with pytest.raises(SyncError, match="role Admin"):
        Sync("http://127.0.0.1:3000", "", SETTINGS)


def test_what_is_in_the_way_stops_it_before_anything_is_changed(grafana: Double) -> None:
    grafana.dashboards["tocsin-feeds"] = {"dashboard": BOARD, "meta": {"folderUid": "ops"}, "message": ""}
    with pytest.raises(NotOursError, match="tocsin-feeds is not ours, it lies in the folder ops"):
        run(grafana)
    assert grafana.sent == []


def test_without_a_token_for_the_desk_there_is_no_contact_point_to_make(grafana: Double) -> None:
    without = SETTINGS.model_copy(update={"grafana_desk_token": ""})
    with pytest.raises(SyncError, match="--scope report"):
        run(grafana, without)
    assert grafana.sent == []
    run(grafana)
    assert run(grafana, without) == []
    with pytest.raises(SyncError, match="TOCSIN_GRAFANA_DESK_TOKEN"):
        run(grafana, without, secrets=True)


def test_a_change_that_is_refused_says_which_and_the_next_sync_goes_on(grafana: Double) -> None:
    grafana.set["POST", f"{ALERTING}/alert-rules"] = (400, {"message": "invalid alert rule: folder is missing"})
    with pytest.raises(SyncError, match="could not create alert rule tocsin-consumer-lag: Bad Input"):
        run(grafana)
    grafana.set.clear()
    rest = run(grafana)
    assert rest[0] == "create alert rule tocsin-consumer-lag"
    assert rest[-1] == "create policy Tocsin"


def test_what_is_sent_and_that_nothing_is_the_second_time(grafana: Double) -> None:
    grafana.policy = {"receiver": "mail", "routes": [{"receiver": "pager"}]}
    assert len(run(grafana)) == 5 + len(WANTED.rules) + 1
    sent = {(method, path): body for method, path, body in grafana.sent}
    source = sent["POST", "/api/datasources"]
    assert source["secureJsonData"] == {"password": "store-secret"}
    assert source["isDefault"] is False
    assert sent["POST", "/api/folders"] == {"title": "Tocsin", "uid": "tocsin"}
    assert sent["POST", "/api/dashboards/db"] == {
        "dashboard": {"uid": "tocsin-feeds", "title": "Feeds", "tags": ["tocsin"], "panels": [], "id": None},
        "folderUid": "tocsin",
        "message": stamp(BOARD),
        "overwrite": False,
    }
    assert sent["POST", f"{ALERTING}/contact-points"]["settings"] == {
        "url": "http://127.0.0.1:8090/api/v1/platform-alerts",
        "httpMethod": "POST",
        "authorization_scheme": "Bearer",
        "authorization_credentials": "desk-secret",
    }
    assert sent["PUT", f"{ALERTING}/policies"] == {
        "receiver": "mail",
        "routes": [provisioned.route(), {"receiver": "pager"}],
    }
    assert grafana.headers[-1]["X-Disable-Provenance"] == "true"

    grafana.sent.clear()
    assert run(grafana) == []
    assert grafana.sent == []
    assert run(grafana, secrets=True) == [
        "update data source tocsin-clickhouse (its secret is sent again)",
        "update contact point tocsin-desk (its secret is sent again)",
    ]


def test_what_is_changed_and_dropped_is_brought_back_and_removed(grafana: Double) -> None:
    run(grafana)
    grafana.sent.clear()
    grafana.things["folders"]["tocsin"]["title"] = "Mine"
    grafana.permissions = [{"role": "Editor", "permission": 2}]
    without = SETTINGS.model_copy(update={"grafana_desk_token": "", "grafana_desk_url": "http://desk:8090"})
    fewer = replace(
        wanted(without, {"tocsin-floor": BOARD | {"uid": "tocsin-floor"}}),
        rules={uid: each for uid, each in WANTED.rules.items() if uid != "tocsin-silent-feed"},
    )
    sync = Sync(grafana.url, "glsa_token", without)
    assert [str(each) for each in sync.apply(sync.plan(fewer))] == [
        "update folder tocsin",
        "update permissions tocsin",
        "create dashboard tocsin-floor",
        "delete dashboard tocsin-feeds",
        "update contact point tocsin-desk",
        "delete alert rule tocsin-silent-feed",
    ]
    point = grafana.things["points"]["tocsin-desk"]["settings"]
    assert point["url"].startswith("http://desk:8090/")
    assert point["authorization_credentials"] == "[REDACTED]", "Grafana keeps the secret that it has"
    assert sync.plan(fewer) == []


@pytest.fixture
def told(grafana: Double, monkeypatch: pytest.MonkeyPatch) -> Double:
    """A Grafana that the environment names."""
    monkeypatch.setenv("TOCSIN_GRAFANA_URL", grafana.url)
    monkeypatch.setenv("TOCSIN_GRAFANA_TOKEN", "glsa_token")
    monkeypatch.setenv("TOCSIN_GRAFANA_DESK_TOKEN", "desk-secret")
    return grafana


def command(*options: str) -> Any:
    return CliRunner().invoke(cli.app, ["sync", *options])


def test_the_command_shows_what_it_would_do_does_it_and_has_nothing_left(told: Double) -> None:
    shown = command("--dry-run")
    assert shown.exit_code == 1
    assert "would create folder tocsin" in shown.output
    assert '+  "title": "Tocsin"' in shown.output
    assert "secret" not in shown.output
    assert told.sent == []
    done = command()
    assert done.exit_code == 0, done.output
    assert [f"create dashboard {uid}" for uid in build.dashboards()] == [
        line for line in done.output.splitlines() if "dashboard" in line
    ]
    assert command().output == f"{told.url} was up to date.\n"
    assert command("--dry-run").exit_code == 0


def test_the_command_says_why_it_cannot(told: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    told.things["folders"]["theirs"] = {"uid": "theirs", "title": "Tocsin"}
    refused = command()
    assert refused.exit_code == 3
    assert "folder theirs is named 'Tocsin' and is not ours" in refused.stderr
    told.set["GET", "/api/folders"] = (401, {"message": "Invalid API key"})
    assert command().exit_code == 2
    monkeypatch.delenv("TOCSIN_GRAFANA_URL")
    monkeypatch.delenv("GRAFANA_URL", raising=False)
    nowhere = command()
    assert nowhere.exit_code == 2
    assert "set TOCSIN_GRAFANA_URL" in nowhere.stderr
