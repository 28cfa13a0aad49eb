"""What the header counts as urgent."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.desk.frame import is_urgent
from tests.dashboards.desk.states import state


@pytest.mark.parametrize(
    ("changes", "urgent"),
    [
        ({"priority": "P1"}, True),
        ({"level": "critical"}, True),
        ({"priority": "P4", "level": "critical", "exercise": True}, False),
        ({}, False),
        ({"priority": "P1", "state": "acknowledged"}, False),
        ({"priority": "P1", "silences": ["s"]}, False),
        ({"priority": "P1", "merged_into": "m"}, False),
        ({"priority": "P1", "withdrawn": True}, False),
        ({"priority": "P1", "tags": ["platform.watchdog"]}, False),
    ],
)
def test_urgent_is_what_is_pressing_and_waits_for_somebody(changes: dict[str, Any], urgent: bool) -> None:
    assert is_urgent(state("a", **changes)) is urgent
