"""The platform that tests share, and the order in which tests run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from schemas.settings import Settings
from tests.stack import Stack, running_stack

OWN_PLATFORM = ("clickhouse", "embedded", "bench", "scenario", "recovery")
"""Folders whose tests start parts of their own, in the order in which they run: after those that need none, and before
those on the shared platform, so that no two platforms share the machine."""
TESTS = Path(__file__).resolve().parent

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("tocsin", deadline=None)
settings.load_profile("tocsin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the shared platform, and sort: plain tests, tests with parts of their own, shared platform."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker("stack")
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("stack"):
        return len(OWN_PLATFORM) + 1
    folder = item.path.relative_to(TESTS).parts[0]
    return OWN_PLATFORM.index(folder) + 1 if folder in OWN_PLATFORM else 0


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One real platform for the session: Kafka, registry, ClickHouse, one worker of each kind.

    Its partners and its on-call file are copies, which a test may change.
    """
    data_dir = tmp_path_factory.mktemp("platform")
    files = {name: data_dir / getattr(Settings(), name).name for name in ("partners_file", "oncall_file")}
    for name, path in files.items():
        shutil.copyfile(getattr(Settings(), name), path)
    with running_stack(data_dir, **files) as running:
        yield running
