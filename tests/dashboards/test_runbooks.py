"""Runbooks and guides: what they tell people to type exists, and each page has what a person in trouble looks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.desk.auth.permissions import needed
from dashboards.desk.auth.roles import ROLE_PERMISSIONS
from dashboards.desk.pages.runbooks import FOLDER, runbooks
from dashboards.grafana.pipeline_health import RUNBOOKS
from schemas.migrations import migrate
from schemas.settings import PACKAGE_ROOT
from tests.dashboards.engine import Answer, EngineClient

NAMES = (
    *("backup-and-restore", "clickhouse-down", "clock-skew", "lag-growing", "partner-cannot-connect"),
    *("quarantine-flood", "registry-down", "rule-storm", "upgrade-and-rollback", "worker-crash-loop"),
)
SECTIONS = ["What it means for watch officers", "Look", "Do", "Over when", "Never"]
GUIDES = [*sorted(FOLDER.glob("*.md")), PACKAGE_ROOT / "deploy" / "SCALING.md", PACKAGE_ROOT / "README.md"]
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(path: Path, language: str) -> Iterator[str]:
    for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    """The engine with all tables, the one of the migrations too."""
    client = EngineClient(tmp_path_factory.mktemp("runbooks"))
    client.query("CREATE DATABASE tocsin")
    client.query("USE tocsin")
    migrate(Migrated(client))
    yield client
    client.close()


@dataclass
class Migrated:
    """The engine as migrations want it."""

    client: EngineClient

    def command(self, cmd: str) -> None:
        self.client.query(cmd)

    def query(self, query: str) -> Answer:
        return self.client.query(query)


def test_every_failure_has_its_runbook() -> None:
    assert set(NAMES) == set(RUNBOOKS), "Grafana leads to others"
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.md"))) == NAMES
    for each in runbooks().values():
        assert re.findall(r"^## (.*)$", each.text, re.MULTILINE) == SECTIONS, each.name
        assert each.title, each.name
        assert not each.symptom.startswith("#"), each.name
    staff = [role for role in ROLE_PERMISSIONS if role != "partner"]
    assert all(needed("/runbooks/x") in ROLE_PERMISSIONS[role] for role in staff)
    assert needed("/runbooks/x") not in ROLE_PERMISSIONS["partner"]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_query_runs(path: Path, schema: EngineClient) -> None:
    for block in blocks(path, "sql"):
        for statement in filter(str.strip, block.split(";")):
            schema.query(statement, {})


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if target.startswith("/runbooks/"):
            assert target.removeprefix("/runbooks/") in runbooks(), target
        elif not target.startswith(("http://", "https://", "/")):
            assert (path.parent / target).exists(), target
