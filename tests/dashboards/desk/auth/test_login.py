"""Logging in and out as a browser does it, on a clock that the test moves."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from dashboards.desk.auth import answers
from tests.dashboards.desk.auth.site import GOOD, ORIGIN, SECRET, Site, field_of, log_in, socket_refusal


def test_a_login_leads_back_to_the_page_that_was_asked_for(site: Site) -> None:
    site.person("ada")
    client = site.client()
    answer = client.get("/feeds?only=silent")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Ffeeds%3Fonly%3Dsilent")
    answer = log_in(client, "Ada ", target="%2Ffeeds%3Fonly%3Dsilent")
    assert (answer.status_code, answer.headers["location"]) == (303, "/feeds?only=silent")
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("tocsin_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/").text == f"{SECRET} ada"
    assert client.get("/login").headers["location"] == "/"


def test_over_https_the_cookies_are_bound_to_the_host(site: Site) -> None:
    site.person("ada")
    client = site.client(base_url="https://127.0.0.1:8090")
    cookies = log_in(client, "ada").headers.get_list("set-cookie")
    session = next(each for each in cookies if each.startswith("__Host-tocsin_session="))
    assert "Secure" in session
    assert "Domain" not in session
    assert client.get("/").headers["strict-transport-security"]


def test_unknown_wrong_and_disabled_get_the_same_answer(site: Site) -> None:
    site.person("ada")
    site.person("bob")
    site.accounts.disable("bob")
    texts = set()
    for name, password in (("nobody", GOOD), ("ada", "wrong wrong wrong"), ("bob", GOOD)):
        answer = log_in(site.client(address=f"192.0.2.{len(texts) + 10}"), name, password)
        assert answer.status_code == 401
        texts.add(answer.text.replace(name, "NAME").replace(field_of(answer), "TOKEN"))
    assert len(texts) == 1
    assert "Name or password is wrong" in texts.pop()


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_waits_grow_with_each_mistake_and_hold_over_a_restart(site: Site, name: str) -> None:
    site.person("ada")
    for _ in range(4):
        assert log_in(site.client(), name, "wrong").status_code == 401
    waits = []
    for _ in range(6):
        assert log_in(site.client(), name, "wrong").status_code == 401
        refused = log_in(site.client(), name, GOOD)
        assert refused.status_code == 429
        waits.append(int(refused.headers["retry-after"]))
        site.clock.on(seconds=waits[-1])
    assert waits == [2, 4, 8, 16, 32, 64]
    if name == "ada":
        assert log_in(site.client(), name).status_code == 303
        assert log_in(site.client(), name, "wrong").status_code == 401
        assert log_in(site.client(), name).status_code == 303, "a right password starts anew"


def test_one_address_that_guesses_at_many_names_has_to_wait(site: Site) -> None:
    site.person("ada")
    for number in range(21):
        assert log_in(site.client(), f"name{number}", "wrong").status_code == 401
    assert log_in(site.client(), "ada").status_code == 429
    assert log_in(site.client(address="198.51.100.7"), "ada").status_code == 303, "others do not wait with it"


def test_a_session_ends_when_idle_and_at_the_latest_after_its_time(site: Site) -> None:
    site.person("ada")
    client = site.logged_in("ada")
    site.clock.on(minutes=59)
    assert client.get("/").status_code == 200
    site.clock.on(minutes=61)
    assert client.get("/").status_code == 303
    client = site.logged_in("ada")
    for _ in range(14 * 2 - 1):
        site.clock.on(minutes=30)
        assert client.get("/").status_code == 200
    site.clock.on(minutes=31)
    assert client.get("/").status_code == 303


def test_a_planted_session_id_is_never_used(site: Site) -> None:
    site.person("ada")
    client = site.client()
    client.cookies.set("tocsin_session", "planted-by-somebody", domain="127.0.0.1")
    log_in(client, "ada")
    thief = site.client(cookies={"tocsin_session": "planted-by-somebody"})
    assert thief.get("/").status_code == 303
    first = client.cookies["tocsin_session"]
    log_in_again(client)
    assert client.cookies["tocsin_session"] == first, "a session that holds is not asked to log in"


def log_in_again(client: TestClient) -> None:
    assert client.get("/login").status_code == 303


def test_logging_out_needs_the_token_and_ends_the_session_on_the_server(site: Site) -> None:
    site.person("ada")
    client = site.logged_in("ada")
    session = client.cookies["tocsin_session"]
    assert client.post("/logout", data={"csrf_token": "guessed"}).status_code == 403
    assert client.get("/").status_code == 200
    assert client.post("/logout", data={"csrf_token": field_of(client.get("/logout"))}).status_code == 303
    assert site.client(cookies={"tocsin_session": session}).get("/").status_code == 303


def test_a_one_time_password_opens_only_the_page_that_changes_it(site: Site) -> None:
    made = site.accounts.add("ada", "analyst")
    client = site.client()
    assert log_in(client, "ada", made.password).headers["location"] == "/account/password"
    assert client.get("/").headers["location"] == "/account/password"
    refused = client.get("/api/v1/alerts")
    assert (refused.status_code, SECRET in refused.text) == (403, False)
    assert socket_refusal(client, ORIGIN) == 4401

    def change(old: str, new: str, again: str) -> object:
        token = field_of(client.get("/account/password"))
        return client.post("/account/password", data={"csrf_token": token, "old": old, "new": new, "again": again})

    for old, new, again, why in (
        (made.password, GOOD, "other", "not repeated"),
        ("wrong", GOOD, GOOD, "old password is wrong"),
        (made.password, "short", "short", "too short"),
        (made.password, made.password, made.password, "is the old one"),
    ):
        answer = change(old, new, again)
        assert answer.status_code == 400  # type: ignore[attr-defined]
        assert why in answer.text  # type: ignore[attr-defined]
    before = client.cookies["tocsin_session"]
    assert change(made.password, GOOD, GOOD).headers["location"] == "/"  # type: ignore[attr-defined]
    assert client.cookies["tocsin_session"] != before
    assert site.client(cookies={"tocsin_session": before}).get("/").status_code == 303
    assert client.get("/").status_code == 200
    assert log_in(site.client(), "ada", made.password).status_code == 401


def test_a_one_time_password_is_not_good_for_ever(site: Site) -> None:
    made = site.accounts.add("ada", "analyst")
    site.clock.on(days=8)
    assert log_in(site.client(), "ada", made.password).status_code == 401


def test_a_login_form_of_another_site_is_refused(site: Site) -> None:
    site.person("ada")
    form = {"name": "ada", "password": GOOD}
    assert site.client().post("/login", data=form).status_code == 403
    client = site.client()
    form["csrf_token"] = field_of(client.get("/login"))
    foreign = {"origin": "http://127.0.0.1:9999"}
    assert client.post("/login", data=form, headers=foreign).status_code == 403
    assert client.post("/login", data=form, headers={"origin": "http://127.0.0.1:8090"}).status_code == 303


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "evil", "", "/login?next=/", "/ b"],
)
def test_links_never_lead_to_another_host(target: str) -> None:
    assert answers.safe_next(target) == "/"


def test_what_is_typed_as_an_unknown_name_is_not_written_down(site: Site) -> None:
    site.person("ada")
    log_in(site.client(), "my password by mistake", "x")
    log_in(site.client(), "ada", "wrong")
    log_in(site.client(), "ada")
    logins = [(each.person, each.target, each.allowed) for each in site.log() if each.what == "login"]
    assert logins == [("", "", False), ("", "ada", False), ("ada", "ada", True)]
    assert "mistake" not in str(site.log())
    assert {each.address for each in site.log()} == {"192.0.2.1"}


def test_guessing_from_elsewhere_does_not_shut_out_who_logged_in_here_before(site: Site) -> None:
    site.person("ada")
    assert log_in(site.client(), "ada").status_code == 303
    for number in range(6):
        log_in(site.client(address=f"198.51.100.{number}"), "ada", "wrong")
    assert log_in(site.client(address="198.51.100.77"), "ada").status_code == 429
    assert log_in(site.client(), "ada").status_code == 303
    for _ in range(22):
        last = log_in(site.client(), "ada", "wrong")
    assert last.status_code == 429, "the known address has to wait for its own mistakes"
