"""The desk's pages beside the queue in a real browser: each opens, asks no other host, says no error, is accessible to
axe-core's satisfaction, works live, and keeps to itself what a partner may not see."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser.served import Served
from tests.browser.tabs import TabFor, needs_browser
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.served import AWAY
from tests.stack import wait_until

pytestmark = needs_browser
ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    f"/alerts/{sample.VANISHED}": "Why the rule fired",
    f"/alerts/{sample.DRILL}": "Why the rule fired",
    "/feeds": "Feeds by family",
    "/rules?rule=two-borders": "What each rule did",
    "/quarantine?reason=undecodable": "Newest refused records",
    f"/oncall?alert={sample.VANISHED}": "Last deliveries",
    "/exercises": "Alerts of exercises",
    "/silences": "Now and to come",
    "/access": "Accesses",
    "/accounts": "What a role may",
    "/runbooks": "Which one is it?",
    "/runbooks/clickhouse-down": "Never",
}
ASKING = [path for path in PAGES if path not in ("/silences", "/accounts") and not path.startswith("/runbooks")]
"""Pages that ask ClickHouse."""
WIDE_TABLES = """[...document.querySelectorAll(".desk-table")].map((each) => each.parentElement)
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.getAttribute("aria-label"))"""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_page_opens_alone_and_is_accessible(tabs: TabFor, tmp_path: Path, theme: str) -> None:
    tab = tabs("administrator")
    tab.context.add_cookies([{"name": "tocsin_theme", "value": theme, "domain": "127.0.0.1", "path": "/"}])
    for path, last in PAGES.items():
        tab.go(path)
        tab.page.get_by_role("heading", name=last).wait_for()
        if "/alerts/" in path:
            tab.page.locator(".map-land").first.wait_for(state="attached")
            tab.page.locator(".chart svg path").first.wait_for(state="attached")
        assert tab.serious_violations() == [], path
        picture = tmp_path / f"{theme}{path.split('?')[0].replace('/', '-')}.png"
        tab.page.screenshot(path=str(picture), full_page=True)
        assert picture.stat().st_size > 10_000
    tab.assert_clean()


def test_a_newcomer_finds_who_is_concerned_and_why(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    tab.go(f"/alerts/{sample.VANISHED}")
    story = tab.page.locator("p.story")
    story.get_by_text("It concerns document X1234567, person JANSEN, MILA").wait_for()
    story.get_by_text("What to do: Ask the border police at both ends").wait_for()
    # The map is drawn when what follows the page's frame has come.
    tab.page.locator(".map-spot").nth(3).wait_for()
    numbers = [each.inner_text() for each in tab.page.locator(".map-spot").all()]
    assert sorted(numbers) == ["1", "2", "3–4", "5"]
    rows = tab.page.get_by_role("region", name="Events in order of time").locator("tbody tr")
    rows.nth(4).wait_for()
    assert rows.count() == 5
    tab.page.get_by_role("link", name="A phone named in a tip booked a journey.").wait_for()


def test_what_one_officer_does_the_other_sees_without_reload(tabs: TabFor) -> None:
    one, other = tabs("watch_officer"), tabs("administrator")
    for tab in (one, other):
        tab.go(f"/alerts/{sample.TWO_BORDERS}")
        tab.page.get_by_role("button", name="Acknowledge").wait_for()
        tab.page.evaluate("window.sameDocument = true")
    one.page.get_by_role("button", name="Acknowledge").click()
    one.page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    for tab in (one, other):
        tab.page.locator(".chips").get_by_text("acknowledged by watch-officer").wait_for()
    history = other.page.get_by_role("region", name="Latest first").first
    history.get_by_text("acknowledged").first.wait_for()

    other.page.keyboard.press("n")
    dialog = other.page.get_by_role("dialog")
    dialog.get_by_label("Note").fill("Both crossings have the same photograph.")
    assert other.serious_violations() == []
    dialog.get_by_role("button", name="Add note").click()
    one.page.get_by_text("Both crossings have the same photograph.").wait_for()

    other.page.get_by_role("button", name="Close", exact=True).click()
    other.page.get_by_role("dialog").get_by_text("True positive").click()
    other.page.get_by_role("dialog").get_by_role("button", name="Close alert").click()
    one.page.locator(".chips").get_by_text("closed as true positive by administrator").wait_for()
    one.page.get_by_role("button", name="Reopen").wait_for()
    assert one.page.evaluate("window.sameDocument") is True
    assert one.problems == other.problems == []


def test_keys_outlive_a_click_stay_before_a_dialog_and_can_be_turned_off(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    tab.go(f"/alerts/{sample.VANISHED}")
    dialogs = tab.page.get_by_role("dialog")
    tab.page.get_by_role("button", name="Note").click()
    dialogs.get_by_role("button", name="Cancel").click()
    dialogs.wait_for(state="detached")
    tab.press("n")
    dialogs.get_by_role("button", name="Cancel").focus()
    tab.press("c", "s")
    assert dialogs.count() == 1
    tab.press("Escape")
    dialogs.wait_for(state="detached")
    switch = tab.page.get_by_role("button", name="Keys")
    switch.click()
    tab.press("n")
    tab.go(f"/alerts/{sample.VANISHED}")
    assert switch.get_attribute("aria-pressed") == "false"
    tab.press("n")
    switch.click()
    tab.press("c")
    tab.page.get_by_role("dialog", name="Close the alert").wait_for()
    assert dialogs.count() == 1
    tab.assert_clean()


def test_who_was_slower_is_told(tabs: TabFor) -> None:
    one, other = tabs("watch_officer"), tabs("administrator")
    for tab in (one, other):
        tab.go(f"/alerts/{sample.VANISHED}")
        tab.page.get_by_role("button", name="Assign").click()
        tab.page.get_by_role("dialog").get_by_role("button", name="Assign").wait_for()
    one.page.get_by_role("dialog").get_by_role("button", name="Assign").click()
    other.page.locator(".chips").get_by_text("assigned to watch-officer").wait_for()
    other.page.get_by_role("dialog").get_by_role("button", name="Assign").click()
    other.page.get_by_text("watch-officer was first").wait_for()
    assert other.page.locator(".chips").get_by_text("assigned to watch-officer").is_visible()


def test_a_superseded_alert_leads_to_its_successor(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    tab.go(f"/alerts/{sample.OLD_ID}")
    assert urlsplit(tab.page.url).path == f"/alerts/{sample.VANISHED}"
    tab.page.get_by_text(f"You asked for alert {sample.OLD_ID}").wait_for()


def test_a_partner_learns_nothing_of_an_alert_that_went_on_elsewhere(served: Served) -> None:
    for role, status in (("partner", 404), ("watch_officer", 302)):
        cookies = {"tocsin_session": served.sessions[role]}
        answer = httpx.get(f"{served.address}/alerts/{sample.OLD_ID}", cookies=cookies)
        assert answer.status_code == status
        assert (sample.VANISHED in f"{answer.headers}{answer.text}") is (status == 302)


def test_the_focus_stays_where_it_is_while_others_work(tabs: TabFor) -> None:
    one, other = tabs("watch_officer"), tabs("administrator")
    for tab in (one, other):
        tab.go(f"/alerts/{sample.DRILL}")
        tab.page.get_by_role("button", name="Note").wait_for()
    where = "document.activeElement.innerText"
    for element, verb in (
        (one.page.locator(".standing a").first, "Noted by one."),
        (one.page.locator("[title^=Note]"), "2."),
    ):
        element.focus()
        focused = one.page.evaluate(where)
        assert focused
        other.press("n")
        other.page.get_by_role("dialog").get_by_label("Note").fill(verb)
        other.page.get_by_role("button", name="Add note").click()
        one.page.get_by_text(verb, exact=True).wait_for()
        assert one.page.evaluate(where) == focused
        other.page.get_by_role("dialog").wait_for(state="detached")
    one.page.get_by_role("button", name="Reopen").click()
    one.page.get_by_role("dialog").get_by_role("button", name="Reopen").click()
    one.page.wait_for_function("document.activeElement.innerText.includes('Acknowledge')")
    one.assert_clean()


def test_an_unknown_alert_is_a_404_in_the_desks_frame(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    answer = tab.go("/alerts/nothing-of-the-kind")
    assert answer.status == 404
    tab.page.get_by_role("heading", name="No such alert").wait_for()
    assert tab.page.get_by_role("link", name="Queue", exact=False).first.is_visible()


def test_a_partner_sees_its_alerts_and_no_others(tabs: TabFor) -> None:
    tab = tabs("partner")
    assert tab.go(f"/alerts/{sample.VANISHED}").status == 200
    tab.page.get_by_text("Your role may look, not act.").wait_for()
    assert tab.page.get_by_role("button", name="Acknowledge").count() == 0
    tab.page.get_by_text("No earlier alert is like this one.").wait_for()
    assert tab.page.get_by_role("heading", name="Notified").count() == 0
    assert tab.go(f"/alerts/{sample.TWO_BORDERS}").status == 404
    for path in ("/feeds", "/rules", "/quarantine", "/oncall", "/exercises", "/silences", "/runbooks"):
        assert tab.page.goto(tab.address + path).status == 403, path


def test_a_silence_is_set_with_its_scope_in_sight_and_ended(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    tab.go("/silences")
    tab.page.get_by_text("No silence holds").wait_for()
    tab.page.get_by_role("button", name="New silence").click()
    dialog = tab.page.get_by_role("dialog")
    conditions = dialog.get_by_label("Conditions, one a line")
    dialog.get_by_label("Reason").fill("A test of the border system.")
    for wrong, said in (("", "every alert would go silent"), ("exercise=false", "add a narrower one")):
        conditions.fill(wrong)
        dialog.get_by_role("button", name="Silence", exact=True).click()
        dialog.get_by_role("alert").filter(has_text=said).wait_for()
    conditions.fill("rule_id=two-borders")
    conditions.blur()
    dialog.get_by_text("it would have hidden 1 alert").wait_for()
    assert tab.serious_violations() == []
    dialog.get_by_role("button", name="Silence", exact=True).click()
    row = tab.page.locator(".desk-table tbody tr").filter(has_text="A test of the border system.")
    row.wait_for()
    assert "rule_id = two-borders" in row.inner_text()
    assert "watch-officer" in row.inner_text()
    assert tab.serious_violations() == []
    row.get_by_role("button", name="End").click()
    dialog.get_by_role("button", name="End silence").click()
    row.wait_for(state="detached")
    tab.assert_clean()


def test_while_the_store_is_away_each_page_says_so_and_comes_back(tabs: TabFor, served: Served) -> None:
    away = served.data_dir / AWAY
    opened = {path: tabs("administrator") for path in ASKING}
    away.touch()
    try:
        for path, tab in opened.items():
            tab.page.goto(tab.address + path)
            tab.page.get_by_role("alert").filter(has_text="ClickHouse does not answer; trying again.").wait_for()
    finally:
        away.unlink()
    for path, tab in opened.items():
        tab.page.get_by_role("heading", name=PAGES[path]).wait_for()
        tab.page.get_by_text("ClickHouse does not answer").wait_for(state="detached")


def test_a_file_that_is_slow_to_read_keeps_nobody_before_an_error(tabs: TabFor, served: Served) -> None:
    policy = served.data_dir / "oncall.yml"
    text = policy.read_text()
    policy.unlink()
    os.mkfifo(policy)  # a file that keeps its reader waiting
    try:
        tab = tabs("watch_officer")
        answer = tab.page.goto(tab.address + "/oncall")
        assert answer.status == 200
        tab.page.get_by_text("Loading …").first.wait_for()
        pipe = _when_read(policy)
        os.write(pipe, text.encode())
        os.close(pipe)
        tab.page.get_by_role("heading", name="Who is on call").wait_for()
    finally:
        policy.unlink()
        policy.write_text(text)


def _when_read(pipe: Path) -> int:
    """The pipe, open for writing, once somebody reads it."""
    opened: list[int] = []

    def has_reader() -> bool:
        try:
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(opened)

    wait_until(has_reader, 10, "the desk reads the file")
    return opened[0]


def test_only_who_may_sees_the_back_test(tabs: TabFor) -> None:
    tab = tabs("watch_officer")
    tab.go("/rules")
    tab.page.get_by_role("heading", name="What each rule did").wait_for()
    assert tab.page.get_by_role("heading", name="Back-test").count() == 0
    tab = tabs("analyst")
    tab.go("/rules")
    tab.page.get_by_role("button", name="Run back-test").wait_for()


def test_a_narrow_screen_needs_no_sideways_scrolling(tabs: TabFor) -> None:
    tab = tabs("administrator")
    tab.page.set_viewport_size({"width": 400, "height": 800})
    # What was asked for is written down, and some of it is one long word.
    tab.page.goto(tab.address + "/alerts/" + "x" * 120)
    for path, last in PAGES.items():
        tab.go(path)
        tab.page.get_by_role("heading", name=last).wait_for()
        if path.startswith(("/rules", "/accounts", "/feeds", "/access")):
            tab.page.locator(".desk-table").first.wait_for()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400, path
        # Rows may still be coming.
        tab.page.wait_for_function(f"!({WIDE_TABLES}).length")


def test_the_header_of_a_laptop_is_one_line_and_its_menu_works_by_keyboard(tabs: TabFor) -> None:
    tab = tabs("administrator")
    tab.go("/runbooks")
    more, accounts = tab.page.locator("summary", has_text="More"), tab.page.get_by_role("link", name="Accounts")
    for width in (1280, 1024):
        tab.page.set_viewport_size({"width": width, "height": 800})
        assert tab.page.locator(".desk-header").bounding_box()["height"] < 50, width
    assert not accounts.is_visible()
    more.focus()
    tab.press("Enter")
    accounts.wait_for()
    assert tab.serious_violations() == []
    tab.press("Tab", "Escape")
    accounts.wait_for(state="hidden")
    assert more.evaluate("(each) => each === document.activeElement")
    tab.press("Enter")
    tab.page.mouse.click(900, 700)
    accounts.wait_for(state="hidden")
    more.click()
    accounts.click()
    tab.page.get_by_role("heading", name="What a role may").wait_for()
    tab.assert_clean()


def test_a_command_takes_the_pictures(served: Served, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.cli", "dashboards", "screenshot", str(tmp_path / "desk.png")]
    done = subprocess.run(
        [*command, "--data-dir", str(served.data_dir)],
        cwd=ROOT,
        env=os.environ | {"TOCSIN_DESK_URL": served.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("desk.png", "desk-alert.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
