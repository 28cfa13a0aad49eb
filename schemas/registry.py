"""Avro contracts on disk and in a Confluent-compatible schema registry.

The ``.avsc`` files in ``schemas/avro`` are the source of truth. A family's file names ``org.tocsin.v1.EventHeader``;
what is registered has the header inlined, so a consumer needs one schema and no references.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from schemas.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

AVRO_DIR: Final = Path(__file__).resolve().parent / "avro"
HEADER_NAME: Final = "org.tocsin.v1.EventHeader"
COMPATIBILITY: Final = "FULL_TRANSITIVE"
FAMILIES: Final[tuple[str, ...]] = (
    "border_crossing",
    "travel_booking",
    "financial_transaction",
    "precursor_purchase",
    "cyber_detection",
    "online_referral",
    "incident_report",
    "tip_report",
    "document_notice",
    "watchlist_entry",
    "heartbeat",
)

_T = TypeVar("_T")


class UnknownFamily(LookupError):  # noqa: N818 - reads as the sentence it is
    """A family that has no contract."""

    def __init__(self, family: str) -> None:
        super().__init__(f"unknown family {family!r}; expected one of: {', '.join(FAMILIES)}")
        self.family = family


class RegistryError(RuntimeError):
    """The registry refused something or did not answer; the message says where, what and what to do."""


class UnknownSchemaId(RegistryError):  # noqa: N818
    """The registry answered and does not know the id."""

    def __init__(self, schema_id: int, url: str) -> None:
        super().__init__(f"schema id {schema_id} is not in the registry at {url}")
        self.schema_id = schema_id


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry has it; ``subjects`` are all that use it."""

    schema_id: int
    text: str
    subjects: tuple[str, ...]


def topic_of(family: str) -> str:
    """Topic of a family's events.

    Raises:
        UnknownFamily: no such contract.
    """
    if family not in FAMILIES:
        raise UnknownFamily(family)
    return f"events.{family}.v1"


def subject_of(family: str) -> str:
    """Registry subject of a family: the topic's value (TopicNameStrategy)."""
    return f"{topic_of(family)}-value"


def family_of(topic: str) -> str:
    """Family of an event topic.

    Raises:
        UnknownFamily: the topic is no ``events.<family>.v1`` of a known family.
    """
    parts = topic.split(".")
    if len(parts) == 3 and parts[0] == "events" and parts[2] == "v1" and parts[1] in FAMILIES:
        return parts[1]
    raise UnknownFamily(topic)


def load_schema(family: str, folder: Path = AVRO_DIR) -> dict[str, Any]:
    """Contract of a family with its header inlined; a fresh copy, for the caller to change.

    Raises:
        UnknownFamily: no such contract.
        ValueError: a file is missing, no JSON, or does not start with the header.
    """
    if family not in FAMILIES:
        raise UnknownFamily(family)
    return deepcopy(_load(family, folder))


def schema_text(family: str, folder: Path = AVRO_DIR) -> str:
    """The JSON text that is registered: header inlined, docs kept, no white space, order as in the file."""
    return json.dumps(load_schema(family, folder), ensure_ascii=False, separators=(",", ":"))


@cache
def _load(family: str, folder: Path) -> dict[str, Any]:
    header = _read_json(folder / "header.avsc")
    record = _read_json(folder / f"{family}.avsc")
    fields = record.get("fields") or [{}]
    if fields[0].get("name") != "header" or fields[0].get("type") != HEADER_NAME:
        raise ValueError(f"{folder / family}.avsc: the first field must be 'header' of type {HEADER_NAME}")
    fields[0]["type"] = header
    return record


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: contract file is missing; restore it from version control") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected a JSON object with an Avro record, found {type(loaded).__name__}")
    return loaded


