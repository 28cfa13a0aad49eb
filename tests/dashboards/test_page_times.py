"""Times of the desk's pages: what counts as a page, and what the figures say."""

from __future__ import annotations

from pathlib import Path

import httpx
from typer.testing import CliRunner

from dashboards.cli import app
from dashboards.desk.pages.filling import LOADING
from dashboards.page_times import PageTimes

PAGE = {"X-NiceGUI-Content": "page", "Server-Timing": "total;dur=17.6"}


def asked(path: str, *answers: httpx.Response | Exception) -> PageTimes:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/alerts/a1"
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    times = PageTimes(path)
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://desk") as client:
        for _ in answers:
            times.ask(client, "a1")
    return times


def test_only_pages_count_and_what_was_none_is_told() -> None:
    login = httpx.Response(303, headers={"Location": "/login", "Content-Type": "text/html"})
    away = httpx.Response(200, text="ClickHouse away", headers={"Content-Type": "text/html"})
    pages = (httpx.Response(200, headers=PAGE, text=text) for text in ("all of it", f'<p class="{LOADING}">'))
    found = asked("/alerts/{id}", *pages, login, away, httpx.ReadTimeout("late"), login)
    figures = found.figures()
    assert (figures["page"], figures["asked"], len(found.ms)) == ("/alerts/{id}", 6, 2)
    assert figures["complete"] == 1
    assert figures["server_ms"]["p50"] == 18
    assert figures["problems"] == {
        "answered 303 with text/html": 2,
        "answered 200 with text/html": 1,
        "ReadTimeout": 1,
    }


def test_percentiles_are_times_that_were_measured() -> None:
    assert PageTimes("/", ms=[float(each) for each in range(100, 0, -1)]).figures()["ms"] == {
        "p50": 50,
        "p95": 95,
        "p99": 99,
        "p100": 100,
    }
    assert PageTimes("/", ms=[7.4]).figures()["ms"] == {"p50": 7, "p95": 7, "p99": 7, "p100": 7}
    assert PageTimes("/").figures()["ms"] == {}


def test_without_a_running_desk_it_says_how_to_start_one(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["times", "--data-dir", str(tmp_path)])
    assert found.exit_code == 2
    assert "No times: no desk is running in this data directory: start it with tocsin up" in found.output
