"""Logging in at a real OpenID Connect provider on loopback, from the first click to the desk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread
from starlette.testclient import TestClient

from dashboards.desk.auth.oidc import OidcSettingError
from tests.dashboards.desk.auth.site import SECRET, Site, build

ROLES = {"desk-admins": "administrator", "desk-officers": "watch_officer", "liaison-ke": "partner:hub-ke"}
PEOPLE = (
    User(sub="1", claims={"preferred_username": "Ada.L", "name": "Ada L.", "groups": ["staff", "desk-officers"]}),
    User(sub="2", claims={"preferred_username": "eve", "name": "Eve", "groups": ["staff"]}),
    User(sub="3", claims={"preferred_username": "pia", "groups": "liaison-ke"}),
    User(sub="4", claims={"preferred_username": "admin", "groups": ["desk-officers"]}),
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with run_server_in_thread(user_claims=PEOPLE, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def site(tmp_path: Path, issuer: str) -> Iterator[Site]:
    made = build(tmp_path, oidc_issuer=issuer, oidc_client_id="desk", oidc_client_secret="s", oidc_roles=ROLES)
    yield made
    made.access.close()
    made.accounts.close()


def sent_to(client: TestClient, target: str = "%2Ffeeds") -> str:
    answer = client.get(f"/oidc/login?next={target}")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def agreed(url: str, sub: str) -> str:
    """The person logs in at the provider; where the browser is sent then, without the host."""
    answer = httpx.post(url, data={"sub": sub})
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.netloc == "127.0.0.1:8090"
    return f"{back.path}?{back.query}"


def test_a_person_with_a_mapped_role_comes_in(site: Site) -> None:
    client = site.client()
    assert "/oidc/login" in client.get("/login").text
    url = sent_to(client)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    answer = client.get(agreed(url, "1"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/feeds")
    assert client.get("/feeds").text == f"{SECRET} ada.l"
    assert client.get("/api/v1/me").json()["display"] == "Ada L."
    account = site.accounts.get("ada.l")
    assert (account.role, account.has_password) == ("watch_officer", False)
    logins = [(each.person, each.allowed, each.detail) for each in site.log() if each.what == "login"]
    assert logins == [("ada.l", True, "identity provider")]
    assert "password is kept there" in client.get("/account/password").text


def test_a_person_without_a_role_is_told_so_and_stays_outside(site: Site) -> None:
    client = site.client()
    answer = client.get(agreed(sent_to(client), "2"))
    assert answer.status_code == 403
    assert "knows you as Eve, but no role at this desk is given to you" in answer.text
    assert client.get("/").status_code == 303
    assert site.accounts.all() == []
    assert [each.allowed for each in site.log() if each.what == "login"] == [False]


def test_a_partners_person_is_bound_to_the_partner(site: Site) -> None:
    client = site.client()
    client.get(agreed(sent_to(client), "3"))
    me = client.get("/api/v1/me").json()
    assert (me["role"], me["partner"], me["permissions"]) == ("partner", "hub-ke", ["view"])


def test_a_name_that_is_taken_here_is_not_taken_over(site: Site) -> None:
    site.person("admin", "administrator")
    client = site.client()
    client.get(agreed(sent_to(client), "4"))
    me = client.get("/api/v1/me").json()
    assert me["name"].startswith("admin-")
    assert me["role"] == "watch_officer"


def test_an_answer_serves_once_in_the_browser_that_asked(site: Site) -> None:
    client = site.client()
    back = agreed(sent_to(client), "1")
    stranger = site.client()
    assert stranger.get(back).status_code == 400
    assert client.get(back).status_code == 400, "the stranger's attempt used it up"
    back = agreed(sent_to(client), "1")
    assert client.get(back).status_code == 303
    client.cookies.clear()
    assert client.get(back).status_code == 400


def test_an_answer_that_comes_late_or_is_made_up_is_refused(site: Site) -> None:
    client = site.client()
    back = agreed(sent_to(client), "1")
    site.clock.on(minutes=11)
    assert client.get(back).status_code == 400
    url = sent_to(client)
    state = parse_qs(urlsplit(url).query)["state"][0]
    assert client.get(f"/oidc/callback?code=guessed&state={state}").status_code == 400
    state = parse_qs(urlsplit(sent_to(client)).query)["state"][0]
    assert client.get(f"/oidc/callback?error=access_denied&state={state}").status_code == 403
    state = parse_qs(urlsplit(sent_to(client)).query)["state"][0]
    assert client.get(f"/oidc/callback?code=x&state={state}&iss=http://evil.example").status_code == 400
    assert client.get("/oidc/callback").status_code == 400


def test_whoever_begins_many_logins_ends_their_own_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.desk.auth.oidc.MAX_OF_ADDRESS", 3)
    client, flood = site.client(), site.client(address="198.51.100.7")
    url = sent_to(client)
    for _ in range(5):
        sent_to(flood)
    assert site.accounts.database.row("SELECT count(*) FROM oidc_logins")[0] == 4  # type: ignore[index]
    assert client.get(agreed(url, "1")).status_code == 303


def test_the_oldest_login_gives_way_to_a_new_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.desk.auth.oidc.MAX_ATTEMPTS", 2)
    for number in range(3):
        site.clock.on(seconds=1)
        client = site.client(address=f"198.51.100.{number}")
        url = sent_to(client)
    assert site.accounts.database.row("SELECT count(*) FROM oidc_logins")[0] == 2  # type: ignore[index]
    assert client.get(agreed(url, "1")).status_code == 303


def test_a_code_of_another_login_does_not_pass_the_nonce(site: Site) -> None:
    ada, eve = site.client(), site.client()
    stolen = parse_qs(urlsplit(agreed(sent_to(ada), "1")).query)["code"][0]
    state = parse_qs(urlsplit(sent_to(eve)).query)["state"][0]
    assert eve.get(f"/oidc/callback?code={stolen}&state={state}").status_code == 400
    assert eve.get("/").status_code == 303


def test_a_role_that_changed_at_the_provider_ends_older_sessions(site: Site, issuer: str) -> None:
    first, second = site.client(), site.client()
    claims = {"preferred_username": "max", "groups": ["desk-officers"]}
    assert httpx.put(f"{issuer}/users/9", json=claims).status_code == 204
    assert first.get(agreed(sent_to(first), "9")).status_code == 303
    httpx.put(f"{issuer}/users/9", json=claims | {"groups": ["desk-admins"]})
    assert second.get(agreed(sent_to(second), "9")).status_code == 303
    assert first.get("/").status_code == 303
    assert second.get("/api/v1/me").json()["role"] == "administrator"
    site.accounts.add("boss", "administrator")
    site.accounts.disable("max")
    answer = first.get(agreed(sent_to(first), "9"))
    assert answer.status_code == 403
    assert "disabled" in answer.text


def test_a_provider_that_is_away_is_said_so(tmp_path: Path) -> None:
    site = build(tmp_path, oidc_issuer="http://127.0.0.1:9", oidc_client_id="desk", oidc_roles=ROLES)
    answer = site.client().get("/oidc/login")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"oidc_issuer": "http://localhost:1"}, "TOCSIN_OIDC_CLIENT_ID"),
        ({"oidc_issuer": "http://localhost:1", "oidc_client_id": "d", "oidc_roles": {"x": "king"}}, "king"),
        ({"oidc_issuer": "http://localhost:1", "oidc_client_id": "d", "oidc_roles": {"x": "partner"}}, "partner:ID"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, settings: dict[str, object], named: str) -> None:
    with pytest.raises(OidcSettingError, match=named):
        build(tmp_path, **settings)


def test_roles_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from schemas.settings import Settings

    monkeypatch.setenv("TOCSIN_OIDC_ROLES", json.dumps(ROLES))
    assert Settings(data_dir=tmp_path).oidc_roles == ROLES
