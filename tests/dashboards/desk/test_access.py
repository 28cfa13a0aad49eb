"""The access log as oversight reads it: by queries over the real engine, the API, the page's filter and the command."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dashboards.alerts import Store
from dashboards.desk.access_queries import AccessCursorError, AccessFilter, accesses, shared_with
from dashboards.desk.auth.access_log import Entry
from dashboards.desk.auth.roles import Role
from dashboards.desk.pages import access
from deploy import access_cli
from deploy.cli import app
from tests.dashboards.desk.site import Site
from tests.dashboards.engine import EngineClient, alert, put_alerts

NOW = datetime.now(UTC).replace(microsecond=0)
"""The present, because the table forgets what is old."""


def entry(person: str, target: str, minutes_ago: int, **changes: object) -> Entry:
    values = {
        "at": NOW - timedelta(minutes=minutes_ago),
        "person": person,
        "role": "watch_officer",
        "what": "view",
        "target": target,
        "allowed": True,
        "via": "desk",
        "address": "192.0.2.1",
        "detail": "GET 200",
    }
    return Entry(**(values | changes))


ROWS = (
    entry("mira", "/alerts/new", 1),
    entry("fiona", "/alerts/old", 2, role="partner", partner="fiu-nl"),
    entry("fiona", "/alerts/new", 2, role="partner", partner="fiu-nl", detail="GET 302"),
    entry("tomas", "/api/v1/alerts/new/actions", 3, via="api"),
    entry("tomas", "/alerts/newer", 4),
    entry("fiona", "/feeds", 5, role="partner", partner="fiu-nl", allowed=False, detail="GET 403"),
    entry("root", "mira analyst", 6, role="operator", what="account role", via="cli"),
)


@pytest.fixture(autouse=True)
def rows(engine: EngineClient) -> None:
    engine.insert("access_log", [asdict(each) | {"at": each.at.isoformat()} for each in ROWS])


def targets(store: Store, **choice: object) -> list[str]:
    return [each.target for each in accesses(store, AccessFilter(**choice)).entries]


def test_rows_come_back_as_they_were_the_latest_first(store: Store) -> None:
    assert set(accesses(store, AccessFilter()).entries) == set(ROWS)
    assert targets(store)[0] == "/alerts/new"


def test_who_looked_at_an_alert_under_any_of_its_ids(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("new", supersedes=["old"]), alert("old", status="superseded", superseded_by="new"))
    assert sorted(targets(store, alert="new")) == sorted(each.target for each in ROWS[:4])


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"person": "tomas"}, 2),
        ({"what": "account role"}, 1),
        ({"target": "MIRA"}, 1),
        ({"partner": "fiu-nl"}, 3),
        ({"allowed": False}, 1),
        ({"since": NOW - timedelta(minutes=2)}, 3),
        ({"until": NOW - timedelta(minutes=2)}, 4),
        ({"person": "fiona", "allowed": True, "since": NOW - timedelta(days=1)}, 2),
        ({"person": "' OR 1 --"}, 0),
    ],
)
def test_filters(store: Store, choice: dict[str, object], found: int) -> None:
    assert len(targets(store, **choice)) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_parts_join_without_gap_or_overlap_though_times_are_the_same(store: Store, limit: int) -> None:
    whole, cursor, parts = accesses(store, AccessFilter()).entries, "", []
    while True:
        part = accesses(store, AccessFilter(), limit=limit, cursor=cursor)
        parts += part.entries
        if part.next is None:
            break
        cursor = part.next
    assert parts == whole


def test_a_cursor_of_somebody_elses_making(store: Store) -> None:
    with pytest.raises(AccessCursorError, match="no cursor"):
        accesses(store, AccessFilter(), cursor="1; DROP")


def test_what_was_shared_with_a_partner_and_what_of_it_was_opened(engine: EngineClient, store: Store) -> None:
    made = {"created_at": NOW.isoformat(), "updated_at": NOW.isoformat(), "partners": ["bpol-de", "fiu-nl"]}
    put_alerts(engine, *(alert(name, **made) for name in ("new", "unseen")), alert("theirs"))
    found = shared_with(store, "fiu-nl", NOW - timedelta(days=1), NOW + timedelta(minutes=1))
    assert [(each.alert_id, each.opened, each.by) for each in found] == [("new", 1, ("fiona",)), ("unseen", 0, ())]
    assert found[0].last_opened_at == ROWS[2].at
    assert found[1].last_opened_at is None
    assert shared_with(store, "hub-ke", NOW - timedelta(days=1), NOW) == []


@pytest.mark.parametrize("role", ["watch_officer", "analyst"])
async def test_others_may_not_read_it(site: Site, role: Role) -> None:
    answer = await site.client(role).get("/api/v1/access")
    assert answer.status_code == 403
    assert "read the access log" in answer.text


async def test_the_api_gives_it_in_parts(site: Site) -> None:
    client = site.client("oversight")
    first = (await client.get("/api/v1/access", params={"person": "fiona", "limit": 2})).json()
    rest = (await client.get("/api/v1/access", params={"person": "fiona", "cursor": first["next"]})).json()
    assert [each["target"] for each in first["entries"]] == ["/alerts/new", "/alerts/old"]
    assert [(each["target"], each["allowed"], each["partner"]) for each in rest["entries"]] == [
        ("/feeds", False, "fiu-nl")
    ]
    assert rest["next"] is None
    within = {"from": (NOW - timedelta(minutes=6)).isoformat(), "to": (NOW - timedelta(minutes=5)).isoformat()}
    assert [each["person"] for each in (await client.get("/api/v1/access", params=within)).json()["entries"]] == [
        "root"
    ]
    assert (await client.get("/api/v1/access", params={"cursor": "x"})).status_code == 400
    assert (await client.get("/api/v1/access", params={"from": "2026-03-01T12:00:00"})).status_code == 422


def test_the_address_chooses_and_nonsense_is_left_out() -> None:
    chosen = access.choice_of({"person": "mira", "from": "2026-03-01T12:00", "to": "never", "allowed": "no"}, NOW)
    assert chosen == AccessFilter(person="mira", allowed=False, since=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert access.choice_of(access.query_of(chosen), NOW) == chosen
    assert access.choice_of({}, NOW) == AccessFilter(since=NOW - timedelta(days=access.DAYS))
    assert access.choice_of({"alert": "a"}, NOW).since is None


def test_the_command_shows_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_cli, "Store", lambda _: store)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["accounts", "access", *words, "--data-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert [each["target"] for each in json.loads(run("--person", "fiona", "--refused", "--json"))] == ["/feeds"]
    assert json.loads(run("--since", "2m", "--target", "old", "--json")) == []
    assert "Nothing goes by" in run("--person", "nobody")
    assert "fiona" in run("--person", "fiona")


def test_the_command_says_that_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["accounts", "access", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "ClickHouse at http://127.0.0.1:9 does not answer" in result.output
