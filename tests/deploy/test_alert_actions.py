"""``tocsin alerts ack`` and the like, and ``tocsin silence``, where they go through the desk's API."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from deploy.alert_actions_cli import seconds
from deploy.cli import app
from schemas.lifecycle import Action

runner = CliRunner()
AT = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
DONE = Action(
    action_id="1", alert_id="abc", verb="acknowledge", by="ana", via="api", at=AT, before="open", after="acknowledged"
)


class Desk(BaseHTTPRequestHandler):
    """Answers every request with ``answer`` and keeps what was asked."""

    answer: ClassVar[tuple[int, str]] = (200, "")
    asked: ClassVar[list[tuple[str, str, str | None, Any]]] = []

    def _take(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        Desk.asked.append((self.command, self.path, self.headers["Authorization"], body))
        status, text = Desk.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_DELETE = _take  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Desk]]:
    Desk.answer, Desk.asked = (200, DONE.model_dump_json()), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TOCSIN_DESK_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("TOCSIN_API_TOKEN", "tok")
    # Nothing else is there.
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TOCSIN_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    yield Desk
    server.shutdown()
    server.server_close()


def run(*words: str) -> tuple[int, str, str]:
    done = runner.invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_what_is_asked_and_who_sits_here(desk: type[Desk]) -> None:
    assert run("alerts", "ack", "abc", "--for", "1h30m", "--revision", "4", "--by", "bo") == (
        0,
        "abc: acknowledged by ana\n",
        "",
    )
    body = {"verb": "acknowledge", "for_s": 5400, "revision": 4, "text": "", "by": "bo"}
    assert desk.asked == [("POST", "/api/v1/alerts/abc/commands", "Bearer tok", body)]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["unack", "abc"], {"verb": "unacknowledge"}),
        (["assign", "abc", "--to", "bo"], {"verb": "assign", "assignee": "bo"}),
        (["start", "abc", "--why", "mine"], {"verb": "start", "text": "mine"}),
        (["note", "abc", "seen"], {"verb": "note", "text": "seen"}),
        (["close", "abc", "--verdict", "benign"], {"verb": "close", "verdict": "benign"}),
        (["reopen", "abc"], {"verb": "reopen"}),
        (["merge", "abc", "--into", "xyz"], {"verb": "merge", "target": "xyz"}),
        (["split", "abc"], {"verb": "split"}),
    ],
)
def test_each_verb(desk: type[Desk], words: list[str], body: dict[str, Any]) -> None:
    assert run("alerts", *words, "--by", "bo")[0] == 0
    ((_, path, _, asked),) = desk.asked
    assert path == "/api/v1/alerts/abc/commands"
    assert asked == {"text": "", "by": "bo", **body}


def test_a_refusal_names_the_state_and_exits_with_3(desk: type[Desk]) -> None:
    reason = "the alert is closed; allowed: reopen, note"
    desk.answer = (409, DONE.model_copy(update={"accepted": False, "reason": reason}).model_dump_json())
    assert run("alerts", "ack", "abc") == (3, "", f"refused: {reason}\n")
    status, output, _ = run("alerts", "ack", "abc", "--json")
    assert (status, json.loads(output)["reason"]) == (3, reason)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, '{"detail": "your role may not act on alerts"}'), "answers 403: your role may not act on alerts"),
        ((504, '{"detail": "no answer"}'), "answers 504: no answer"),
        ((200, "<html>a proxy</html>"), "answers 200: <html>a proxy</html>"),
    ],
)
def test_a_desk_that_does_not_do_as_asked(desk: type[Desk], answer: tuple[int, str], said: str) -> None:
    desk.answer = answer
    status, _, error = run("alerts", "ack", "abc")
    assert status == 2
    assert said in error


def test_a_silence_is_set_and_ended(desk: type[Desk]) -> None:
    done = DONE.model_copy(update={"alert_id": "", "verb": "silence", "details": {"silence": {"silence_id": "s1"}}})
    desk.answer = (200, done.model_dump_json())
    status, output, _ = run(
        *(
            "silence",
            "add",
            "level=low",
            r"group.phone=~\+31.*",
            "--for",
            "2h",
            "--reason",
            "works",
            "--partner",
            "fiu-nl",
        )
    )
    assert status == 0
    assert output.startswith("s1 holds until ")
    ((method, path, _, body),) = desk.asked
    assert (method, path) == ("POST", "/api/v1/silences")
    assert body["matchers"] == [
        {"field": "level", "op": "=", "value": "low"},
        {"field": "group.phone", "op": "=~", "value": r"\+31.*"},
    ]
    assert (body["reason"], body["partner"]) == ("works", "fiu-nl")
    times = [dt.datetime.fromisoformat(body[name]) for name in ("starts_at", "ends_at")]
    assert times[1] - times[0] == dt.timedelta(hours=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["silence", "add", "--for", "2h", "--reason", "works"], "say what"),
        (["silence", "add", "colour=red", "--for", "2h", "--reason", "works"], "colour"),
        (["silence", "add", "level=low", "--for", "soon", "--reason", "works"], "no duration"),
        (["silence", "add", "level=low", "--for", "2h", "--reason", "x"], "reason"),
        (["alerts", "close", "abc", "--verdict", "done"], "no verdict"),
        (["alerts", "ack", "abc", "--for", "0s"], "for_s"),
    ],
)
def test_what_cannot_be_asked_is_said_and_not_sent(desk: type[Desk], words: list[str], said: str) -> None:
    status, _, error = run(*words)
    assert status == 2
    assert said in error.replace("\n", " ")
    assert desk.asked == []


def test_a_proxy_of_the_internet_does_not_get_the_token(desk: type[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert run("alerts", "start", "abc")[0] == 0
    assert len(desk.asked) == 1


def test_a_desk_without_a_token_is_not_gone_around(desk: type[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_API_TOKEN", "")
    status, _, error = run("silence", "add", "level=low", "--for", "2h", "--reason", "works")
    assert (status, "TOCSIN_API_TOKEN" in error, desk.asked) == (2, True, [])


def test_durations() -> None:
    assert [seconds(each) for each in ("90s", "30m", "2h", "1d", "1h30m")] == [90, 1800, 7200, 86_400, 5400]
    for text in ("", "2", "h", "2 h", "-2h", "2h!", "soon"):
        with pytest.raises(typer.BadParameter):
            seconds(text)
