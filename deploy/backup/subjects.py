"""Subjects of the schema registry with their ids, which the events in Kafka name.

Confluent's API has a mode IMPORT that takes ids; Apicurio 3.3 accepts the mode and ignores the ids. What all have in
common is that an empty registry counts ids from 1, and that the same text has the same id under every subject. So each
text is registered in the order of ids under a subject of our own, ids that the backup does not have are used up by
texts that mean nothing, and only then come the real subjects.
Source: Confluent Schema Registry API reference.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict

from deploy.backup.archive import BackupError
from schemas.settings import Settings

SCRATCH: Final = "tocsin-restore"
MAX_GAP: Final = 10_000


class StoredVersion(BaseModel):
    """One version of a subject."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    version: int
    id: int
    text: str


class Subjects(BaseModel):
    """Everything in a registry. ``compatibility`` has the subjects that have a level of their own."""

    model_config = ConfigDict(extra="forbid")

    versions: list[StoredVersion]
    compatibility: dict[str, str]


class RegistryCopy:
    """Reads and fills a registry over the Confluent API; a context manager.

    Raises, in every method:
        BackupError: no answer, a refusal, or an id that another schema has.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.registry_url.rstrip("/")
        ca, user = settings.registry_ca_location, settings.registry_user
        self._http = httpx.Client(
            timeout=30,
            auth=(user, settings.registry_password) if user else None,
            verify=True if ca is None else ssl.create_default_context(cafile=str(ca)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._http.close()

    def read(self) -> Subjects:
        """All subjects."""
        found = Subjects(versions=[], compatibility={})
        for subject in sorted(self._ask("GET", "/subjects") or []):
            for number in self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions") or []:
                each = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/{number}") or {}
                found.versions.append(
                    StoredVersion(subject=subject, version=number, id=each["id"], text=each["schema"])
                )
            level = self._ask("GET", f"/config/{quote(subject, safe='')}") or {}
            if level.get("compatibilityLevel"):
                found.compatibility[subject] = level["compatibilityLevel"]
        return found

    def conflicts(self, wanted: Subjects) -> list[str]:
        """Why the registry cannot take these: a line each."""
        texts = {each.id: each.text for each in wanted.versions}
        found = []
        for here in self.read().versions:
            if here.subject == SCRATCH:  # of a restoration that did not come to its end
                continue
            if here.id not in texts:
                found.append(f"schema id {here.id} is taken by {here.subject}, which the backup does not have")
            elif not _same(here.text, texts[here.id]):
                found.append(f"schema id {here.id} is another schema here ({here.subject})")
        return found

    def restore(self, wanted: Subjects) -> None:
        """Register all of them such that each has its id again; what is there already stays."""
        texts = {each.id: each.text for each in wanted.versions}
        expected = 1
        self._level(SCRATCH, "NONE")
        for number in sorted(texts):
            if (known := self._ask("GET", f"/schemas/ids/{number}")) is not None:
                self._require(number, known["schema"], texts[number])
            else:
                if number - expected > MAX_GAP:
                    raise BackupError(f"schema ids {expected} to {number} would have to be used up one by one")
                for unused in range(expected, number):
                    if self._ask("GET", f"/schemas/ids/{unused}") is None:
                        self._register(SCRATCH, _filler(unused), unused)
                self._register(SCRATCH, texts[number], number)
            expected = number + 1
        for each in sorted(wanted.versions, key=lambda each: (each.subject, each.version)):
            self._level(each.subject, "NONE")
            self._register(each.subject, each.text, each.id)
        for subject in {each.subject for each in wanted.versions}:
            if level := wanted.compatibility.get(subject):
                self._level(subject, level)
            else:
                self._ask("DELETE", f"/config/{quote(subject, safe='')}")
        if self._ask("GET", f"/subjects/{SCRATCH}/versions") is not None:
            self._ask("DELETE", f"/subjects/{SCRATCH}")
            self._ask("DELETE", f"/subjects/{SCRATCH}?permanent=true")

    def _register(self, subject: str, text: str, expected: int) -> None:
        found = self._ask(
            "POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": text, "schemaType": "AVRO"}
        )
        if found is None or found["id"] != expected:
            raise BackupError(
                f"the registry at {self._url} gave {subject} the schema id {found and found['id']}, and events name "
                f"{expected}: it has counted before. Restore to a registry with an empty database"
            )

    def _require(self, number: int, here: str, wanted: str) -> None:
        if not _same(here, wanted):
            raise BackupError(
                f"schema id {number} is another schema in the registry at {self._url}: events of the backup would be "
                "read wrongly. Restore to a registry with an empty database"
            )

    def _level(self, subject: str, level: str) -> None:
        # Apicurio knows no level of a subject that has no version yet, and has no default one that could refuse.
        self._ask("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level})

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer, or None for 404."""
        try:
            answer = self._http.request(method, self._url + path, json=body)
            if answer.status_code == 404:
                return None
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPStatusError as error:
            raise BackupError(
                f"registry: {method} {path}: {error.response.status_code} {error.response.text}"
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise BackupError(
                f"no usable answer from the schema registry at {self._url} ({type(error).__name__}: {error}). "
                "Is it up, and TOCSIN_REGISTRY_URL right?"
            ) from error


def _same(one: str, other: str) -> bool:
    return bool(json.loads(one) == json.loads(other))


def _filler(number: int) -> str:
    return json.dumps({"type": "record", "name": f"Unused{number}", "namespace": "org.tocsin.restore", "fields": []})
