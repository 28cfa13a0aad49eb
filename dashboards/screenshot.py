"""Takes a picture of the running desk: its queue, and beside it the page of the most pressing alert.

Playwright and a Chromium are needed; neither is among what Tocsin itself needs.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.cookies import SESSION
from dashboards.desk.auth.database import DatabaseError
from schemas.settings import Settings

WIDTH: Final = 1440
HEIGHT: Final = 1000
WAIT_MS: Final = 20_000
SETTLE_MS: Final = 1_500
"""Charts and the map draw after the page has come."""
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


class ScreenshotError(Exception):
    """No picture could be taken; the message says what is missing and what to do."""


def chromium() -> str:
    """The browser's path: the setting ``CHROMIUM``, or what the machine has.

    Raises:
        ScreenshotError: there is none.
    """
    found = os.environ.get("CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None or not Path(found).exists():
        raise ScreenshotError(
            "there is no Chromium here: install it (Debian: apt-get install chromium), or set CHROMIUM to its path"
        )
    return found


@contextmanager
def session(accounts: Accounts) -> Iterator[str]:
    """A session of an account that exists only meanwhile; it may look, as a watch officer. Closes ``accounts``."""
    name = f"screenshot-{secrets.token_hex(4)}"
    accounts.add_machine(name, "watch_officer", display="Watch officer")
    try:
        yield accounts.sessions.start(name, "127.0.0.1")
    finally:
        accounts.delete(name)
        accounts.close()


def address_of(settings: Settings) -> str:
    """The desk's address, without a slash at its end.

    Raises:
        ScreenshotError: there is none.
    """
    if not settings.desk_url:
        raise ScreenshotError("no desk is running in this data directory: start it with tocsin up")
    return settings.desk_url.rstrip("/")


def take(settings: Settings, file: Path) -> list[Path]:
    """Write the picture of the queue to ``file``, and that of an alert beside it with ``-alert`` in its name.

    Raises:
        ScreenshotError: Playwright, Chromium or the desk is not there, or its accounts cannot be used.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise ScreenshotError("Playwright is not installed: pip install playwright") from error
    address = address_of(settings)
    host = urlsplit(address).hostname or "127.0.0.1"
    alert_file = file.with_name(f"{file.stem}-alert{file.suffix}")
    browser_path = chromium()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        accounts = Accounts(settings)
    except DatabaseError as error:
        raise ScreenshotError(f"no account could be made for the browser: {error}") from error
    with session(accounts) as name, sync_playwright() as playwright:
        try:
            # Root has no sandbox; only the desk on this machine is shown.
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
            context.add_cookies([{"name": SESSION, "value": name, "domain": host, "path": "/"}])
            tab = context.new_page()
            tab.set_default_timeout(WAIT_MS)
            return [path for path in (_queue(tab, address, file), _alert(tab, address, alert_file)) if path]
        except Error as error:
            raise ScreenshotError(f"the browser could not show {address}: {str(error).splitlines()[0]}") from error


def _queue(tab: Any, address: str, file: Path) -> Path:
    tab.goto(f"{address}/")
    tab.get_by_role("heading", level=1).first.wait_for(state="attached")
    tab.wait_for_timeout(SETTLE_MS)
    tab.screenshot(path=str(file))
    return file


def _alert(tab: Any, address: str, file: Path) -> Path | None:
    link = tab.locator('a[href^="/alerts/"]').first
    if link.count() == 0:
        return None
    tab.goto(address + link.get_attribute("href"))
    tab.get_by_role("heading", name="What happened").wait_for()
    tab.wait_for_timeout(SETTLE_MS)
    tab.screenshot(path=str(file))
    return file
