"""What `deploy/compose.yaml` asks for: the names and values of its `.env`, and the certificates of its brokers."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.certificates import CertificateError, Identity, issue, new_authority, on_one_line
from deploy.embedded.instance import new_cluster_id, write_private_text

COMPOSE_FILE: Final = Path(__file__).with_name("compose.yaml")
ENV_FILE: Final = COMPOSE_FILE.with_name(".env")
TIED_TO_DATA: Final = (
    *("KAFKA_CLUSTER_ID", "GRAFANA_ADMIN_PASSWORD", "GRAFANA_SECRET_KEY", "TOCSIN_REGISTRY_PARTNER_PASSWORD"),
)
"""What the volumes, and partners, know by heart after the first start."""
SECRETS: Final = (
    "TOCSIN_KAFKA_SASL_PASSWORD",
    "TOCSIN_CLICKHOUSE_PASSWORD",
    "TOCSIN_CLICKHOUSE_READER_PASSWORD",
    "TOCSIN_REGISTRY_PARTNER_PASSWORD",
    "TOCSIN_GRAFANA_DESK_TOKEN",
    "GRAFANA_ADMIN_PASSWORD",
    "GRAFANA_SECRET_KEY",
)
OF_A_CLUSTER: Final = ("TOCSIN_KAFKA_SASL_PASSWORD",)
"""What Compose has no use for: there our own processes come by a listener that nobody else reaches."""
HIDDEN: Final = (*SECRETS, "KAFKA_TLS_KEY")
"""What is never shown. The key is for Compose only: it needs quotes, which kubectl would keep."""
AUTHORITY: Final = ("ca.pem", "ca.key")
"""Beside the `.env`: the certificate that partners get, and the key that signs the brokers' certificates."""
_HEAD: Final = """\
# Written by `tocsin deploy init` for deploy/compose.yaml. Holds passwords: keep it to yourself and out of backups that
# others can read. What is not a password may be changed; then: docker compose up --detach
"""


class EnvironmentFileError(ValueError):
    """The file cannot be written as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an installation is to be. ``partner_address`` is the IP address at which partners reach this machine;
    certificates are valid from ``now``, UTC."""

    brokers: int
    partitions: int
    partner_address: str
    config_folder: str
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


def environment(wishes: Wishes, kept: Mapping[str, str], authority: Identity | None = None) -> dict[str, str]:
    """Every variable of the compose file, secrets made anew but for those of ``TIED_TO_DATA`` in ``kept``.
    ``authority`` signs the brokers' certificate; one that nobody knows does where none is given.

    Raises:
        EnvironmentFileError: an address that is none, or that nobody can connect to.
    """
    try:
        address = ipaddress.ip_address(wishes.partner_address)
    except ValueError as error:
        raise EnvironmentFileError(
            f"--partner-address {wishes.partner_address!r} is no IP address; give the one of this machine at which "
            "partners reach it, such as 10.8.0.1"
        ) from error
    if address.is_unspecified or address.is_multicast or address.version != 4:
        raise EnvironmentFileError(
            f"--partner-address {address}: Kafka tells it to its clients, so it must be one IPv4 address that they can "
            "connect to"
        )
    nodes = range(1, wishes.brokers + 1)
    made = {name: secrets.token_urlsafe(24) for name in SECRETS} | {
        "TOCSIN_GRAFANA_DESK_TOKEN": f"tocsin_{secrets.token_urlsafe(32)}",
        "KAFKA_CLUSTER_ID": new_cluster_id(),
    }
    broker = issue(authority or new_authority(wishes.now), [str(address)], wishes.now)
    return {
        "COMPOSE_PROFILES": "cluster" if wishes.brokers > 1 else "",
        "CONFIG_FOLDER": wishes.config_folder,
        "PARTNER_ADDRESS": str(address),
        "KAFKA_QUORUM": ",".join(f"{node}@kafka-{node}:9093" for node in nodes),
        "KAFKA_MIN_INSYNC": "2" if wishes.brokers > 1 else "1",
        "TOCSIN_KAFKA_BOOTSTRAP": ",".join(f"kafka-{node}:19092" for node in nodes),
        "TOCSIN_TOPIC_REPLICAS": str(wishes.brokers),
        "TOCSIN_TOPIC_PARTITIONS": str(wishes.partitions),
        "TOCSIN_DESK_URL": "http://127.0.0.1:8090/",
        "TOCSIN_DESK_HOSTS": json.dumps(["127.0.0.1", "localhost", "desk"]),
        "TOCSIN_GRAFANA_URL": "http://127.0.0.1:3000/",
        "KAFKA_TLS_CHAIN": on_one_line(broker.chain),
        "KAFKA_TLS_KEY": on_one_line(broker.key),
        **made,
        **{name: kept[name] for name in TIED_TO_DATA if name in kept},
    }


def read(path: Path) -> dict[str, str]:
    """The variables of a file as :func:`write` writes it. Raises OSError."""
    lines = (line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def write(path: Path, wishes: Wishes, *, force: bool = False) -> dict[str, str]:
    """Write the file, readable by its owner only, and return what is in it. Beside it lie ``ca.pem``, for partners, and
    ``ca.key``, its owner's; those that are there already go on to be used, for partners have a copy.

    Raises:
        EnvironmentFileError: it is there already and ``force`` is not given, or it cannot be written.
    """
    if path.exists() and not force:
        raise EnvironmentFileError(
            f"{path} is there already and holds the passwords of an installation; it stays as it is. --force writes "
            "new ones, and keeps what volumes and partners know by heart"
        )
    try:
        values = environment(wishes, read(path) if path.exists() else {}, _authority(path.parent, wishes.now))
        write_private_text(path, _HEAD + "".join(f"{name}={_quoted(value)}\n" for name, value in values.items()))
    except CertificateError as error:
        raise EnvironmentFileError(f"{' and '.join(AUTHORITY)} in {path.parent} cannot be used: {error}") from error
    except OSError as error:
        raise EnvironmentFileError(f"cannot write {path}: {error}; give another --file") from error
    return values


def _authority(folder: Path, now: dt.datetime) -> Identity:
    certificate, key = (folder / name for name in AUTHORITY)
    if certificate.exists() and key.exists():
        return Identity(key.read_text(), certificate.read_text())
    made = new_authority(now)
    write_private_text(key, made.key)
    certificate.write_text(made.chain)
    return made


def _quoted(value: str) -> str:
    """As Compose takes it as it stands: in single quotes where it must, for kubectl would keep them."""
    return value if re.fullmatch(r"[\w.,:/@-]*", value) else f"'{value}'"
