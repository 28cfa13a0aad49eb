"""The alert page over the real engine: what it shows, what it refuses to run, what it does without a store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from dashboards.alerts import Store, StoreAwayError
from dashboards.palette import EXERCISE_COLOUR, LEVEL_COLOURS, TLP_COLOURS
from dashboards.web.app import create_app
from schemas.settings import Settings
from tests.dashboards.engine import NOW, EngineClient, alert, evidence, iso, put_alerts

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}</title></svg>"
STATIC = Path(__file__).resolve().parents[2] / "dashboards" / "web" / "static"


def browse(store: Store, **options: Any) -> TestClient:
    app = create_app(store, now=lambda: NOW, **options)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


class Tags(HTMLParser):
    """Collects elements and attributes, the way a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_list_shows_open_alerts_newest_first(engine: EngineClient, store: Store) -> None:
    old, new = iso(NOW - timedelta(hours=1)), iso(NOW - timedelta(seconds=5))
    put_alerts(
        engine,
        alert("older", updated_at=old, story="The older story."),
        alert("newer", updated_at=new, story="The newer story.", tlp="AMBER_STRICT"),
        alert("gone", status="superseded", superseded_by="newer", story="The superseded story."),
    )
    text = browse(store).get("/").text
    assert text.index("The newer story.") < text.index("The older story.")
    assert "The superseded story." not in text
    for shown in ("TLP:AMBER+STRICT", "EXERCISE", "high", "bpol-de", "document_number = X1234567", "UTC"):
        assert shown in text
    assert "The superseded story." in browse(store).get("/?status=all").text


def test_a_new_version_replaces_the_old_one(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("a", version=2, story="As it is now."))
    put_alerts(engine, alert("a", version=1, story="As it was."))
    text = browse(store).get("/").text
    assert "As it is now." in text
    assert "As it was." not in text


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", {"low-live", "high-drill"}),
        ("level=high", {"high-drill"}),
        ("level=low", {"low-live", "high-drill"}),
        ("level=nonsense", {"low-live", "high-drill"}),
        ("exercise=live", {"low-live"}),
        ("exercise=exercise", {"high-drill"}),
        ("partner=cert-fr", {"low-live"}),
        ("partner=nobody", set()),
        ("partner=cert-fr&level=high", set()),
    ],
)
def test_filters_in_the_address(engine: EngineClient, store: Store, query: str, ids: set[str]) -> None:
    put_alerts(
        engine,
        alert("low-live", level="low", exercise=False, evidence=[evidence(0, partner="cert-fr")]),
        alert("high-drill", level="high"),
    )
    found = browse(store).get(f"/api/alerts?{query}").json()["alerts"]
    assert {each["alert_id"] for each in found} == ids
    shown = Tags(browse(store).get(f"/rows?{query}").text)
    assert {attrs["data-id"] for tag, attrs in shown.tags if tag == "tr" and "data-id" in attrs} == ids


def test_empty_list_says_what_to_do(engine: EngineClient, store: Store) -> None:
    assert "tocsin up" in browse(store).get("/").text
    put_alerts(engine, alert("a"))
    filtered = browse(store).get("/?level=critical").text
    assert "No alert passes this filter" in filtered
    assert 'href="/"' in filtered


def test_rows_are_sent_once_until_they_change(engine: EngineClient, store: Store) -> None:
    client = browse(store)
    put_alerts(engine, alert("a"))
    tag = client.get("/rows").headers["etag"]
    assert client.get("/rows", headers={"If-None-Match": tag}).status_code == 304
    put_alerts(engine, alert("a", version=2))
    assert client.get("/rows", headers={"If-None-Match": tag}).status_code == 200


def test_alert_page_shows_the_evidence_in_order_of_time(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("a1", evidence=[evidence(3), evidence(1), evidence(0)], evidence_total=5))
    text = browse(store).get("/alerts/a1").text
    order = [
        text.index(f"events.{name}.v1 [{n}] @ {1000 + n}")
        for name, n in (("border_crossing", 0), ("travel_booking", 1), ("tip_report", 3))
    ]
    assert order == sorted(order)
    for shown in (
        "2026-03-01 11:30:00 UTC",
        "+ 7 min",
        "Frankfurt (Oder), DE",
        "X1234567",
        "340 ms from publish to ingest",
        "value_count of location.country gte 2 within 7200 s",
        "4 (needed: at least 2)",
        "2 more events counted towards this alert",
        "version 1f3a9c",
    ):
        assert shown in text
    circles = [attrs for tag, attrs in Tags(text).tags if tag == "circle"]
    assert len(circles) == 3


def test_alert_without_places_has_no_map(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("a1", evidence=[evidence(0, lat=None, lon=None, place="", country="")]))
    text = browse(store).get("/alerts/a1").text
    assert "<svg" not in text
    assert "not known" in text


