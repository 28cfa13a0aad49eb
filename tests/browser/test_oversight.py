"""Who watches the watch, in a real browser: the access log for oversight, accounts and tokens for administrators."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx

from dashboards.desk.auth.accounts import Accounts
from schemas.settings import Settings
from tests.browser.served import Served
from tests.browser.tabs import TabFor, needs_browser
from tests.dashboards.desk.pages import sample

pytestmark = needs_browser


def test_oversight_reads_who_looked_at_an_alert_and_what_a_partner_was_shown(tabs: TabFor, served: Served) -> None:
    for role, path in (("partner", sample.VANISHED), ("watch_officer", sample.OLD_ID)):
        cookies = {"tocsin_session": served.sessions[role]}
        assert httpx.get(f"{served.address}/alerts/{path}", cookies=cookies).status_code in (200, 302)
    tab = tabs("oversight")
    tab.go(f"/alerts/{sample.VANISHED}")
    tab.page.get_by_role("link", name="Who looked at this alert").click()
    rows = tab.page.get_by_role("region", name="Latest first").locator("tbody tr")
    rows.filter(has_text=f"/alerts/{sample.OLD_ID}").filter(has_text="watch-officer").first.wait_for()
    rows.filter(has_text=f"/alerts/{sample.VANISHED}").filter(has_text="partner").first.wait_for()
    tab.page.get_by_label("Accounts of the partner").select_option("fiu-nl")
    tab.page.get_by_label("Alert", exact=True).fill("")
    tab.page.get_by_role("button", name="Show").click()
    tab.page.get_by_role("heading", name="Shared with").wait_for()
    opened = tab.page.get_by_role("region", name="What its accounts opened first").locator("tbody tr").first
    assert "Listed traveller booked" in opened.inner_text()
    assert tab.serious_violations() == []
    tab.assert_clean()
    for role in ("watch_officer", "analyst", "partner"):
        assert tabs(role).page.goto(f"{served.address}/access").status == 403, role


def test_an_administrator_makes_and_changes_accounts(tabs: TabFor, served: Served) -> None:
    tab = tabs("administrator")
    tab.go("/accounts")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    page.get_by_role("button", name="New account").click()
    dialog.get_by_label("Name", exact=True).fill("Nora!")
    dialog.get_by_role("button", name="Add").click()
    page.get_by_text("'Nora!' cannot be a name").wait_for()
    dialog.get_by_label("Name", exact=True).fill("nora")
    dialog.get_by_role("button", name="Add").click()
    told = page.get_by_role("dialog", name="One-time password of nora")
    first = told.locator(".one-time").inner_text()
    assert tab.serious_violations() == []
    told.get_by_role("button", name="Done").click()
    told.wait_for(state="detached")
    assert first not in page.content()
    row = page.get_by_role("region", name="Accounts").locator("tbody tr").filter(has_text="nora")
    assert "one-time password" in row.inner_text()
    assert _log_in(served, "nora", first) == 303

    row.get_by_role("button", name="Role: nora").click()
    dialog.get_by_label("Role").click()
    page.get_by_role("option", name="Partner (read only)").click()
    dialog.get_by_role("button", name="Change role").click()
    page.get_by_text("the role partner needs the id of a partner").wait_for()
    dialog.get_by_label("Partner whose alerts it sees").click()
    page.get_by_role("option").first.click()
    dialog.get_by_role("button", name="Change role").click()
    row.filter(has_text="Partner (read only)").wait_for()

    _lock_out(served, "nora")
    row.get_by_role("button", name="Unlock: nora").click()
    row.get_by_role("button", name="Unlock: nora").wait_for(state="detached")
    row.get_by_role("button", name="New password: nora").click()
    dialog.get_by_role("button", name="Make password").click()
    second = told.locator(".one-time").inner_text()
    told.get_by_role("button", name="Done").click()
    assert (_log_in(served, "nora", first), _log_in(served, "nora", second)) == (401, 303)

    row.get_by_role("button", name="Disable: nora").click()
    dialog.get_by_role("button", name="Disable").click()
    row.filter(has_text="disabled").wait_for()
    row.get_by_role("button", name="Enable: nora").click()
    row.get_by_role("button", name="Disable: nora").wait_for()
    page.get_by_role("button", name="Disable: administrator").click()
    dialog.get_by_role("button", name="Disable").click()
    page.get_by_text("this is the last administrator").wait_for()

    tab.go("/access?target=nora&what=")
    seen = page.get_by_role("region", name="Latest first").inner_text()
    for what in ("add", "role", "unlock", "reset", "disable", "enable"):
        assert f"account {what}" in seen
    assert first not in seen
    assert tabs("oversight").page.goto(f"{served.address}/accounts").status == 403


def test_an_administrator_revokes_a_token(tabs: TabFor, served: Served) -> None:
    accounts = Accounts(Settings(data_dir=served.data_dir))
    made = accounts.tokens.make("analyst", ["view"], timedelta(hours=1), "nightly report")
    accounts.close()
    bearer = {"Authorization": f"Bearer {made.secret}"}
    assert httpx.get(f"{served.address}/api/v1/me", headers=bearer).status_code == 200
    tab = tabs("administrator")
    tab.go("/accounts")
    row = tab.page.get_by_role("region", name="API tokens").locator("tbody tr").filter(has_text="nightly report")
    row.get_by_role("button", name="Revoke").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    assert httpx.get(f"{served.address}/api/v1/me", headers=bearer).status_code == 401
    tab.assert_clean()


def _lock_out(served: Served, name: str) -> None:
    """As if somebody had guessed for a minute: who comes next waits for another one."""
    clock = [datetime.now(UTC) - timedelta(seconds=65)]
    accounts = Accounts(Settings(data_dir=served.data_dir), lambda: clock[0])
    while (wait := accounts.throttle.wait_of(name)) < 60:
        clock[0] += timedelta(seconds=wait)
        assert accounts.throttle.attempt(name, "192.0.2.7") == 0
    accounts.close()


def _log_in(served: Served, name: str, password: str) -> int:
    with httpx.Client(base_url=served.address) as client:
        token = re.search(r'name="csrf_token" value="([^"]*)"', client.get("/login").text)
        assert token is not None
        fields = {"csrf_token": token[1], "next": "/", "name": name, "password": password}
        return client.post("/login", data=fields).status_code
