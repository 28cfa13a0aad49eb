"""What the desk's command line and settings make of who may address it, and what each answer says of its time."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from starlette.responses import PlainTextResponse

from dashboards.desk.__main__ import options
from dashboards.desk.app import create_api
from dashboards.desk.server_timing import HEADER, ServerTiming, total_ms
from schemas.settings import Settings
from tests.dashboards.desk.states import HandFed


def test_no_proxy_is_believed_unless_it_is_named() -> None:
    assert options([]).server["proxy_headers"] is False
    assert options(["--behind-proxy"]).server["forwarded_allow_ips"] == "127.0.0.1"
    behind = options(["--behind-proxy", "192.0.2.7"]).server
    assert (behind["proxy_headers"], behind["forwarded_allow_ips"]) == (True, "192.0.2.7")


def test_names_are_added_and_patterns_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert options(["--allow-host", "desk.test", "--allow-host", "watch.test"]).hosts == ("desk.test", "watch.test")
    with pytest.raises(SystemExit):
        options(["--allow-host", "*"])
    assert "whole names" in capsys.readouterr().err
    with pytest.raises(ValidationError):
        Settings(desk_hosts=("*",))


@pytest.mark.parametrize(("host", "status"), [("desk.test", 200), ("other.test", 400), ("localhost", 400)])
async def test_the_desk_answers_to_its_names(tmp_path: Path, host: str, status: int) -> None:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:9", desk_hosts=("desk.test",))
    app, _ = create_api(settings, live=HandFed(settings))
    async with app.router.lifespan_context(app):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")
        answer = await client.get("/health")
        assert answer.status_code == status
        assert total_ms(answer.headers[HEADER]) is not None


async def test_every_answer_says_how_long_it_took_here() -> None:
    seconds = iter([10.0, 10.25])
    answer = PlainTextResponse("ok", headers={HEADER: "cache;desc=hit"})
    timed = ServerTiming(answer, clock=lambda: next(seconds))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(timed), base_url="http://desk") as client:
        told = (await client.get("/")).headers[HEADER]
    assert told == "cache;desc=hit, total;dur=250.0"
    assert total_ms(told) == 250.0
    assert total_ms("subtotal;dur=3") is None
