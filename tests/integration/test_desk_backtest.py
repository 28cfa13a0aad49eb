"""The desk's back-test button: the real command beside the desk, on the real platform."""

from __future__ import annotations

from dashboards.desk.pages import backtest
from schemas.settings import PACKAGE_ROOT
from tests.stack import Stack

RULE = PACKAGE_ROOT / "processors" / "rules" / "border" / "document_two_continents.yml"


async def test_the_command_beside_the_desk_gives_what_the_page_draws(stack: Stack) -> None:
    said: list[str] = []
    outcome = await backtest.run(stack.settings, RULE, 1, said.append)
    assert outcome.events >= 0
    assert sum(outcome.days.values()) == sum(count for _, count in outcome.rules)
    assert outcome.text.endswith("would be gone.")
