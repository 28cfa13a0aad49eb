"""The watch desk in a real browser, on the real platform: from Kafka to the screen and back."""

from __future__ import annotations

import statistics
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.browser.conftest import PASSWORD, DeskSite
from tests.browser.tabs import Tab, TabFor, Windows, needs_browser
from tests.dashboards.engine import alert, iso
from tests.integration.events import encoded, event
from tests.stack import wait_until

pytestmark = needs_browser
WITHIN_S = 2.0
SEVERAL_TIPS = "948c14ee-2adb-4ba2-9589-db42d87b5bdb"


def made(title: str, **changes: Any) -> dict[str, Any]:
    """A live critical alert of this moment whose rule has that title and an id of its own."""
    now = iso(datetime.now(UTC))
    record = alert(str(uuid.uuid4()), level="critical", exercise=False, group={"case": title})
    record["rule"] |= {"id": f"rule-{title}", "title": title, "level": "critical"}
    for item in record["evidence"]:
        item["exercise"] = False
    return record | {"created_at": now, "updated_at": now, "last_event_at": now} | changes


def title() -> str:
    return f"Case {uuid.uuid4().hex[:10]}"


def shown(site: DeskSite, tab: Tab, **changes: Any) -> tuple[str, str]:
    """Publish an alert and wait until the queue, narrowed to it, shows it; its title and id."""
    name = title()
    record = made(name, **changes)
    site.publish(record)
    tab.go(f"/?q={name.replace(' ', '+')}")
    tab.row(name).wait_for()
    return name, record["alert_id"]


def choose(tab: Tab, name: str) -> None:
    tab.press("j")
    tab.page.locator(".queue tr.is-current").filter(has_text=name).wait_for()


def answer_dialog(tab: Tab, action: str) -> None:
    """On the page of an alert, press the button of an action, and that of the same name in the dialog that opens."""
    tab.page.get_by_role("button", name=action).click()
    tab.page.get_by_role("dialog").get_by_role("button", name=action).click()


def test_people_log_in_and_out(site: DeskSite, windows: Windows) -> None:
    tab = Tab(windows.new(), site.address)
    tab.page.goto(f"{site.address}/?priority=P1")
    assert "/login" in tab.page.url
    tab.log_in("anna", PASSWORD)
    tab.page.get_by_text("Anna", exact=True).wait_for()
    tab.page.get_by_label("Log out").click()
    tab.page.get_by_role("button", name="Log out").click()
    tab.page.wait_for_url("**/login*")
    tab.page.goto(site.address)
    assert "/login" in tab.page.url
    tab.assert_clean()
    tab.context.close()


def test_a_new_alert_appears_without_reload_within_two_seconds(site: DeskSite, tab_of: TabFor) -> None:
    tab = tab_of("anna")
    run = uuid.uuid4().hex[:8]
    shown(site, tab)
    tab.go(f"/?q={run}")
    tab.page.get_by_text("No alert to show.").wait_for()
    tab.page.evaluate("window.sameDocument = true")
    took = []
    for number in range(3):
        name = f"Case {run}-{number}"
        site.publish(made(name))
        published = time.monotonic()
        tab.row(name).wait_for()
        took.append(time.monotonic() - published)
    assert statistics.median(took) < WITHIN_S, took
    assert tab.page.evaluate("window.sameDocument") is True
    assert tab.page.title().startswith("(")
    assert f"Case {run}-2" in (tab.page.locator(".sr-only[role=alert]").text_content() or "")
    tab.assert_clean()


def test_filters_are_in_the_address_and_hold_for_who_follows_it(site: DeskSite, tab_of: TabFor) -> None:
    tab, other = tab_of("anna"), tab_of("bruno")
    live, _ = shown(site, tab)
    drill, _ = shown(site, tab, exercise=True)
    tab.go("/?q=Case")
    tab.page.locator("select[name=exercise]").select_option("exercise")
    tab.page.wait_for_url("**exercise=exercise*")
    tab.row(drill).locator(".chip.exercise").wait_for()
    tab.row(live).wait_for(state="detached")
    tab.press("/")
    tab.press("ControlOrMeta+a")
    tab.page.keyboard.type(drill)
    tab.page.wait_for_url("**q=Case*" + drill.rpartition(" ")[2] + "*")
    tab.page.wait_for_function("document.querySelectorAll('.queue tbody tr[data-id]').length === 1")
    other.page.goto(tab.page.url)
    other.row(drill).wait_for()
    assert other.page.locator(".queue tbody tr[data-id]").count() == 1
    tab.assert_clean()


