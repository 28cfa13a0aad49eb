"""``tocsin deploy init``: what it writes, whom it lets read it, and what it will not overwrite."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.environment import SECRETS, TIED_TO_DATA, read


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
    assert not [name for name in SECRETS if read(path)[name] in said]


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
    before = read(path)
    init("--file", path, "--force")
    after = read(path)
    assert set(before) == set(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == set(SECRETS) - set(TIED_TO_DATA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_json_has_the_settings_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    said = init("--file", path, "--cluster", "--partitions", "12", "--partner-address", "10.8.0.1", "--json")
    told = json.loads(said)
    assert told["settings"]["TOCSIN_TOPIC_REPLICAS"] == "3"
    assert told["settings"]["TOCSIN_TOPIC_PARTITIONS"] == "12"
    assert told["settings"]["PARTNER_ADDRESS"] == "10.8.0.1"
    assert set(told["secrets"]) == set(SECRETS)
    assert not [name for name in SECRETS if read(path)[name] in said]


@pytest.mark.parametrize(
    ("address", "why"),
    [("kafka.example", "no IP address"), ("0.0.0.0", "must be one IPv4 address"), ("::1", "must be one IPv4 address")],
)
def test_an_address_that_no_partner_could_use_is_refused(tmp_path: Path, address: str, why: str) -> None:
    assert why in init("--file", tmp_path / "my.env", "--partner-address", address, status=1)
    assert not (tmp_path / "my.env").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "give another --file" in init("--file", tmp_path / "nowhere" / "my.env", status=1)