class Registry:
    """Thin face of the registry's Confluent API; each call blocks on HTTP and raises RegistryError."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        retries: int = 2,
        login: tuple[str, str] | None = None,
        ca: Path | None = None,
    ) -> None:
        """``retries`` repeat a call on connection errors and HTTP 5xx, with growing pauses; ``login`` is a user and its
        password; ``ca`` is a PEM file of the CAs to believe instead of the usual ones."""
        self.url = url
        self._user = login[0] if login else ""
        config: dict[str, Any] = {"url": url, "timeout": timeout_s, "max.retries": retries}
        if login is not None:
            config["basic.auth.user.info"] = ":".join(login)
        if ca is not None:
            config["ssl.ca.location"] = str(ca)
        self._client = _client(config)

    @classmethod
    def of(cls, settings: Settings, *, timeout_s: float = 10.0, retries: int = 2) -> Registry:
        """The registry of these settings."""
        login = (settings.registry_user, settings.registry_password) if settings.registry_user else None
        url, ca = settings.registry_url, settings.registry_ca_location
        return cls(url, timeout_s=timeout_s, retries=retries, login=login, ca=ca)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP connections."""
        self._client.close()

    def register(self, family: str, folder: Path = AVRO_DIR) -> int:
        """Register a family's contract under FULL_TRANSITIVE; idempotent, returns its schema id.

        Raises:
            RegistryError: incompatible with a registered version, or no answer.
        """
        from confluent_kafka.schema_registry import Schema

        subject, text = subject_of(family), schema_text(family, folder)
        # Some registries know no settings of a subject that has no version yet: then set them after the first one.
        pending = not self._set_compatibility(subject)
        try:
            schema_id = self._call(subject, lambda: self._client.register_schema(subject, Schema(text, "AVRO")))
        except _Refused as refused:
            if refused.status != 409:
                raise
            raise RegistryError(
                f"{subject}: {folder / family}.avsc is not {COMPATIBILITY} compatible with a registered version: "
                f"{refused.reason}. Run 'tocsin schemas check' to see the fields; give new fields a default, keep "
                "old ones, or publish the change as a new topic version."
            ) from refused
        if pending and not self._set_compatibility(subject):
            raise RegistryError(f"{subject}: registered, but {self.url} does not accept {COMPATIBILITY} for it")
        return schema_id

    def lookup(self, family: str, folder: Path = AVRO_DIR) -> int:
        """Id of a family's contract as it is here; registers nothing, so a partner needs no right to.

        Raises:
            RegistryError: this contract is not registered, or no answer.
        """
        from confluent_kafka.schema_registry import Schema

        subject, text = subject_of(family), schema_text(family, folder)
        try:
            found = self._call(subject, lambda: self._client.lookup_schema(subject, Schema(text, "AVRO")))
        except _Refused as refused:
            if refused.status != 404:
                raise
            raise RegistryError(
                f"{subject}: the registry at {self.url} does not have this version of the contract. "
                "Start the platform ('tocsin up' registers it), or use the version of Tocsin that it runs."
            ) from refused
        if found.schema_id is None:
            raise RegistryError(f"{subject}: the registry at {self.url} answered without a schema id")
        return found.schema_id

    def fetch(self, schema_id: int) -> RegisteredSchema:
        """Schema by id with its subjects.

        Raises:
            UnknownSchemaId: the registry answered 404.
            RegistryError: no answer or another refusal.
        """
        where = f"schema id {schema_id}"
        try:
            schema = self._call(where, lambda: self._client.get_schema(schema_id))
            subjects = self._call(where, lambda: self._client.get_subjects_by_schema_id(schema_id))
        except _Refused as refused:
            if refused.status == 404:
                raise UnknownSchemaId(schema_id, self.url) from refused
            raise
        return RegisteredSchema(schema_id, schema.schema_str or "", tuple(sorted(subjects)))

    def versions(self, subject: str) -> dict[int, str]:
        """Schema text of each version of a subject; empty when there is none."""
        try:
            numbers = self._call(subject, lambda: self._client.get_versions(subject))
        except _Refused as refused:
            if refused.status == 404:
                return {}
            raise
        texts: dict[int, str] = {}
        for number in numbers:
            found = self._call(f"{subject} version {number}", lambda n=number: self._client.get_version(subject, n))  # type: ignore[misc]
            texts[number] = found.schema.schema_str or ""
        return texts

    def _set_compatibility(self, subject: str) -> bool:
        try:
            self._call(subject, lambda: self._client.set_compatibility(subject, COMPATIBILITY))
        except _Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def _call(self, where: str, call: Callable[[], _T]) -> _T:
        with _readable(where, self.url, self._user):
            return call()


class _Refused(RegistryError):  # noqa: N818
    def __init__(self, where: str, url: str, status: int, reason: str) -> None:
        super().__init__(f"{where}: registry at {url} answered {status}: {reason}")
        self.status = status
        self.reason = reason


def _client(settings: dict[str, Any]) -> SchemaRegistryClient:
    # Imported on first use: it takes half a second and most commands need no registry.
    with warnings.catch_warnings(record=True):  # authlib insists on a warning about its own future
        from confluent_kafka.schema_registry import SchemaRegistryClient
    return SchemaRegistryClient(settings)


@contextmanager
def _readable(where: str, url: str, user: str) -> Iterator[None]:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        yield
    except SchemaRegistryError as error:
        if error.http_status_code == 401:
            who = f"the user {user!r} with this password" if user else "anybody without a user and password"
            raise RegistryError(
                f"{where}: registry at {url} does not let in {who}. See "
                "TOCSIN_REGISTRY_USER and TOCSIN_REGISTRY_PASSWORD or its _FILE"
            ) from error
        raise _Refused(where, url, error.http_status_code, error.error_message) from error
    except Exception as error:  # the client lets httpx, JSON and TLS errors through as they are
        raise RegistryError(
            f"{where}: no usable answer from the schema registry at {url} ({type(error).__name__}: {error}). "
            "Is the platform up ('tocsin up'), and TOCSIN_REGISTRY_URL right?"
        ) from error


def register_all(settings: Settings, families: tuple[str, ...] = FAMILIES) -> dict[str, int]:
    """Register every family's contract; idempotent. Returns family -> schema id.

    Raises:
        RegistryError: the first family that is refused, or no answer.
    """
    with Registry.of(settings) as registry:
        return {family: registry.register(family) for family in families}