def test_an_alert_is_worked_by_keyboard_and_others_see_it(site: DeskSite, tab_of: TabFor) -> None:
    tab, other = tab_of("anna"), tab_of("bruno")
    name, alert_id = shown(site, tab)
    other.go(f"/?q={name.replace(' ', '+')}&state=all")
    choose(tab, name)
    tab.press("a")
    tab.row(name).get_by_text("Acknowledged").wait_for()
    other.row(name).get_by_text("Acknowledged").wait_for()
    assert "anna" in other.row(name).inner_text()

    choose(other, name)
    other.press("x")
    tab.row(name).get_by_text("Assigned").wait_for()
    assert "bruno" in tab.row(name).inner_text()

    tab.press("n")
    tab.page.get_by_role("textbox", name="Note").fill("Called the border police at Frankfurt.")
    tab.page.get_by_role("button", name="Add note").click()
    other.row(name).get_by_text("1 note", exact=False).wait_for()

    tab.press("c")
    tab.page.get_by_role("radio", name="Benign").click()
    tab.page.get_by_role("button", name="Close alert").click()
    tab.row(name).wait_for(state="detached")
    other.row(name).get_by_text("Closed").wait_for()
    assert "Benign" in other.row(name).inner_text()

    choose(other, name)
    other.page.evaluate("document.activeElement.blur()")
    other.press("Enter")
    other.page.wait_for_url(f"**/alerts/{alert_id}")
    answer_dialog(other, "Reopen")
    tab.row(name).get_by_text("Open", exact=True).wait_for()
    with site.api("anna") as api:
        verbs = [each["verb"] for each in api.get(f"/alerts/{alert_id}/actions").json()]
    assert [verb for verb in verbs if verb != "updated"] == [
        *("raised", "acknowledge", "assign", "note", "close", "reopen"),
    ]
    tab.assert_clean()
    other.assert_clean()


def test_an_alert_goes_under_another_and_comes_out_again(site: DeskSite, tab_of: TabFor) -> None:
    tab, other = tab_of("anna"), tab_of("bruno")
    name, alert_id = shown(site, tab)
    into = title()
    site.publish(made(into, story=f"The same as {name}."))
    other.go("/?q=Case")
    other.row(into).wait_for()
    tab.go(f"/alerts/{alert_id}")
    tab.page.get_by_role("button", name="Merge").click()
    dialog = tab.page.get_by_role("dialog", name="Merge")
    dialog.get_by_label("Under which alert").fill(name)
    tab.page.get_by_role("option").filter(has_text=f"The same as {name}").click()
    assert tab.serious_violations() == []
    dialog.get_by_role("button", name="Merge").click()
    other.row(into).get_by_text("1 merged").wait_for()
    other.page.wait_for_function(f"!document.querySelector('tr[data-id=\"{alert_id}\"]')")
    answer_dialog(tab, "Split off")
    other.page.locator(f"tr[data-id='{alert_id}']").wait_for()
    other.row(into).get_by_text("1 merged").wait_for(state="detached")
    tab.assert_clean()
    other.assert_clean()


def test_of_two_officers_one_wins_and_the_other_is_told_by_whom(site: DeskSite, tab_of: TabFor) -> None:
    tab = tab_of("anna")
    name, alert_id = shown(site, tab)
    with site.api("bruno") as api:
        revision = api.get(f"/alerts/{alert_id}").json()["state"]["revision"]
        choose(tab, name)
        tab.press("c")
        tab.page.get_by_role("radio", name="Benign").click()
        done = api.post(f"/alerts/{alert_id}/commands", json={"verb": "acknowledge", "revision": revision})
        assert done.status_code == 200, done.text
        tab.row(name).get_by_text("bruno").wait_for()
        tab.page.get_by_role("button", name="Close alert").click()
        tab.page.get_by_text("Not done: bruno was first").wait_for()
        late = api.post(
            f"/alerts/{alert_id}/commands", json={"verb": "close", "verdict": "benign", "revision": revision}
        )
    assert late.status_code == 409
    assert late.json()["accepted"] is False
    assert late.json()["reason"]


def test_a_silence_shows_its_scope_and_hides_what_it_matches(site: DeskSite, tab_of: TabFor) -> None:
    tab = tab_of("anna")
    name, _ = shown(site, tab)
    choose(tab, name)
    tab.press("s")
    tab.page.get_by_text("it would have hidden 1 alert (1 P1)").wait_for()
    tab.page.get_by_role("textbox", name="Reason").fill("known test of the border system")
    assert tab.serious_violations() == []
    tab.page.get_by_role("button", name="Silence", exact=True).click()
    tab.row(name).wait_for(state="detached")
    tab.page.locator("input[name=hidden]").check()
    tab.page.wait_for_url("**hidden=1*")
    tab.row(name).get_by_text("silenced").wait_for()
    with site.api("anna") as api:
        silence = next(each for each in api.get("/silences").json() if each["reason"].startswith("known test"))
        assert api.delete(f"/silences/{silence['silence_id']}").status_code == 200
        tab.row(name).get_by_text("silenced").wait_for(state="detached")
    tab.assert_clean()


