"""What the gate lets through: roles, tokens, origins, websockets, long answers; and the headers of every answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboards.desk.auth.permissions import needed
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person
from tests.dashboards.desk.auth.site import ORIGIN, SECRET, SOCKET, Site, socket_refusal

ACKNOWLEDGE = "/api/v1/alerts/a-1/acknowledge"


def csrf_of(client: TestClient) -> dict[str, str]:
    return {"x-csrf-token": client.get("/api/v1/me").json()["csrf_token"]}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "path", ["/", "/feeds", "/openapi.json", "/docs", "/nowhere", "/static", "/login/", "/health/x"]
)
def test_pages_send_a_stranger_to_the_login(site: Site, path: str) -> None:
    answer = site.client().get(path)
    assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login")


@pytest.mark.parametrize("path", ["/api/v1/alerts", "/api/v1/me", "/api/nowhere", "/api", "/_nicegui_ws/socket.io/"])
def test_programs_are_told_401_in_json(site: Site, path: str) -> None:
    answer = site.client().get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "log in" in answer.json()["detail"]


def test_what_is_open_needs_no_login(site: Site) -> None:
    for path in ("/login", "/login/style.css", "/health"):
        assert site.client().get(path).status_code == 200
    assert site.client().get("/static/x.js").status_code == 404


def test_roles_open_what_the_table_says(site: Site) -> None:
    site.person("olga", "oversight")
    site.person("pia", "partner", "hub-ke")
    site.person("wim", "watch_officer")
    olga, pia, wim = (site.logged_in(name) for name in ("olga", "pia", "wim"))
    assert [each.get("/feeds").status_code for each in (olga, pia, wim)] == [200, 403, 200]
    assert [each.get("/api/v1/feeds").status_code for each in (olga, pia, wim)] == [200, 403, 200]
    assert [each.get("/api/v1/alerts").status_code for each in (olga, pia, wim)] == [200, 200, 200]
    assert [each.post(ACKNOWLEDGE, headers=csrf_of(each)).status_code for each in (olga, pia, wim)] == [403, 403, 200]
    page = wim.get("/rules-of-old")
    assert (page.status_code, SECRET in page.text) == (403, False)
    assert "wim (watch_officer) may not: run back-tests and change rules" in page.text
    assert pia.get("/api/v1/feeds").json()["detail"].startswith("pia (partner) may not")


def test_a_partner_sees_alerts_in_which_it_takes_part() -> None:
    def person(role: object, partner: str | None = None) -> Person:
        return Person("x", role, "x", ROLE_PERMISSIONS[role], partner=partner)  # type: ignore[arg-type,index]

    assert person("partner", "hub-ke").sees(["bpol-de", "hub-ke"])
    assert not person("partner", "hub-ke").sees(["bpol-de"])
    assert not person("partner").sees([])
    assert person("analyst").sees(["bpol-de"])


def test_places_need_the_same_in_pages_and_in_the_api() -> None:
    assert {needed(path) for path in ("/feeds", "/feeds/x", "/api/v1/feeds", "/api/v2/feeds", "/api/feeds")} == {
        "inspect"
    }
    assert {needed(path) for path in ("/", "/alerts/x", "/api/v1/alerts", "/feedsx", "/api", "")} == {"view"}


def test_an_unsafe_call_with_a_cookie_needs_the_token_and_this_origin(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    right = csrf_of(client)
    assert client.post(ACKNOWLEDGE).status_code == 403
    assert client.post(ACKNOWLEDGE, headers={"x-csrf-token": "guessed"}).status_code == 403
    assert client.post(ACKNOWLEDGE, headers=right | {"origin": "https://evil.example"}).status_code == 403
    assert client.post(ACKNOWLEDGE, headers=right | {"origin": "null"}).status_code == 403
    assert client.post(ACKNOWLEDGE, headers=right | {"sec-fetch-site": "same-site"}).status_code == 403
    answer = client.post(ACKNOWLEDGE, headers=right | {"origin": "http://127.0.0.1:8090"})
    assert answer.json() == {"secret": SECRET, "by": "wim", "alert": "a-1"}
    other = site.logged_in("wim")
    assert other.post(ACKNOWLEDGE, headers=right).status_code == 403, "another session's token"


def test_a_token_does_what_its_scope_says_until_it_ends(site: Site) -> None:
    site.person("wim")
    made = site.accounts.tokens.make("wim", ["view"], timedelta(days=1))
    both = site.accounts.tokens.make("wim", ["view", "act"], timedelta(days=30))
    client = site.client()
    assert client.get("/api/v1/alerts", headers=bearer(made.secret)).json()["by"] == "wim"
    assert client.post(ACKNOWLEDGE, headers=bearer(made.secret)).status_code == 403
    assert client.post(ACKNOWLEDGE, headers=bearer(both.secret)).status_code == 200, "no cookie, no CSRF token"
    assert client.get("/", headers=bearer(both.secret)).status_code == 303, "tokens are for the API"
    site.clock.on(days=2)
    assert client.get("/api/v1/alerts", headers=bearer(made.secret)).status_code == 401
    assert client.get("/api/v1/alerts", headers=bearer(both.secret)).status_code == 200
    assert site.accounts.tokens.revoke(both.token.id)
    assert client.get("/api/v1/alerts", headers=bearer(both.secret)).status_code == 401
    refused = [each for each in site.log() if each.what == "token"]
    assert [each.allowed for each in refused] == [False, False]
    assert not any(made.secret[:12] in str(each) for each in site.log())


def test_a_bad_token_is_not_made_up_for_by_a_cookie(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    assert client.get("/api/v1/alerts", headers=bearer("tocsin_guessed")).status_code == 401


def test_a_token_never_has_more_than_its_role(site: Site) -> None:
    site.person("wim")
    made = site.accounts.tokens.make("wim", ["view", "act"], timedelta(days=1))
    site.accounts.set_role("wim", "oversight")
    client = site.client()
    assert client.get("/api/v1/alerts", headers=bearer(made.secret)).status_code == 200
    assert client.post(ACKNOWLEDGE, headers=bearer(made.secret)).status_code == 403


@pytest.mark.parametrize("how", ["disable", "delete", "reset"])
def test_shutting_an_account_out_ends_sessions_and_tokens(site: Site, how: str) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    token = site.accounts.tokens.make("wim", ["view"], timedelta(days=1))
    getattr(site.accounts, how)("wim")
    assert client.get("/").status_code == 303
    assert site.client().get("/api/v1/alerts", headers=bearer(token.secret)).status_code == 401


def test_another_role_asks_for_another_login(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    site.accounts.set_role("wim", "administrator")
    assert client.get("/").status_code == 303


def test_a_websocket_needs_a_session_and_this_origin(site: Site) -> None:
    site.person("wim")
    assert socket_refusal(site.client(), ORIGIN) == 4401
    client = site.logged_in("wim")
    for headers in ({}, {"origin": "http://127.0.0.1:9999"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert socket_refusal(client, headers) == 4401
    with client.websocket_connect(SOCKET, headers={"origin": "http://127.0.0.1:8090"}) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == f"{SECRET} hello"


def test_an_open_websocket_is_sent_to_the_login_when_its_session_ends(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    with client.websocket_connect(SOCKET, headers=ORIGIN) as socket:
        for _ in range(3):
            site.clock.on(minutes=50)
            socket.send_text('42["event",{}]')
            assert SECRET in socket.receive_text()
        site.accounts.disable("wim")
        site.clock.on(seconds=2)
        socket.send_text("anything")
        assert socket.receive_text() == '42["open", {"path": "/login?ended=1", "new_tab": false}]'
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_text()
        assert ended.value.code == 4401


def test_a_long_answer_ends_with_its_session(site: Site) -> None:
    site.person("wim")
    lines = site.logged_in("wim").get("/api/v1/events").text
    # Ten minutes pass between two lines; to be sent something is no sign of life, and an hour without ends the login.
    assert lines.count("data: ") == 6 - 1


@pytest.mark.parametrize("text", ["3", '42["ack",{}]', '42["handshake",{}]', '42["log",{}]'])
def test_what_a_page_says_by_itself_is_no_sign_of_life(site: Site, text: str) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    with client.websocket_connect(SOCKET, headers=ORIGIN) as socket:
        site.clock.on(minutes=50)
        socket.send_text(text)
        assert SECRET in socket.receive_text()
        site.clock.on(minutes=11)
        socket.send_text(text)
        assert "/login?ended=1" in socket.receive_text()
    assert client.get("/").status_code == 303


def test_another_role_is_felt_by_the_very_next_deed(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim")
    with client.websocket_connect(SOCKET, headers=ORIGIN) as socket:
        site.accounts.set_role("wim", "oversight")
        socket.send_text('42["event",{}]')
        assert "/login?ended=1" in socket.receive_text()


def test_assets_of_another_version_are_not_there(site: Site) -> None:
    answer = site.client().get("/_nicegui/3.0.0/static/nicegui.js")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no such file in this version")


def test_every_answer_carries_the_headers(site: Site) -> None:
    site.person("wim")
    client = site.logged_in("wim", raise_server_exceptions=False)
    for path, status in (("/", 200), ("/login", 303), ("/nowhere", 404), ("/broken", 500), ("/api/v1/me", 200)):
        answer = client.get(path)
        assert answer.status_code == status
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "geolocation=()" in headers["permissions-policy"]
        assert headers["cache-control"] == "no-store"
    assert client.get("/login/style.css").headers["cache-control"] == "public, max-age=3600"


def test_a_name_that_is_not_the_desks_is_turned_away(site: Site) -> None:
    answer = site.client(base_url="http://evil.example").get("/login")
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (400, "nosniff")


def test_every_view_and_refusal_of_a_person_is_on_record(site: Site) -> None:
    site.person("pia", "partner", "hub-ke")
    client = site.logged_in("pia")
    client.get("/feeds?a=b")
    client.get("/api/v1/alerts")
    client.post(ACKNOWLEDGE, headers=csrf_of(client))
    rows = [(each.person, each.role, each.what, each.target, each.allowed, each.via) for each in site.log()]
    assert rows[1:] == [
        ("pia", "partner", "view", "/feeds", False, "desk"),
        ("pia", "partner", "view", "/api/v1/alerts", True, "api"),
        ("pia", "partner", "view", "/api/v1/me", True, "api"),
        ("pia", "partner", "change", ACKNOWLEDGE, False, "api"),
    ]