def test_superseded_alert_leads_to_its_last_successor(engine: EngineClient, store: Store) -> None:
    put_alerts(
        engine,
        alert("first", status="superseded", superseded_by="second"),
        alert("second", status="superseded", superseded_by="third/odd id"),
        alert("third/odd id", supersedes=["first", "second"]),
        alert("orphan", status="superseded", superseded_by="never written"),
        alert("loop-a", status="superseded", superseded_by="loop-b"),
        alert("loop-b", status="superseded", superseded_by="loop-a"),
    )
    client = browse(store)
    answer = client.get("/alerts/first", follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"] == "/alerts/third%2Fodd%20id?from=first"
    assert client.get("/api/alerts/first").json()["superseded_by"] == "second"
    orphan = client.get("/alerts/orphan", follow_redirects=False)
    assert orphan.status_code == 200
    assert "superseded" in orphan.text
    assert client.get("/alerts/loop-a", follow_redirects=False).status_code in {200, 302}


def test_successor_says_where_the_reader_came_from(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("old", status="superseded", superseded_by="new"), alert("new", supersedes=["old"]))
    assert "You followed a link to" in browse(store).get("/alerts/old").text
    assert "You followed a link to" not in browse(store).get("/alerts/new?from=made-up").text


def test_unknown_alert_is_404(store: Store) -> None:
    client = browse(store)
    page = client.get("/alerts/" + "%3Cscript%3E")
    assert page.status_code == 404
    assert "<script>" not in page.text.replace('<script src="/static/app.js" defer></script>', "")
    assert client.get("/api/alerts/none").status_code == 404
    assert client.get("/nowhere").status_code == 404
    assert client.get("/api/nowhere").json()["error"]


def hostile_alert() -> dict[str, Any]:
    record = alert(
        HOSTILE,
        story=HOSTILE,
        group={HOSTILE: HOSTILE},
        tlp=HOSTILE,
        level=HOSTILE,
        partners=[HOSTILE],
        places=[HOSTILE],
        supersedes=["x"],
        explain={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        evidence=[
            evidence(
                number,
                partner=HOSTILE,
                family=HOSTILE,
                place=HOSTILE,
                country=HOSTILE,
                summary=HOSTILE,
                rule_title=HOSTILE,
                topic=HOSTILE,
                event_id=HOSTILE,
                tlp=HOSTILE,
                matched={HOSTILE: [HOSTILE]},
            )
            for number in range(2)
        ],
    )
    record["rule"] |= dict.fromkeys(("title", "description", "condition", "response", "id", "version"), HOSTILE)
    return record


@pytest.mark.parametrize("path", ["/", "/rows", "/alerts/%ID%", "/?partner=%ID%&level=%ID%"])
def test_hostile_values_stay_text(engine: EngineClient, store: Store, path: str) -> None:
    from urllib.parse import quote

    put_alerts(engine, hostile_alert())
    answer = browse(store).get(path.replace("%ID%", quote(HOSTILE, safe="")))
    assert answer.status_code == 200
    tags = Tags(answer.text).tags
    scripts = [attrs for tag, attrs in tags if tag == "script"]
    assert scripts == [{"src": "/static/app.js", "defer": None}] * (path != "/rows")
    assert [tag for tag, _ in tags if tag == "img"] == []
    assert [name for _, attrs in tags for name in attrs if name.startswith("on") or name == "style"] == []
    links = [attrs.get("href") or "" for tag, attrs in tags if tag in {"a", "link"}]
    assert [link for link in links if not re.match(r"/|#main$|$", link)] == []
    assert "49</title>" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_json_of_hostile_values_is_json(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("a", story=HOSTILE))
    answer = browse(store).get("/api/alerts/a")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["story"] == HOSTILE


@pytest.mark.parametrize("path", ["/", "/nowhere", "/health", "/static/app.js", "/api/alerts", "/static/nothing.js"])
def test_every_response_carries_the_security_headers(store: Store, path: str) -> None:
    headers = browse(store).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


def test_another_host_name_is_turned_away(store: Store) -> None:
    client = browse(store)
    assert client.get("/", headers={"Host": "attacker.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8090"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(store: Store, method: str) -> None:
    assert browse(store).request(method, "/api/alerts").status_code == 405


def away_store(tmp_path: Path) -> Store:
    def refuse() -> Any:
        raise StoreAwayError("ClickHouse at http://127.0.0.1:1 does not answer as expected (refused).")

    return Store(Settings(data_dir=tmp_path), connector=refuse)


def test_without_a_store_pages_say_so_and_try_again(tmp_path: Path) -> None:
    client = browse(away_store(tmp_path))
    page = client.get("/")
    assert page.status_code == 503
    assert page.headers["retry-after"] == "2"
    assert "does not answer" in page.text
    assert "Traceback" not in page.text
    assert 'data-page="away"' in page.text
    api = client.get("/api/alerts")
    assert api.status_code == 503
    assert "does not answer" in api.json()["error"]
    assert client.get("/health").json()["clickhouse"] == "away"


def test_the_store_is_asked_again_after_a_failure(engine: EngineClient, tmp_path: Path) -> None:
    answers = [StoreAwayError("away"), engine]

    def connector() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = browse(Store(Settings(data_dir=tmp_path), connector=connector))
    assert client.get("/").status_code == 503
    assert client.get("/").status_code == 200


def test_a_record_that_cannot_be_read_gives_no_traceback(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, {**alert("bad"), "surprise": 1})
    page = browse(store).get("/alerts/bad")
    assert page.status_code == 500
    assert "Traceback" not in page.text
    assert "log of the web process" in page.text
    assert page.headers["content-security-policy"]


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_have_enough_contrast() -> None:
    variables = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", (STATIC / "app.css").read_text()))
    grounds = [variables[name] for name in ("ground", "panel", "raised")]
    texts = [variables[name] for name in ("text", "minor", "link", "focus")] + list(LEVEL_COLOURS.values())
    for ground in grounds:
        for text in texts:
            assert contrast(ground, text) >= 4.5, (ground, text)
    for colour in TLP_COLOURS.values():
        assert contrast("#000000", colour) >= 4.5
    assert contrast(EXERCISE_COLOUR, "#14101f") >= 4.5


def test_ages_are_of_the_last_event(engine: EngineClient, store: Store) -> None:
    put_alerts(engine, alert("a", last_event_at=iso(NOW - timedelta(minutes=9, seconds=30))))
    assert ">9 min</time> ago" in browse(store).get("/").text
    late = create_app(store, now=lambda: datetime(2026, 3, 3, 12, tzinfo=UTC))
    assert ">2 d</time> ago" in TestClient(late, base_url="http://localhost").get("/").text
