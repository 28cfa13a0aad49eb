"""``tocsin deploy init``: what it writes, whom it lets read it, and what it will not overwrite."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from deploy.certificates import on_lines
from deploy.cli import app
from deploy.environment import AUTHORITY, HIDDEN, SECRETS, TIED_TO_DATA, Wishes, environment, read


def init(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["deploy", "init", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    said = init("--file", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "up --detach --build" in said
    assert f"--env-file {path}" in said
    assert not [name for name in HIDDEN if read(path)[name] in said]
    certificate, key = (tmp_path / name for name in AUTHORITY)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert str(certificate) in said


def test_kubectl_and_compose_read_the_same_secrets(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    init("--file", path)
    # What kubectl --from-env-file takes a value to be: all behind the first =, quotes too.
    plain = dict(line.split("=", 1) for line in path.read_text().splitlines() if not line.startswith("#"))
    assert all(plain[name] == read(path)[name] for name in SECRETS)
    assert plain["TOCSIN_DESK_HOSTS"] == f"'{read(path)['TOCSIN_DESK_HOSTS']}'"
    assert json.loads(read(path)["TOCSIN_DESK_HOSTS"])


def test_an_installation_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    init("--file", path)
    before = path.read_bytes()
    assert "--force" in init("--file", path, status=1)
    assert path.read_bytes() == before


def test_force_keeps_what_the_volumes_know(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    init("--file", path)
    before, authority = read(path), (tmp_path / "ca.pem").read_bytes()
    init("--file", path, "--force")
    after = read(path)
    assert (tmp_path / "ca.pem").read_bytes() == authority, "partners have a copy"
    assert set(before) == set(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {*SECRETS, "KAFKA_TLS_KEY", "KAFKA_TLS_CHAIN"} - set(TIED_TO_DATA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_json_has_the_settings_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    said = init("--file", path, "--cluster", "--partitions", "12", "--partner-address", "10.8.0.1", "--json")
    told = json.loads(said)
    assert told["settings"]["TOCSIN_TOPIC_REPLICAS"] == "3"
    assert told["settings"]["TOCSIN_TOPIC_PARTITIONS"] == "12"
    assert told["settings"]["PARTNER_ADDRESS"] == "10.8.0.1"
    assert set(told["secrets"]) == set(HIDDEN)
    assert not [name for name in HIDDEN if read(path)[name] in said]


@pytest.mark.parametrize(
    ("address", "why"),
    [("kafka.example", "no IP address"), ("0.0.0.0", "must be one IPv4 address"), ("::1", "must be one IPv4 address")],
)
def test_an_address_that_no_partner_could_use_is_refused(tmp_path: Path, address: str, why: str) -> None:
    assert why in init("--file", tmp_path / "my.env", "--partner-address", address, status=1)
    assert not (tmp_path / "my.env").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "give another --file" in init("--file", tmp_path / "nowhere" / "my.env", status=1)


def test_brokers_get_a_certificate_for_their_address_and_a_year(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    init("--file", path, "--partner-address", "10.8.0.1")
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    broker = x509.load_pem_x509_certificate(on_lines(read(path)["KAFKA_TLS_CHAIN"]).encode())
    broker.verify_directly_issued_by(authority)
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.8.0.1")]
    lasts = broker.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=364) < lasts <= dt.timedelta(days=365)
    assert authority.not_valid_after_utc > broker.not_valid_after_utc + dt.timedelta(days=3000)


def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    init("--file", tmp_path / "my.env")
    (tmp_path / "ca.key").write_text("no key")
    assert "ca.pem and ca.key in" in init("--file", tmp_path / "other.env", status=1)
    assert not (tmp_path / "other.env").exists()


def test_without_an_authority_a_new_one_signs() -> None:
    one, other = (environment(Wishes(1, 1, "127.0.0.1", "."), {})["KAFKA_TLS_CHAIN"] for _ in range(2))
    assert one != other
