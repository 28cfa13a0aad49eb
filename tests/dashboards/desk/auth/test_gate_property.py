"""Whatever a request carries, without a session or a token that holds it reaches nothing that is protected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from dashboards.desk.auth.database import digest
from tests.dashboards.desk.auth.site import SECRET, Site, build

PATHS = (
    *(
        "/",
        "/feeds",
        "/rules-of-old",
        "/api/v1/alerts",
        "/api/v1/feeds",
        "/api/v1/events",
        "/openapi.json",
        "/api/v1/me",
    ),
    *(
        "//",
        "/./",
        "/login/../feeds",
        "/static/../feeds",
        "/_nicegui/3.0/static/../../../feeds",
        "/health/../api/v1/me",
    ),
    *("/%2e%2e/feeds", "/feeds/", "/FEEDS", "/login/..%2ffeeds", "/_nicegui/../", "/api/v1/alerts/a/acknowledge"),
    *("/feeds;x=/login", "/feeds?/login", "/_nicegui_ws/socket.io/", "/account/password", "/login%00/../feeds"),
)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=';,"\\'), max_size=60)


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, TestClient, list[str]]]:
    """A desk, and the secrets that once let somebody in: ended, expired, revoked, disabled; and what is on its disk."""
    site = build(Path(tmp_path_factory.mktemp("desk")))
    site.person("ada", "administrator")
    site.person("bob", "administrator")
    ended, expired, disabled = (site.accounts.sessions.start(name, "") for name in ("ada", "ada", "bob"))
    tokens = [site.accounts.tokens.make(name, ["view"], timedelta(hours=1)).secret for name in ("ada", "bob")]
    site.accounts.sessions.end(ended)
    site.accounts.disable("bob")
    site.clock.on(days=2)
    alive = site.accounts.sessions.start("ada", "")
    stored = [
        digest(alive).hex(),
        *(row["password_hash"] for row in site.accounts.database.rows("SELECT * FROM accounts")),
    ]
    yield (
        site,
        site.client(raise_server_exceptions=False),
        [ended, expired, disabled, *tokens, *stored, "", "ada", "admin"],
    )
    site.access.close()
    site.accounts.close()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_nobody_passes_without_what_lets_in(shut: tuple[Site, TestClient, list[str]], data: st.DataObject) -> None:
    _, client, secrets = shut
    value = st.sampled_from(secrets) | printable
    cookie_names = st.sampled_from(["tocsin_session", "__Host-tocsin_session", "tocsin_before", "session"]) | printable
    cookies = data.draw(st.lists(st.tuples(cookie_names, value), max_size=3))
    scheme = st.sampled_from(["Bearer ", "bearer ", "Basic ", "", "Bearer  tocsin_"])
    fixed = {
        "cookie": st.just("; ".join(f"{name}={text}" for name, text in cookies)),
        "authorization": st.builds(str.__add__, scheme, value),
        "x-csrf-token": value,
        "origin": st.sampled_from(["http://127.0.0.1:8090", "null", "http://evil.example"]),
        "sec-fetch-site": st.sampled_from(["same-origin", "none", "cross-site"]),
        "x-forwarded-user": value,
        "x-original-url": st.sampled_from(PATHS),
        "x-forwarded-prefix": st.sampled_from(["/login", "/static"]),
        "x-http-method-override": st.sampled_from(["GET", "POST"]),
    }
    headers = data.draw(st.fixed_dictionaries({}, optional=fixed))
    method = data.draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))
    answer = client.request(method, data.draw(st.sampled_from(PATHS)), headers=headers)
    assert SECRET not in answer.text
    assert "openapi" not in answer.text
    assert answer.status_code in (303, 400, 401, 403, 404, 405)
    assert all("tocsin_session" not in each for each in answer.headers.get_list("set-cookie"))
