"""Browser tabs of people who are logged in, and everything that went wrong in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
REQUIRED = os.environ.get("TOCSIN_REQUIRE_BROWSER") == "1"
TIMEOUT_MS = 60_000
STILL = """document.getAnimations().every(
    (each) => each.playState !== "running" || each.effect.getComputedTiming().endTime === Infinity)"""

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and not REQUIRED,
        reason=f"no Chromium at {CHROMIUM}; install it (apt-get install chromium) or set CHROMIUM",
    ),
]


class Tab:
    """A tab in a window of ``Windows``. ``problems`` are errors and warnings of its console, and requests that failed;
    ``hosts`` whom it asked."""

    def __init__(self, context: Any, address: str) -> None:
        self.context = context
        self.address = address
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.text} at {message.location.get('url')}")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or "")

    def go(self, path: str) -> Any:
        """Open a page of the desk and wait until it is connected."""
        answer = self.page.goto(self.address + path)
        self.page.locator(".desk-header").wait_for()
        self.page.wait_for_function("window.socket?.connected")
        return answer

    def log_in(self, name: str, password: str) -> None:
        """Through the form, as people do."""
        self.page.goto(f"{self.address}/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.locator(".desk-header").wait_for()

    def row(self, text: str) -> Any:
        """The row of the queue with this text in it."""
        return self.page.locator(".queue tbody tr").filter(has_text=text)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def serious_violations(self) -> list[str]:
        """What axe-core finds on the page that is serious or critical: rule, and where. Half faded in, a text has less
        contrast than it will have, so what moves is waited for."""
        from axe_playwright_python.sync_playwright import Axe

        self.page.wait_for_function(STILL)
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def assert_clean(self) -> None:
        """Nothing went wrong, and nobody but the desk was asked."""
        assert self.problems == []
        assert self.hosts == {"127.0.0.1"}


TabFor = Callable[[str], Tab]


class Windows:
    """A window for each person, which keeps what it has loaded: in a new one the first page takes twice as long."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._of: dict[tuple[str, str], Any] = {}

    def new(self) -> Any:
        """One in which nobody is logged in; Playwright calls it a context."""
        window = self._browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
        window.set_default_timeout(TIMEOUT_MS)
        return window

    def of(self, who: str, address: str) -> Any:
        """That of a person or role on the desk at ``address``."""
        if (who, address) not in self._of:
            self._of[who, address] = self.new()
        return self._of[who, address]

    def empty(self) -> None:
        """Close all tabs, and let nobody be logged in or have settings."""
        for window in self._of.values():
            for page in window.pages:
                page.close()
            window.clear_cookies()


@contextmanager
def logged_in(windows: Windows, address: str, session: Callable[[str], str]) -> Iterator[TabFor]:
    """Opens tabs on the desk at ``address`` by name or role, each with the cookie of its ``session``."""

    def open_tab(who: str) -> Tab:
        tab = Tab(windows.of(who, address), address)
        tab.context.add_cookies([{"name": "tocsin_session", "value": session(who), "url": address}])
        return tab

    yield open_tab
    windows.empty()


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without the sandbox, because a test run as root has none.
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
