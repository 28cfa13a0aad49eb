"""A small on-call policy for the tests: who is on call is a function of the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from processors.lifecycle.roster import InhibitRule, Route
from schemas.lifecycle import AlertState

Duty = Callable[[dt.datetime], tuple[str, ...]]


def always(*persons: str) -> Duty:
    return lambda _: persons


@dataclass
class Rota:
    """Policies are steps of (who is on call, seconds until the next step)."""

    policies: dict[str, list[tuple[Duty, float]]]
    routes: list[tuple[Callable[[AlertState], bool], Route]] = field(default_factory=list)
    default: Route = field(default_factory=lambda: Route("watch", ("rule_id", "group.place"), 30, 300, 4 * 3600))
    inhibit_rules: tuple[InhibitRule, ...] = ()
    strangers: frozenset[str] = frozenset()

    def route(self, state: AlertState) -> Route:
        return next((route for meets, route in self.routes if meets(state)), self.default)

    def persons(self, policy: str, step: int, at: dt.datetime) -> tuple[str, ...]:
        steps = self.policies[policy]
        return steps[step][0](at) if 0 <= step < len(steps) else ()

    def knows(self, person: str) -> bool:
        return person not in self.strangers

    def timeout_s(self, policy: str, step: int) -> float | None:
        steps = self.policies[policy]
        return steps[step][1] if 0 <= step < len(steps) - 1 else None


def rota(**fields: object) -> Rota:
    """Mira, after five minutes Tomas, after ten more Aoife; drills go to Ines alone."""
    watch = [(always("mira"), 300.0), (always("tomas"), 600.0), (always("aoife"), 0.0)]
    policies = {
        "watch": watch,
        "critical": [(always("lead"), 120.0), (always("mira"), 0.0)],
        "drill": [(always("ines"), 0.0)],
    }
    routes = [
        (lambda state: state.exercise, Route("drill", ("rule_id",), 30, 300, 86400)),
        (lambda state: state.level == "critical", Route("critical", ("rule_id",), 5, 120, 3600)),
    ]
    return Rota(**{"policies": policies, "routes": routes, **fields})  # type: ignore[arg-type]
