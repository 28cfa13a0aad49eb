"""The platform that tests share, the order in which tests run, and what runs beside what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from deploy.parts import desk_part
from schemas.settings import Settings
from tests.stack import Stack, running_stack

TESTS = Path(__file__).resolve().parent
SHARED_PLATFORM = (
    *("bench/test_latency.py", "dashboards/test_dashboards_cli.py", "integration/", "streams/test_producer_stack.py"),
    *("streams/test_rulesets.py", "streams/test_health.py", "deploy/test_compose_processes.py", "browser/test_desk.py"),
)
"""Where tests use the shared platform, and in which order."""
OWN_PLATFORM = (
    *("deploy/test_partner_access.py", "recovery/", "embedded/test_platform.py", "bench/test_bench.py", "scenario/"),
)
"""Where tests start platforms of their own, likewise. What measures time comes last, when least runs beside it."""

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("tocsin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tocsin")


class Groups(LoadScopeScheduling):
    """What ``make test`` runs beside each other: the shared platform, platforms of tests' own, and each other file.

    The shared platform is started once, and of the tests with their own one runs at a time. Both wait more than they
    compute; what needs none fills the time. (``--dist loadgroup`` of xdist 3.8 does nothing with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        place = nodeid.partition("::")[0].removeprefix(f"{TESTS.name}/")
        groups = [number for number, places in enumerate((SHARED_PLATFORM, OWN_PLATFORM)) if place.startswith(places)]
        return str(groups[0]) if groups else place


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    config.option.loadscopereorder = False  # the order is that of the tests, not of their number
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the shared platform, and sort.

    Beside each other platforms come first, for they take longest. In one process they come last, the shared one at the
    very end, for it stays until then.
    """
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker("stack")
            if not _place(item).startswith(SHARED_PLATFORM + OWN_PLATFORM):
                raise pytest.UsageError(f"{_place(item)} uses a platform: name it in {__file__}")
    beside = "PYTEST_XDIST_WORKER" in os.environ
    order = (*SHARED_PLATFORM, *OWN_PLATFORM, "") if beside else ("", *OWN_PLATFORM, *SHARED_PLATFORM)
    items.sort(key=lambda item: _turn(_place(item), order))


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).as_posix()


def _turn(place: str, order: tuple[str, ...]) -> int:
    named = [number for number, each in enumerate(order) if each and place.startswith(each)]
    return named[0] if named else order.index("")


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


@pytest.fixture(scope="session")
def desk(stack: Stack) -> Iterator[str]:
    """The watch desk of the session's platform; its address, without a slash at its end."""
    port = stack.platform.port("desk", 8090)
    stack.platform.add_parts([desk_part(stack.settings, port)])
    yield f"http://127.0.0.1:{port}"
    stack.part("desk").stop()
