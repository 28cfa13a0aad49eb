"""Settings shared by every process: one model, read from the environment, a running platform's file, or defaults."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
ENDPOINTS_FILE = "endpoints.json"
DeskHost = Annotated[str, Field(pattern=r"^[^*/:\s]+$", description="a name without port; * is none")]


class Settings(BaseSettings):
    """Where the parts are and how they behave; every field is also an environment variable ``TOCSIN_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", extra="ignore")

    data_dir: Path = Path(".tocsin")
    kafka_bootstrap: str = "127.0.0.1:9092"
    registry_url: str = "http://127.0.0.1:8081/apis/ccompat/v7"
    clickhouse_url: str = "http://127.0.0.1:8123"
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

    @classmethod
    def load(cls, data_dir: Path | None = None) -> Settings:
        """Settings for a command: environment first, then the platform running in ``data_dir``, then defaults.

        Raises:
            pydantic.ValidationError: a value has the wrong type or range.
        """
        folder = data_dir or Path(os.environ.get("TOCSIN_DATA_DIR", ".tocsin"))
        known: dict[str, Any] = {}
        endpoints = folder / ENDPOINTS_FILE
        if endpoints.is_file():
            known = json.loads(endpoints.read_text())
        known["data_dir"] = folder
        for name in cls.model_fields:
            if f"TOCSIN_{name.upper()}" in os.environ and name != "data_dir":
                known.pop(name, None)
        return cls(**known)


def mark_path(settings: Settings, worker: str) -> Path:
    """The file by which a worker, such as ``ingest-0``, tells others of this machine its process and its port."""
    return settings.data_dir / "run" / f"{worker}.json"
