"""Grafana's webhook at the real desk; what becomes of its alerts on Kafka is in tests/integration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.desk.app import create_api
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, token_permissions
from dashboards.desk.auth.tokens import TokenError
from dashboards.desk.live import Standing
from dashboards.grafana.provisioned import WEBHOOK_PATH
from schemas.settings import Settings
from tests.dashboards.desk.states import HandFed

PATH = WEBHOOK_PATH
FIRING: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "Consumer lag"},
    "startsAt": "2026-03-01T12:00:00.5+01:00",
    "fingerprint": "c6eadffa33fcdf37",
}


class Desk:
    """The API with its log, and clients with tokens."""

    def __init__(self, folder: Path) -> None:
        # The discard port: nothing here reaches a platform that runs on this machine.
        nowhere = "127.0.0.1:9"
        settings = Settings(data_dir=folder, kafka_bootstrap=nowhere, clickhouse_url=f"http://{nowhere}")
        self.live = HandFed(settings)
        self.app, self.desk = create_api(settings, live=self.live)
        self.desk.accounts.add_machine("grafana", "watch_officer")

    def client(self, *scope: str) -> httpx.AsyncClient:
        token = self.desk.accounts.tokens.make("grafana", scope, timedelta(hours=1)).secret
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1", headers=headers)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr("dashboards.desk.platform_alerts.DELIVERY_S", 0.2)
    made = Desk(tmp_path)
    async with made.app.router.lifespan_context(made.app):
        yield made


async def test_the_scope_report_opens_this_and_nothing_else(desk: Desk) -> None:
    narrow = desk.client("report")
    assert (await narrow.get("/api/v1/alerts")).status_code == 403
    assert (await narrow.post("/api/v1/alerts/a/commands", json={"verb": "start"})).status_code == 403
    assert (await narrow.post(PATH, json={"alerts": []})).status_code == 422
    wide = await desk.client("view", "inspect", "act", "silence").post(PATH, json={"alerts": [FIRING]})
    assert wide.status_code == 403
    assert "platform's own alerts" in wide.json()["detail"]


def test_report_is_no_roles() -> None:
    assert not [role for role, permissions in ROLE_PERMISSIONS.items() if "report" in permissions]
    assert "report" not in token_permissions("partner") | token_permissions("oversight")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"startsAt": "yesterday"}, "startsAt"), ({"fingerprint": ""}, "fingerprint"), ({"labels": None}, "labels")],
)
async def test_a_bad_payload_is_refused_with_the_field(desk: Desk, change: dict[str, Any], field: str) -> None:
    answer = await desk.client("report").post(PATH, json={"alerts": [FIRING, FIRING | change]})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "alerts", 1, field]]


async def test_what_kafka_does_not_take_is_to_be_sent_again(desk: Desk) -> None:
    answer = await desk.client("report").post(PATH, json={"alerts": [FIRING]})
    assert answer.status_code == 503
    assert "alerts.v1" in answer.json()["detail"]
    desk.live.stand(Standing(connected=True, loaded=False, behind=12))
    early = await desk.client("report").post(PATH, json={"alerts": [FIRING]})
    assert early.status_code == 503
    assert "12 records to go" in early.json()["detail"]


async def test_nothing_new_needs_no_kafka(desk: Desk) -> None:
    answer = await desk.client("report").post(PATH, json={"alerts": [FIRING | {"status": "resolved"}]})
    assert answer.status_code == 200
    assert answer.json() == {"told": [], "unchanged": 1}


async def test_the_token_of_the_settings_opens_it_until_it_is_another(tmp_path: Path) -> None:
    first, second = (f"tocsin_{letter * 32}" for letter in "ab")

    async def statuses(setting: str) -> list[int]:
        settings = Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:9", grafana_desk_token=setting)
        app, _ = create_api(settings, live=HandFed(settings))
        async with app.router.lifespan_context(app):
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
            answers = [
                await client.post(PATH, json={"alerts": []}, headers={"Authorization": f"Bearer {secret}"})
                for secret in (first, second)
            ]
        return [each.status_code for each in answers]

    assert await statuses(first) == [422, 401]
    assert await statuses(first) == [422, 401], "a restart with the same one"
    assert await statuses(second) == [401, 422]
    assert await statuses("") == [401, 401]


def test_a_token_of_the_settings_that_is_none_is_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:9", grafana_desk_token="tocsin_short")
    with pytest.raises(TokenError, match="TOCSIN_GRAFANA_DESK_TOKEN: a token is tocsin_ and at least 32"):
        create_api(settings, live=HandFed(settings))
