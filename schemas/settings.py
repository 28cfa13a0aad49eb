"""Settings shared by every process: one model, read from the environment, a running platform's file, or defaults.

A secret need not stand in the environment: ``TOCSIN_<NAME>_FILE`` names a file that holds it, as Docker and Kubernetes
mount them.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as NotJsonError

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
ENDPOINTS_FILE = "endpoints.json"
DeskHost = Annotated[str, Field(pattern=r"^[^*/:\s]+$", description="a name without port; * is none")]
PREFIX: Final = "TOCSIN_"


class SettingsError(ValueError):
    """Settings that cannot be used: a line each, which names the variable, what was found and what to do."""


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


ReadableFile = Annotated[Path, AfterValidator(_readable)]


class Settings(BaseSettings):
    """Where the parts are and how they behave; every field is also an environment variable ``TOCSIN_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    data_dir: Path = Path(".tocsin")
    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = Field(default="", repr=False)
    kafka_ssl_ca_location: ReadableFile | None = Field(
        default=None, description="PEM file of the CAs that brokers' certificates are from; default the system's"
    )
    kafka_ssl_certificate_location: ReadableFile | None = Field(
        default=None, description="PEM file of the client's own certificate, where brokers ask for one"
    )
    kafka_ssl_key_location: ReadableFile | None = None
    kafka_ssl_key_password: str = Field(default="", repr=False)
    registry_url: str = Field(
        default="http://127.0.0.1:8081/apis/ccompat/v7",
        description="user and password may stand in it, and are taken out of it",
    )
    registry_user: str = ""
    registry_password: str = Field(default="", repr=False)
    registry_ca_location: ReadableFile | None = None
    registry_partner_password: str = Field(
        default="", repr=False, description="of the user 'partner', for whom the gate opens the registry to read"
    )
    gate_tls_key: str = Field(default="", repr=False, description="PEM, on one line or several")
    gate_tls_chain: str = Field(default="", repr=False, description="PEM: the gate's certificate and those above it")
    clickhouse_url: str = "http://127.0.0.1:8123"
    clickhouse_ca_location: ReadableFile | None = None
    clickhouse_database: str = "tocsin"
    clickhouse_user: str = "tocsin"
    clickhouse_password: str = Field(default="", repr=False)
    clickhouse_reader_user: str = "reader"
    clickhouse_reader_password: str = Field(default="", repr=False)
    desk_url: str | None = None
    desk_hosts: tuple[DeskHost, ...] = Field(
        default=("127.0.0.1", "localhost"), min_length=1, description="names that people address the desk by"
    )
    desk_database: Path | None = Field(default=None, description="accounts and sessions; default DATA_DIR/desk.sqlite3")
    api_token: str = Field(default="", repr=False, description="token with which commands call the desk")
    session_idle_s: int = Field(default=3600, ge=60, description="a login ends this long after its last sign of life")
    session_max_s: int = Field(default=50_400, ge=60, description="a login ends this long after it began: a long shift")
    oidc_issuer: str | None = Field(default=None, description="identity provider; its discovery document is below it")
    oidc_client_id: str = ""
    oidc_client_secret: str = Field(default="", repr=False)
    oidc_role_claim: str = Field(default="groups", description="claim whose values are looked up in oidc_roles")
    oidc_roles: dict[str, str] = Field(
        default_factory=dict, description="value of the claim -> role, or partner:ID; the first that fits"
    )
    grafana_url: str | None = None
    grafana_token: str = Field(default="", repr=False, description="of a service account that administrates Grafana")
    grafana_clickhouse_url: str | None = Field(
        default=None, description="clickhouse_url as Grafana reaches it, if that is another"
    )
    grafana_desk_url: str | None = Field(default=None, description="desk_url as Grafana reaches it, if that is another")
    grafana_desk_token: str = Field(
        default="", repr=False, description="token with which Grafana tells the desk of the platform; known to both"
    )
    partners_file: Path = PACKAGE_ROOT / "schemas" / "partners.yml"
    oncall_file: Path = PACKAGE_ROOT / "schemas" / "oncall.yml"
    rules_path: Path = PACKAGE_ROOT / "processors" / "rules"
    ingest_group: str = "tocsin-ingest"
    correlate_group: str = "tocsin-correlate"
    lifecycle_group: str = "tocsin-lifecycle"
    topic_partitions: int = Field(default=4, ge=1)
    topic_replicas: int = Field(default=1, ge=1)
    max_future_s: int = Field(default=300, ge=0, description="occurred_at may be this many seconds ahead of now")
    max_event_bytes: int = Field(default=1_048_576, ge=1024)
    allowed_lateness_s: int = Field(default=3600, ge=0)
    cap_sender: str = Field(
        default="tocsin.invalid",
        description="sender of CAP messages, globally unique; the default is a name that nobody can own (RFC 2606)",
    )
    store: bool = Field(default=True, description="write to ClickHouse; without it a bench compares what remains")
    instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="tells workers of a group apart; the host's name, which a container has for itself",
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="address on which a worker serves metrics and health; 0.0.0.0 for all networks"
    )
    metrics_port: int = Field(
        default=0, ge=0, description="where a worker serves metrics and health; 0 takes a free port"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_login_out(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Messages and logs show the address of the registry: it must not carry a password."""
        parts = urlsplit(str(values.get("registry_url") or ""))
        if parts.username is None:
            return values
        host = parts.netloc.rpartition("@")[2]
        login = {"registry_user": unquote(parts.username), "registry_password": unquote(parts.password or "")}
        return {**login, **values, "registry_url": urlunsplit(parts._replace(netloc=host))}

    @field_validator("clickhouse_url")
    @classmethod
    def _without_login(cls, url: str) -> str:
        if urlsplit(url).username is not None:
            raise ValueError("user and password do not belong into it: TOCSIN_CLICKHOUSE_USER and _PASSWORD hold them")
        return url

    @model_validator(mode="after")
    def _security_fits(self) -> Self:
        protocol = self.kafka_security_protocol
        if protocol.startswith("SASL_"):
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if not getattr(self, name):
                    raise ValueError(
                        f"{variable('kafka_security_protocol')} is {protocol} and {variable(name)} is empty"
                    )
        elif self.kafka_sasl_username:
            raise ValueError(
                f"{variable('kafka_sasl_username')} is set, and with {variable('kafka_security_protocol')} {protocol} "
                "nobody logs in: make it SASL_SSL"
            )
        if not protocol.endswith("SSL") and (self.kafka_ssl_ca_location or self.kafka_ssl_certificate_location):
            raise ValueError(
                f"{variable('kafka_ssl_ca_location')} or {variable('kafka_ssl_certificate_location')} is set, and with "
                f"{variable('kafka_security_protocol')} {protocol} nothing is encrypted: make it SASL_SSL or SSL"
            )
        if (self.kafka_ssl_certificate_location is None) != (self.kafka_ssl_key_location is None):
            raise ValueError(
                f"{variable('kafka_ssl_certificate_location')} and {variable('kafka_ssl_key_location')} belong "
                "together: set both or neither"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        return init_settings, SecretFiles(settings_cls), env_settings

    @classmethod
    def load(cls, data_dir: Path | None = None) -> Settings:
        """Settings for a command: environment first, then the platform running in ``data_dir``, then defaults.

        Raises:
            SettingsError: a value has the wrong type or range, does not fit another, or names a file that is not there.
        """
        folder = data_dir or Path(os.environ.get("TOCSIN_DATA_DIR", ".tocsin"))
        known: dict[str, Any] = {}
        endpoints = folder / ENDPOINTS_FILE
        if endpoints.is_file():
            known = json.loads(endpoints.read_text())
        known["data_dir"] = folder
        for name in cls.model_fields:
            if {variable(name), f"{variable(name)}_FILE"} & os.environ.keys() and name != "data_dir":
                known.pop(name, None)
        try:
            return cls(**known)
        except ValidationError as error:
            raise SettingsError("\n".join(_told(each) for each in error.errors(include_url=False))) from error
        except NotJsonError as error:
            raise SettingsError(f"{error}: it must be JSON") from error


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets, which are the fields that are never shown, from the files that ``TOCSIN_<NAME>_FILE`` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        direct, by_file = variable(field_name), f"{variable(field_name)}_FILE"
        path = os.environ.get(by_file)
        if field.repr or not path:
            return None, field_name, False
        if os.environ.get(direct):
            raise SettingsError(f"{direct} and {by_file} are both set: take one of them away")
        try:
            # An editor ends the last line; a password does not end in a line break.
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, ValueError) as error:
            raise SettingsError(f"{by_file}: {path} cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"


def _told(problem: Any) -> str:
    # Never with the value: it may be a secret.
    where = ".".join(str(each) for each in problem["loc"][1:])
    name = variable(str(problem["loc"][0])) + (f" {where}" if where else "") + ": " if problem["loc"] else ""
    return name + str(problem["msg"]).removeprefix("Value error, ")


def mark_path(settings: Settings, worker: str) -> Path:
    """The file by which a worker, such as ``ingest-0``, tells others of this machine its process and its port."""
    return settings.data_dir / "run" / f"{worker}.json"
