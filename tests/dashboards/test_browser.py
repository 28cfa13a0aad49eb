"""The alert page in a real browser: it keeps itself fresh, runs without errors, and asks no other host."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from dashboards.alerts import Store, StoreAwayError
from dashboards.web.app import create_app
from schemas.settings import Settings
from tests.dashboards.engine import EngineClient, alert, evidence, iso, put_alerts

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
REQUIRED = os.environ.get("TOCSIN_REQUIRE_BROWSER") == "1"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and not REQUIRED,
        reason=f"no Chromium at {CHROMIUM}; install it (apt-get install chromium) or set CHROMIUM",
    ),
]


class Switch:
    """A store's connector with a plug that can be pulled."""

    def __init__(self, engine: EngineClient) -> None:
        self.engine, self.away, self.lock = engine, False, threading.Lock()

    def query(self, query: str, parameters: dict[str, Any]) -> Any:
        if self.away:
            raise ConnectionRefusedError("plug pulled")
        with self.lock:
            return self.engine.query(query, parameters)

    def put(self, *records: dict[str, Any]) -> None:
        with self.lock:
            put_alerts(self.engine, *records)

    def connect(self) -> Switch:
        if self.away:
            raise StoreAwayError("ClickHouse at http://127.0.0.1:8123 does not answer as expected (plug pulled).")
        return self


@pytest.fixture
def switch(engine: EngineClient) -> Switch:
    return Switch(engine)


@pytest.fixture
def address(switch: Switch, tmp_path: Path) -> Iterator[str]:
    """The page, served on a free port."""
    app = create_app(Store(Settings(data_dir=tmp_path), connector=switch.connect))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


class Watched:
    """A browser tab and everything that went wrong in it."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        tab.on("console", self._console)
        tab.on("pageerror", lambda error: self.problems.append(str(error)))
        tab.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)


@pytest.fixture
def browser() -> Iterator[Watched]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without the sandbox, because a test run as root has none.
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(15_000)
        yield Watched(tab)
        chromium.close()


def soon() -> dict[str, str]:
    return {"updated_at": iso(datetime.now(UTC)), "last_event_at": iso(datetime.now(UTC) - timedelta(seconds=30))}


def test_list_fills_without_reload_and_leads_to_the_evidence(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    tab.goto(address)
    tab.get_by_text("No open alert.").wait_for()
    tab.evaluate("window.sameDocument = true")

    switch.put(alert("a-1", story="The first story.", **soon()))
    tab.get_by_role("link", name="The first story.").wait_for()
    switch.put(alert("b-2", story="The second story.", level="critical", **soon()))
    tab.get_by_role("link", name="The second story.").wait_for()
    assert tab.evaluate("window.sameDocument") is True
    assert tab.locator("#count").inner_text() == "2"
    assert "The second story." in tab.locator("#news").text_content()
    stories = [link.inner_text() for link in tab.locator("a.story").all()]
    assert stories == ["The second story.", "The first story."]

    tab.get_by_role("link", name="The first story.").click()
    tab.get_by_role("heading", name="Evidence, in order of time").wait_for()
    assert tab.locator(".evidence tbody tr").count() == 4
    assert "Nairobi, KE" in (tab.locator("svg").text_content() or "")
    assert tab.locator("svg .marker").count() == 4
    assert browser.problems == []
    assert browser.hosts == {"127.0.0.1"}


def test_choosing_a_filter_changes_the_address(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    switch.put(alert("a-1", story="A drill.", **soon()), alert("b-2", story="Real.", exercise=False, **soon()))
    tab.goto(address)
    tab.get_by_label("Show").select_option("live")
    tab.wait_for_url("**exercise=live*")
    assert [link.inner_text() for link in tab.locator("a.story").all()] == ["Real."]
    assert browser.problems == []


def test_focus_stays_visible_and_where_it_was_when_rows_change(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    switch.put(alert("a-1", story="The first story.", **soon()))
    tab.goto(address)
    tab.get_by_role("link", name="The first story.").focus()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Tab")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    time.sleep(2.5)
    switch.put(alert("b-2", story="The second story.", **soon()))
    tab.get_by_role("link", name="The second story.").wait_for()
    assert tab.evaluate("document.activeElement.textContent") == "The first story."


def test_an_outage_is_said_and_survived(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    switch.put(alert("a-1", story="The first story.", **soon()))
    tab.goto(address)
    switch.away = True
    tab.get_by_text("The store does not answer").wait_for()
    assert tab.get_by_role("link", name="The first story.").is_visible()
    tab.goto(address)
    tab.get_by_text("Alerts cannot be shown right now").wait_for()
    switch.away = False
    tab.get_by_role("link", name="The first story.").wait_for()


def test_an_alert_that_changes_says_so(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    switch.put(alert("a-1", **soon()))
    tab.goto(f"{address}/alerts/a-1")
    assert not tab.get_by_text("This alert has changed.").is_visible()
    switch.put(alert("a-1", version=2, story="More is known.", **soon()))
    tab.get_by_text("This alert has changed.").wait_for()
    tab.get_by_role("link", name="Show it as it is now").click()
    tab.get_by_role("heading", name="More is known.").wait_for()
    assert browser.problems == []


def test_hostile_values_do_nothing(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    hostile = "<img src=x onerror=window.owned=1><script>window.owned=1</script>"
    item = evidence(0, place=hostile, summary=hostile, matched={hostile: hostile}, partner=hostile)
    tab.goto(address)
    tab.get_by_text("No open alert.").wait_for()
    switch.put(alert("a-1", story=hostile, group={hostile: hostile}, evidence=[item], **soon()))
    tab.locator("a.story").wait_for()
    assert tab.locator("a.story").inner_text() == hostile
    tab.locator("a.story").click()
    tab.get_by_role("heading", name="Evidence, in order of time").wait_for()
    assert tab.evaluate("window.owned") is None
    assert browser.problems == []
    assert browser.hosts == {"127.0.0.1"}


def test_a_narrow_screen_needs_no_sideways_scrolling(address: str, switch: Switch, browser: Watched) -> None:
    tab = browser.tab
    switch.put(alert("0a1b2c3d-4e5f-5071-8293-a4b5c6d7e8f9", **soon()))
    tab.set_viewport_size({"width": 380, "height": 800})
    for path in ("", "/alerts/0a1b2c3d-4e5f-5071-8293-a4b5c6d7e8f9"):
        tab.goto(address + path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 380
