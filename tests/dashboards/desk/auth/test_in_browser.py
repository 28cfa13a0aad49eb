"""The gate around real NiceGUI pages, with a real server and a real browser."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.desk.auth.accounts import Accounts
from schemas.settings import Settings
from tests.dashboards.desk.auth.site import GOOD

ROOT = Path(__file__).resolve().parents[4]
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
REQUIRED = os.environ.get("TOCSIN_REQUIRE_BROWSER") == "1"
needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists() and not REQUIRED, reason=f"no Chromium at {CHROMIUM}; install it"),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Accounts]]:
    """The desk's address, and its accounts as another process sees them."""
    folder = tmp_path_factory.mktemp("desk")
    accounts = Accounts(Settings(data_dir=folder))
    accounts.add("boss", "administrator")
    made = accounts.add("ada", "watch_officer")
    accounts.change_password("ada", made.password, GOOD, "")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.dashboards.desk.auth.served", str(folder), str(port)]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process, log)
        yield address, accounts
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=30)
        accounts.close()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{address}/login")
            return
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture
def client(desk: tuple[str, Accounts]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=desk[0]) as made:
        yield made


def log_in(client: httpx.Client) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert token
    form = {"csrf_token": token[1], "name": "ada", "password": GOOD}
    assert client.post("/login", data=form).status_code == 303


def test_nicegui_serves_nobody_its_pages_or_its_socket(client: httpx.Client) -> None:
    assert client.get("/").status_code == 303
    for transport in ("polling", "websocket"):
        assert client.get(f"/_nicegui_ws/socket.io/?EIO=4&transport={transport}").status_code == 401
    assert client.post("/_nicegui/client/x/upload/1").status_code == 303
    log_in(client)
    page = client.get("/")
    assert "hello ada" in page.text
    asset = re.search(r"/_nicegui/[^\"]+/static/nicegui\.js", page.text)
    assert asset
    answer = httpx.get(f"{client.base_url}{asset[0]}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert page.headers["cache-control"] == "no-store"
    handshake = client.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling")
    assert handshake.status_code == 200
    foreign = {"origin": "http://127.0.0.1:1"}
    sid = re.search(r'"sid":"([^"]+)"', handshake.text)
    assert sid
    post = client.post(f"/_nicegui_ws/socket.io/?EIO=4&transport=polling&sid={sid[1]}", content="40", headers=foreign)
    assert post.status_code == 403


def test_a_page_that_the_role_may_not_see_says_so(client: httpx.Client) -> None:
    log_in(client)
    page = client.get("/rules-of-old")
    assert page.status_code == 403
    assert "ada (watch_officer) may not: run back-tests and change rules" in page.text
    assert "rules for" not in page.text


def real_socket(desk: tuple[str, Accounts], **headers: str) -> str:
    """What a websocket handshake is answered with, by its status line."""
    host = desk[0].removeprefix("http://")
    lines = [
        "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        *(f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        *(f"{name.title()}: {value}" for name, value in headers.items()),
    ]
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(1000).decode("latin-1").splitlines()[0]


def test_a_real_websocket_without_a_session_is_refused(desk: tuple[str, Accounts]) -> None:
    assert " 403 " in real_socket(desk, origin=desk[0])
    session = desk[1].sessions.start("ada", "")
    assert " 403 " in real_socket(desk, cookie=f"tocsin_session={session}", origin="http://127.0.0.1:1")
    assert " 101 " in real_socket(desk, cookie=f"tocsin_session={session}", origin=desk[0])


@pytest.fixture
def tab(desk: tuple[str, Accounts]) -> Iterator[tuple[Any, list[str]]]:
    """A browser tab, and what its console and its policy complained about."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page, said
        browser.close()


class TestInBrowser:
    pytestmark = needs_browser

    def test_the_desk_works_under_its_policy_and_ends_with_its_session(
        self, desk: tuple[str, Accounts], tab: tuple[Any, list[str]]
    ) -> None:
        page, said = tab
        page.goto(desk[0])
        page.fill("#name", "ada")
        page.fill("#password", GOOD)
        page.keyboard.press("Enter")
        page.get_by_text("hello ada").wait_for()
        page.get_by_text("cell of a template").wait_for()
        page.locator("canvas").first.wait_for()
        page.get_by_role("button", name="Say").click()
        page.get_by_text("said by ada").wait_for()
        assert said == []
        desk[1].reset("ada")
        page.get_by_text("Your session has ended").wait_for(timeout=20_000)
        desk[1].change_password("ada", desk[1].reset("ada").password, GOOD, "")

    def test_the_forms_have_no_serious_fault_for_a_screen_reader(
        self, desk: tuple[str, Accounts], tab: tuple[Any, list[str]]
    ) -> None:
        from axe_playwright_python.sync_playwright import Axe

        page, _ = tab
        # The checker is a script; the policy of these pages allows none.
        checked = page.context.browser.new_context(bypass_csp=True).new_page()
        checked.goto(desk[0])
        checked.fill("#name", "ada")
        checked.fill("#password", "wrong wrong")
        checked.keyboard.press("Enter")
        checked.get_by_role("alert").wait_for()
        assert Axe().run(checked).response["violations"] == []
        checked.fill("#password", GOOD)
        checked.keyboard.press("Enter")
        checked.get_by_text("hello ada").wait_for()
        for path in ("/account/password", "/logout", "/rules-of-old"):
            checked.goto(f"{desk[0]}{path}")
            assert Axe().run(checked).response["violations"] == []