def test_a_role_that_may_not_is_refused_in_the_page_and_in_the_api(site: DeskSite, tab_of: TabFor) -> None:
    officer, watcher, partner = tab_of("anna"), tab_of("olga"), tab_of("pat")
    name, alert_id = shown(site, officer)
    watcher.go(f"/?q={name.replace(' ', '+')}")
    watcher.row(name).wait_for()
    choose(watcher, name)
    watcher.press("a")
    watcher.page.get_by_text("Your role does not allow this").wait_for()
    assert "nobody" in officer.row(name).inner_text()
    with site.api("olga") as api:
        assert api.post(f"/alerts/{alert_id}/commands", json={"verb": "acknowledge"}).status_code == 403

    # What is not the partner's own does not exist for it.
    partner.go(f"/?q={name.replace(' ', '+')}&hidden=1&state=all")
    partner.page.get_by_text("No alert to show.").wait_for()
    with site.api("pat") as api:
        assert api.get(f"/alerts/{alert_id}").status_code == 404
        assert api.get("/alerts", params={"q": name}).json()["alerts"] == []
    assert partner.page.goto(f"{site.address}/feeds").status == 403


def test_an_analyst_tries_a_rule_on_what_is_stored(site: DeskSite, tab_of: TabFor) -> None:
    source, plate = f"backtest-{uuid.uuid4().hex[:8]}", f"PLATE-{uuid.uuid4().hex[:8]}"
    vehicle = {"type": "vehicle", "value": plate, "role": None}
    for number in range(3):
        tip = event(source, text=f"Seen again, {number}.", entities=[vehicle]) | {"severity": "HIGH"}
        site.stack.produce("events.tip_report.v1", encoded(site.stack.schema_ids["tip_report"], tip))
    wait_until(lambda: site.stack.stored(source) == 3, 30, "the tips are stored")
    tab = tab_of("cleo")
    tab.go(f"/rules?rule={SEVERAL_TIPS}")
    tab.page.get_by_role("button", name="Run back-test").click()
    # A process of its own, behind everything else on the machine.
    tab.page.get_by_text("would be gone.").wait_for(timeout=90_000)
    line = tab.page.get_by_role("region", name="Alerts by rule").locator("tbody tr")
    assert line.filter(has_text="Several tips name the same vehicle").count() == 1
    tab.page.locator(".chart svg path").first.wait_for(state="attached")
    assert tab.serious_violations() == []
    tab.assert_clean()


def test_events_tell_of_changes_and_resume(site: DeskSite) -> None:
    name = title()
    record = made(name)

    def next_event(api: httpx.Client, since: str | None) -> tuple[str, str]:
        headers = {"Last-Event-ID": since} if since else {}
        with api.stream("GET", "/events", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            if since is None:
                site.publish(record)
            number = ""
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    number = line.removeprefix("id: ")
                if line.startswith("data: ") and record["alert_id"] in line:
                    return number, line
        raise AssertionError("the stream ended")

    with site.api("anna") as api:
        first, line = next_event(api, None)
        assert name in line
        assert api.post(f"/alerts/{record['alert_id']}/commands", json={"verb": "acknowledge"}).status_code == 200
        second, line = next_event(api, first)
        assert int(second) > int(first)
        assert '"state":"acknowledged"' in line


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_queue_is_accessible(site: DeskSite, tab_of: TabFor, theme: str) -> None:
    tab = tab_of("anna")
    tab.context.add_cookies([{"name": "tocsin_theme", "value": theme, "url": site.address}])
    name, _ = shown(site, tab, exercise=True)
    tab.go("/?q=Case")
    tab.row(name).wait_for()
    assert tab.serious_violations() == []
    tab.press("?")
    tab.page.get_by_role("dialog").wait_for()
    assert tab.serious_violations() == []
    tab.assert_clean()


def test_the_desk_outlives_a_restart_of_its_process(site: DeskSite, tab_of: TabFor) -> None:
    tab = tab_of("anna")
    name, _ = shown(site, tab)
    part = site.stack.part("desk")
    restarts = part.restarts
    part.kill()
    wait_until(lambda: part.restarts > restarts and part.state == "ready", 60, "the desk is back")
    tab.go(f"/?q={name.replace(' ', '+')}")
    tab.row(name).wait_for()
    tab.page.get_by_text("live", exact=True).wait_for()
