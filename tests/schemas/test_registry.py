"""Registration against a registry that speaks the Confluent API (a small one of ours; the real one in stack tests)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.backup.subjects import RegistryCopy, Subjects
from schemas.compatibility import compare
from schemas.contract_check import check_registry
from schemas.registry import FAMILIES, Registry, RegistryError, UnknownSchemaId, register_all, schema_text, subject_of
from schemas.settings import Settings
from tests.tls import tls_before


class SmallRegistry(ThreadingHTTPServer):
    """Subjects with versions; like some real ones, it knows no settings of a subject without a version."""

    def __init__(self, login: str = "") -> None:
        """``login``, as ``user:password``, is asked for."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self.texts: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.levels: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        match method, path:
            case "PUT", ["config", subject]:
                if subject not in self.subjects:
                    return 404, {"error_code": 40401, "message": f"no artifact {subject}"}
                self.levels[subject] = body["compatibility"]
                return 200, body
            case "POST", ["subjects", subject, "versions"]:
                text = body["schema"]
                known = [self.texts[number - 1] for number in self.subjects.get(subject, [])]
                if any(compare(json.loads(old), json.loads(text)) for old in known):
                    return 409, {"error_code": 409, "message": "incompatible"}
                if text not in self.texts:
                    self.texts.append(text)
                number = self.texts.index(text) + 1
                versions = self.subjects.setdefault(subject, [])
                if number not in versions:
                    versions.append(number)
                return 200, {"id": number}
            case "POST", ["subjects", subject]:
                number = self.texts.index(body["schema"]) + 1
                return 200, {"subject": subject, "version": 1, "id": number, "schema": body["schema"]}
            case "GET", ["schemas", "ids", number]:
                if not 0 < int(number) <= len(self.texts):
                    return 404, {"error_code": 40403, "message": "Schema not found"}
                return 200, {"schema": self.texts[int(number) - 1]}
            case "GET", ["schemas", "ids", number, "subjects"]:
                return 200, [subject for subject, numbers in self.subjects.items() if int(number) in numbers]
            case "GET", ["subjects"]:
                return 200, list(self.subjects)
            case "GET", ["config", subject]:
                return 200, {"compatibilityLevel": self.levels[subject]}
            case "GET", ["subjects", subject, "versions"]:
                if subject not in self.subjects:
                    return 404, {"error_code": 40401, "message": "Subject not found"}
                return 200, list(range(1, len(self.subjects[subject]) + 1))
            case "GET", ["subjects", subject, "versions", version]:
                number = self.subjects[subject][int(version) - 1]
                text = self.texts[number - 1]
                return 200, {"subject": subject, "version": int(version), "id": number, "schema": text}
        return 500, {"error_code": 50001, "message": f"unexpected {method} {path}"}


class _Handler(BaseHTTPRequestHandler):
    server: SmallRegistry

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        path = [part for part in self.path.partition("?")[0].split("/") if part]
        if self.server.wanted and self.headers.get("Authorization") != self.server.wanted:
            status, answer = 401, {"error_code": 401, "message": "Unauthorized"}
        else:
            status, answer = self.server.answer(self.command, path, body)
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def serving(server: SmallRegistry) -> Iterator[SmallRegistry]:
    """Answers within, in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with serving(SmallRegistry()) as server:
        yield server


def test_every_family_is_registered_once_under_full_transitive(registry: SmallRegistry) -> None:
    settings = Settings(registry_url=registry.url)
    ids = register_all(settings)
    assert list(ids) == list(FAMILIES)
    assert register_all(settings) == ids
    assert len(registry.texts) == len(FAMILIES)
    assert registry.levels == {subject_of(family): "FULL_TRANSITIVE" for family in FAMILIES}
    with Registry(registry.url) as client:
        fetched = client.fetch(ids["tip_report"])
        assert (fetched.text, fetched.subjects) == (schema_text("tip_report"), ("events.tip_report.v1-value",))
        assert [result for result in check_registry(client) if not result.compatible] == []


def test_an_unknown_id_is_told_from_a_registry_that_is_down(registry: SmallRegistry) -> None:
    with Registry(registry.url) as client, pytest.raises(UnknownSchemaId, match="schema id 77 is not in the registry"):
        client.fetch(77)
    with Registry("http://127.0.0.1:9", retries=0) as down, pytest.raises(RegistryError, match="tocsin up") as caught:
        down.fetch(77)
    assert not isinstance(caught.value, UnknownSchemaId)


def test_an_incompatible_contract_is_refused_with_what_to_do(registry: SmallRegistry) -> None:
    other = json.loads(schema_text("heartbeat"))
    other["fields"][1]["type"] = "string"
    registry.texts.append(json.dumps(other))
    registry.subjects[subject_of("heartbeat")] = [1]
    with Registry(registry.url) as client:
        with pytest.raises(RegistryError, match=r"heartbeat\.avsc is not FULL_TRANSITIVE.*tocsin schemas check"):
            client.register("heartbeat")
        (result,) = [found for found in check_registry(client) if not found.compatible]
    assert (result.family, result.incompatibilities[0].field) == ("heartbeat", "sequence")


def test_an_unexpected_answer_names_subject_and_address(registry: SmallRegistry) -> None:
    with Registry(f"{registry.url}/wrong", retries=0) as client, pytest.raises(RegistryError) as caught:
        client.register("tip_report")
    assert "events.tip_report.v1-value" in str(caught.value)
    assert registry.url in str(caught.value)


def test_a_registry_with_a_login_behind_tls_is_used_by_every_client(tmp_path: Path) -> None:
    with (
        serving(SmallRegistry("partner:s3cret")) as server,
        tls_before(server.server_address[1], tmp_path) as (port, ca),
    ):
        url = f"https://partner:s3cret@127.0.0.1:{port}"
        settings = Settings(registry_url=url, registry_ca_location=ca)
        ids = register_all(settings)
        with Registry.of(settings) as client:
            assert client.lookup("tip_report") == ids["tip_report"]
        with RegistryCopy(settings) as copy:
            assert copy.conflicts(Subjects(versions=[], compatibility={}))
        for login, told in (({}, "without a user and password"), ({"registry_user": "x"}, "the user 'x' with this")):
            other = Settings(registry_url=f"https://127.0.0.1:{port}", registry_ca_location=ca, **login)
            with pytest.raises(RegistryError, match=f"does not let in .*{told}.*TOCSIN_REGISTRY_USER"):
                register_all(other)
        with pytest.raises(RegistryError, match=r"CERTIFICATE_VERIFY_FAILED.*TOCSIN_REGISTRY_URL") as refused:
            register_all(settings.model_copy(update={"registry_ca_location": None}))
        assert "s3cret" not in str(refused.value)
