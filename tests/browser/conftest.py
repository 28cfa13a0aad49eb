"""The watch desk on the shared platform, its people, and their tabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.roles import ROLE_PERMISSIONS
from schemas.alerts import ALERTS_TOPIC, Alert
from tests.browser.served import Served, serve
from tests.browser.tabs import TabFor, Windows, chromium, logged_in
from tests.stack import Stack

PASSWORD = "a long walk in the rain"
PEOPLE: dict[str, tuple[Any, str | None]] = {
    "anna": ("watch_officer", None),
    "bruno": ("watch_officer", None),
    "cleo": ("analyst", None),
    "pat": ("partner", "fiu-nl"),
    "olga": ("oversight", None),
}


@dataclass
class DeskSite:
    """The running desk. ``address`` has no slash at its end."""

    stack: Stack
    address: str
    accounts: Accounts

    def publish(self, alert: dict[str, Any]) -> None:
        """Put an alert on ``alerts.v1``, as the correlation worker would."""
        value = Alert.model_validate(alert).model_dump_json().encode()
        self.stack.produce(ALERTS_TOPIC, value, alert["alert_id"].encode())

    def api(self, name: str) -> httpx.Client:
        """The API as a person's token has it."""
        role, _ = PEOPLE[name]
        token = self.accounts.tokens.make(name, ROLE_PERMISSIONS[role], timedelta(hours=1))
        return httpx.Client(
            base_url=f"{self.address}/api/v1", headers={"Authorization": f"Bearer {token.secret}"}, timeout=30
        )


@pytest.fixture(scope="session")
def site(stack: Stack, desk: str) -> Iterator[DeskSite]:
    """The desk as ``tocsin up`` starts it, with an account for each role."""
    accounts = Accounts(stack.settings)
    for name, (role, partner) in PEOPLE.items():
        made = accounts.add(name, role, partner=partner, display=name.title())
        accounts.change_password(name, made.password, PASSWORD, "127.0.0.1")
    yield DeskSite(stack, desk, accounts)
    accounts.close()


@pytest.fixture(scope="module")
def windows() -> Iterator[Windows]:
    """Closed with their module: while a browser is open its event loop runs, beside which no other test has one."""
    with chromium() as browser:
        yield Windows(browser)


@pytest.fixture
def tab_of(site: DeskSite, windows: Windows) -> Iterator[TabFor]:
    """Gives a tab in which that person is logged in."""
    with logged_in(windows, site.address, lambda name: site.accounts.let_in(name, "127.0.0.1")) as found:
        yield found


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture
def tabs(windows: Windows, served: Served) -> Iterator[TabFor]:
    """Opens a tab for a role."""
    with logged_in(windows, served.address, served.sessions.__getitem__) as found:
        yield found
