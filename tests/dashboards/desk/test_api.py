"""The JSON API over the real engine, behind the real logins; what needs the lifecycle worker is in tests/browser."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dashboards.desk.auth.roles import ROLE_PERMISSIONS, token_permissions
from dashboards.desk.commands import Commands
from schemas.lifecycle import Action, Command
from tests.dashboards.desk.site import Site
from tests.dashboards.desk.states import NOW, state
from tests.dashboards.engine import EngineClient, alert, evidence, put_alerts


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["alert_id"] for each in answer.json()["alerts"]]


async def test_alerts_are_listed_by_priority_and_age_in_parts(site: Site) -> None:
    client = site.client()
    whole = await client.get("/api/v1/alerts")
    assert ids(whole) == ["c", "a", "b"]
    assert whole.json()["counts"] == {"P1": 1, "P2": 2, "P3": 0, "P4": 0}
    assert whole.json()["held_back"] == 1
    assert whole.json()["next"] is None
    first = await client.get("/api/v1/alerts", params={"limit": 2})
    assert ids(first) == ["c", "a"]
    # Alerts that come in between move nothing: the cursor says behind what to go on.
    site.live.put(state("new", priority="P1", raised_at=NOW - timedelta(hours=9)))
    assert ids(await client.get("/api/v1/alerts", params={"cursor": first.json()["next"]})) == ["b"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"hidden": "1"}, ["c", "a", "b", "held"]),
        ({"hidden": "true"}, ["c", "a", "b", "held"]),
        ({"state": "closed"}, ["done"]),
        ({"priority": "P1"}, ["c"]),
        ({"level": "critical"}, ["c"]),
        ({"partner": "fiu-nl"}, ["c"]),
        ({"exercise": "live", "order": "newest"}, ["b", "a"]),
        ({"q": "nairobi frankfurt"}, ["c", "a", "b"]),
    ],
)
async def test_filters(site: Site, query: dict[str, str], found: list[str]) -> None:
    assert ids(await site.client().get("/api/v1/alerts", params=query)) == found


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"priority": "P9"}, "P9"),
        ({"level": "loud"}, "loud"),
        ({"state": "x"}, "active"),
        ({"limit": "0"}, "greater"),
    ],
)
async def test_what_is_not_known_is_refused(site: Site, query: dict[str, str], said: str) -> None:
    answer = await site.client().get("/api/v1/alerts", params=query)
    assert answer.status_code == 422
    assert said in answer.text


async def test_one_alert_with_record_and_without(site: Site, engine: EngineClient) -> None:
    put_alerts(engine, alert("a"))
    client = site.client()
    both = (await client.get("/api/v1/alerts/a")).json()
    assert both["state"]["alert_id"] == "a"
    assert len(both["record"]["evidence"]) == 4
    assert (await client.get("/api/v1/alerts/b")).json()["record"] is None
    assert (await client.get("/api/v1/alerts/nothing")).status_code == 404
    assert (await client.get("/api/v1/alerts/a/actions")).json() == []


async def test_a_partner_sees_its_own_and_may_change_nothing(site: Site) -> None:
    client = site.client("partner", "fiu-nl")
    assert ids(await client.get("/api/v1/alerts", params={"hidden": "1"})) == ["c"]
    assert (await client.get("/api/v1/alerts/a")).status_code == 404
    assert (await client.get("/api/v1/alerts/a/actions")).status_code == 404
    assert (await client.get("/api/v1/alerts/c")).status_code == 200
    assert (await client.post("/api/v1/alerts/c/commands", json={"verb": "acknowledge"})).status_code == 403
    for path in ("silences", "feeds", "rules", "quarantine", "oncall/now"):
        assert (await client.get(f"/api/v1/{path}")).status_code == 403


async def test_a_partner_learns_of_others_what_their_marking_allows(site: Site, engine: EngineClient) -> None:
    mine = evidence(0, partner="fiu-nl", tlp="RED", summary="what we said ourselves")
    others = evidence(1, partner="bpol-de", tlp="RED", summary="what they said")
    put_alerts(
        engine, alert("p", partners=["bpol-de", "fiu-nl"], tlp="RED", evidence=[mine, others], story="both said")
    )
    officer = site.client()
    site.live.put(
        state("p", tlp="RED", partners=["bpol-de", "fiu-nl"], story="both said", assignee="watch-officer-x",
              state="assigned", inhibited_by="a", merged=["a", "c"])
    )  # fmt: skip
    client = site.client("partner", "fiu-nl")
    found = await client.get("/api/v1/alerts/p")
    assert next(each["summary"] for each in found.json()["record"]["evidence"]) == "what we said ourselves"
    assert "they said" not in found.text
    assert "both said" not in found.text
    assert found.json()["state"]["assignee"] == "watch officer"
    assert found.json()["state"]["merged"] == ["c"]
    listed = await client.get("/api/v1/alerts", params={"partner": "fiu-nl", "q": "watch-officer-x"})
    assert (ids(listed), listed.json()["held_back"]) == ([], 0)
    assert "both said" in (await officer.get("/api/v1/alerts/p")).text


async def test_an_alert_is_exported_for_who_may_see_all_of_it(site: Site, engine: EngineClient) -> None:
    put_alerts(engine, alert("a"), alert("c", partners=["fiu-nl"]))
    client = site.client()
    stix = await client.get("/api/v1/alerts/a/export", params={"format": "stix"})
    assert stix.headers["content-type"] == "application/stix+json;version=2.1"
    assert stix.headers["content-disposition"] == 'attachment; filename="alert-a.stix.json"'
    assert stix.json()["type"] == "bundle"
    cap = await client.get("/api/v1/alerts/a/export", params={"format": "cap"})
    assert b"<sender>tocsin.invalid</sender>" in cap.content
    assert (await client.get("/api/v1/alerts/nothing/export", params={"format": "cap"})).status_code == 404
    assert (await client.get("/api/v1/alerts/a/export", params={"format": "pdf"})).status_code == 422
    partner = site.client("partner", "fiu-nl")
    assert (await partner.get("/api/v1/alerts/c/export", params={"format": "stix"})).status_code == 403


@pytest.mark.parametrize(
    "path", ["alerts", "alerts/a", "alerts/a/actions", "events", "silences", "feeds", "oncall/now"]
)
async def test_nobody_gets_anything(site: Site, path: str) -> None:
    answer = await site.client(None).get(f"/api/v1/{path}")
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]


async def test_roles_bound_what_may_be_asked(site: Site) -> None:
    silence = {"matchers": [{"field": "rule_id", "value": "c0ffee"}]}
    analyst = site.client("analyst")
    assert (await analyst.post("/api/v1/silences/preview", json=silence)).status_code == 403
    oversight = site.client("oversight")
    assert (await oversight.post("/api/v1/alerts/a/commands", json={"verb": "note", "text": "x"})).status_code == 403
    assert (await oversight.get("/api/v1/silences")).json() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verb": "silence"}, 422),
        ({"verb": "acknowledge", "speed": 9}, 422),
        ({"verb": "acknowledge", "for_s": 0}, 422),
        ({}, 422),
    ],
)
async def test_requests_that_make_no_sense(site: Site, body: dict[str, Any], status: int) -> None:
    client = site.client()
    assert (await client.post("/api/v1/alerts/a/commands", json=body)).status_code == status
    assert (await client.post("/api/v1/alerts/nothing/commands", json={"verb": "note"})).status_code == 404


@pytest.mark.parametrize(
    ("scope", "who"), [(["view", "act"], ("ana", "api")), (["view", "act", "act_as"], ("bo (cli)", "cli"))]
)
async def test_a_name_counts_only_with_a_token_that_may_give_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, scope: list[str], who: tuple[str, str]
) -> None:
    asked: list[Command] = []

    async def note(_: Commands, command: Command) -> Action:
        asked.append(command)
        return Action(action_id="1", alert_id="a", verb="start", by=command.by, via=command.via, at=NOW)

    monkeypatch.setattr(Commands, "ask", note)
    site.desk.accounts.add_machine("ana", "watch_officer")
    token = site.desk.accounts.tokens.make("ana", scope, timedelta(hours=1))
    headers = {"Authorization": f"Bearer {token.secret}"}
    client = httpx.AsyncClient(transport=site.transport, base_url="http://127.0.0.1", headers=headers)
    done = await client.post("/api/v1/alerts/a/commands", json={"verb": "start", "by": "bo"})
    assert done.status_code == 200
    assert [(each.by, each.via) for each in asked] == [who]
    marked = await client.post("/api/v1/alerts/a/commands", json={"verb": "start", "by": "ana (desk)"})
    assert marked.status_code == 422


def test_act_as_is_no_roles() -> None:
    assert not [role for role, permissions in ROLE_PERMISSIONS.items() if "act_as" in permissions]
    assert [role for role in ROLE_PERMISSIONS if "act_as" in token_permissions(role)] == [
        "watch_officer", "analyst", "administrator"
    ]  # fmt: skip


async def test_no_answer_says_what_to_look_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.desk.commands.ANSWER_S", 0.1)
    answer = await site.client().post("/api/v1/alerts/a/commands", json={"verb": "acknowledge"})
    assert answer.status_code == 504
    assert "lifecycle-0" in answer.json()["detail"]


async def test_a_preview_counts_and_bad_matchers_are_named(site: Site) -> None:
    client = site.client()
    matchers = [{"field": "rule_id", "value": "c0ffee"}]
    found = await client.post("/api/v1/silences/preview", json={"matchers": matchers})
    assert found.status_code == 200, found.text
    assert found.json()["complete"] is True
    wrong = await client.post("/api/v1/silences/preview", json={"matchers": [{"field": "colour", "value": "red"}]})
    assert wrong.status_code == 422
    assert "colour" in wrong.text
    past = {"matchers": matchers, "reason": "late", "ends_at": "2020-01-01T00:00:00Z"}
    assert "ahead" in (await client.post("/api/v1/silences", json=past)).text
    assert (await client.delete("/api/v1/silences/none")).status_code == 404


async def test_what_runs_beside_the_alerts(site: Site) -> None:
    client = site.client()
    for path in ("feeds", "rules", "quarantine", "oncall/now"):
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        assert isinstance(answer.json(), list)


async def test_the_contract_and_its_page(site: Site) -> None:
    client = site.client()
    document = (await client.get("/api/openapi.json")).json()
    assert {"/api/v1/alerts", "/api/v1/alerts/{alert_id}/commands", "/api/v1/silences/preview"} <= set(
        document["paths"]
    )
    page = await client.get("/api/docs")
    assert page.status_code == 200
    assert "/api/v1/alerts/{alert_id}/commands" in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")


async def test_health_and_sound_are_for_everybody(site: Site) -> None:
    client = site.client(None)
    assert (await client.get("/health")).json() == {"status": "ok", "log": "live"}
    assert (await client.get("/static/alarm.wav")).content[:4] == b"RIFF"


@pytest.mark.parametrize(
    "cursor",
    ["x", "W10", "é", _cursor("[1e999, 0, 0]"), _cursor("[" * 600), _cursor("[" * 10_000), _cursor("[NaN, 1, 1]")],
)
async def test_a_cursor_of_somebody_elses_making_is_refused(site: Site, cursor: str) -> None:
    answer = await site.client().get("/api/v1/alerts", params={"cursor": cursor})
    assert answer.status_code == 400
    assert "without it" in answer.json()["detail"]


@pytest.mark.parametrize(
    "fields", [{"for_s": 86_401}, {"for_s": 10**400}, {"assignee": "a" * 101}, {"target": "a" * 101}, {"target": ""}]
)
async def test_requests_have_bounds(site: Site, fields: dict[str, Any]) -> None:
    answer = await site.client().post("/api/v1/alerts/a/commands", json={"verb": "acknowledge", **fields})
    assert answer.status_code == 422


async def test_silences_have_bounds(site: Site) -> None:
    client = site.client()
    matcher = {"field": "level", "value": "high"}
    wanted: dict[str, Any] = {"matchers": [matcher], "reason": "planned work", "ends_at": "9999-12-31T23:59:59-23:59"}
    far = await client.post("/api/v1/silences", json=wanted)
    assert (far.status_code, "90 days" in far.json()["detail"]) == (422, True)
    for changes in ({"matchers": [matcher | {"value": "a" * 1_001}]}, {"partner": "a" * 101}):
        assert (await client.post("/api/v1/silences", json=wanted | changes)).status_code == 422
    assert (await client.post("/api/v1/silences/preview", json={"matchers": [matcher]})).status_code == 200


async def test_history_is_found_under_earlier_ids_too(site: Site, engine: EngineClient) -> None:
    put_alerts(
        engine,
        alert("oldest", status="superseded", superseded_by="older"),
        alert("older", status="superseded", superseded_by="a"),
        alert("a", supersedes=["older"]),
    )
    rows = [
        {"at": NOW.isoformat(), "action_id": name, "alert_id": name, "verb": "note", "by": "mira", "via": "desk"}
        | {"accepted": True, "revision": 1, "text": f"said of {name}", "details": "{}"}
        for name in ("oldest", "older", "a", "b")
    ]
    engine.insert("alert_actions", rows)
    found = (await site.client().get("/api/v1/alerts/a/actions")).json()
    assert sorted(each["text"] for each in found) == ["said of a", "said of older", "said of oldest"]
    site.live.put(state("a", partners=["bpol-de"]), state("older", partners=["hub-ke"], superseded_by="a"))
    seen = (await site.client("partner", "bpol-de").get("/api/v1/alerts/a/actions")).json()
    assert [each["alert_id"] for each in seen] == ["a"]
