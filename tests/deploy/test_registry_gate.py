"""The registry as partners see it: the SDK through TLS and login, and what the gate does not let through."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.certificates import on_lines
from deploy.environment import Wishes, environment, write
from deploy.registry_gate import main
from schemas.registry import FAMILIES, Registry, RegistryError, register_all
from schemas.settings import PACKAGE_ROOT, Settings
from tests.schemas.test_registry import SmallRegistry, serving
from tests.stack import wait_until


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """What a partner is told, before a gate that runs as the compose file's does."""
    folder = tmp_path_factory.mktemp("gate")
    made = write(folder / ".env", Wishes(1, 1, "127.0.0.1", "."))
    port = free_port()
    with serving(SmallRegistry()) as registry:
        register_all(Settings(registry_url=f"{registry.url}"))
        ours = {
            "TOCSIN_REGISTRY_URL": registry.url,
            "TOCSIN_REGISTRY_PARTNER_PASSWORD": made["TOCSIN_REGISTRY_PARTNER_PASSWORD"],
            "TOCSIN_GATE_TLS_KEY": made["KAFKA_TLS_KEY"],
            "TOCSIN_GATE_TLS_CHAIN": made["KAFKA_TLS_CHAIN"],
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.registry_gate", "--port", str(port)],
            env={**os.environ, **ours},
            cwd=PACKAGE_ROOT,
        )
        settings = Settings(
            registry_url=f"https://127.0.0.1:{port}",
            registry_user="partner",
            registry_password=made["TOCSIN_REGISTRY_PARTNER_PASSWORD"],
            registry_ca_location=folder / "ca.pem",
        )
        try:
            with client(settings, None) as http:
                wait_until(lambda: http.get("/health").status_code, 30, "the gate serves")
            yield settings
        finally:
            process.terminate()
            process.wait(20)


def client(settings: Settings, login: tuple[str, str] | None) -> httpx.Client:
    ca = ssl.create_default_context(cafile=str(settings.registry_ca_location))
    return httpx.Client(base_url=settings.registry_url, verify=ca, auth=login)


def test_a_partner_finds_every_contract(partner: Settings) -> None:
    with Registry.of(partner) as registry:
        ids = {family: registry.lookup(family) for family in FAMILIES}
        assert set(ids.values()) == set(range(1, len(FAMILIES) + 1))
        assert registry.fetch(ids["tip_report"]).subjects == ("events.tip_report.v1-value",)
        with pytest.raises(RegistryError, match="not for partners"):
            registry.register("tip_report")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/subjects/events.tip_report.v1-value/versions", 200),
        ("GET", "/subjects/..%2f..%2fadmin", 403),
        ("GET", "/subjects/../admin", 403),
        ("GET", "/admin", 403),
        ("GET", "/", 403),
        ("POST", "/subjects/events.tip_report.v1-value/versions", 403),
        ("POST", "/config/events.tip_report.v1-value", 403),
        ("PUT", "/config/events.tip_report.v1-value", 403),
        ("DELETE", "/subjects/events.tip_report.v1-value", 403),
    ],
)
def test_only_reading_is_let_through(partner: Settings, method: str, path: str, status: int) -> None:
    with client(partner, ("partner", partner.registry_password)) as http:
        request = http.build_request(method, "/", json={"compatibility": "NONE"} if method != "GET" else None)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert http.send(request).status_code == status


def test_nobody_else_is_let_in(partner: Settings) -> None:
    for login in (None, ("partner", "guessed"), ("fiu-nl", partner.registry_password)):
        with client(partner, login) as http:
            answer = http.get("/subjects")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert "operator" in answer.json()["message"]
    with client(partner, ("partner", partner.registry_password)) as http:
        assert http.post("/subjects/a", content=b"x" * (1 << 21)).status_code == 413


def test_without_password_or_key_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def said(**variables: Any) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(f"TOCSIN_{name}", value)
        assert main([]) == 2
        return capsys.readouterr().err

    assert "TOCSIN_REGISTRY_PARTNER_PASSWORD is empty" in said()
    assert "TOCSIN_GATE_TLS_KEY and TOCSIN_GATE_TLS_CHAIN have to hold" in said(REGISTRY_PARTNER_PASSWORD="s3cret")
    one, other = (environment(Wishes(1, 1, "127.0.0.1", "."), {}) for _ in range(2))
    mixed = said(GATE_TLS_KEY=one["KAFKA_TLS_KEY"], GATE_TLS_CHAIN=other["KAFKA_TLS_CHAIN"])
    assert "TOCSIN_GATE_TLS_KEY and TOCSIN_GATE_TLS_CHAIN: " in mixed
    assert "MISMATCH" in mixed


def test_pem_on_one_line_and_on_many_is_the_same() -> None:
    made = environment(Wishes(1, 1, "127.0.0.1", "."), {})
    chain = on_lines(made["KAFKA_TLS_CHAIN"])
    assert on_lines(chain) == chain
    assert chain.count("\n") > 5
    assert " ".join(chain.split()) == made["KAFKA_TLS_CHAIN"]
