"""What the simulated partners send and when, as a function of elapsed time; sending itself comes from outside."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

from deploy.demo.bad_input import REASONS
from deploy.demo.scenarios import event_of, scenarios
from deploy.demo.script import Scenario, Step
from deploy.demo.world import MIX, SHARES, Clock, Event, background, utc_now

CLUMSY: Final = ("hub-ke", "tipline-uk", "retail-pl")
"""Partners that also send bad records, in turn: at 40 events/s some 2 per cent of theirs, below their limit."""
FIRST_BAD_S: Final = 4.0
BAD_EVERY_S: Final = 12.0
REPEAT_FROM_S: Final = 150.0
REPEAT_EVERY_S: Final = 60.0
"""After the first round one scenario starts this often, as part of a later round."""
MAX_BACKLOG_S: Final = 5.0
"""After a longer pause the traffic that was missed is left out instead of sent in one burst."""


class Publisher(Protocol):
    """Sends for all partners; may block, and raises when it gives up."""

    def publish(self, partner: str, family: str, event: Event) -> None: ...

    def publish_bad(self, partner: str, reason: str, family: str, event: Event) -> None: ...


@dataclass
class Playing:
    """A scenario on its way; times are seconds since the start of the run."""

    scenario: Scenario
    round_number: int
    started_s: float
    left: int
    completed_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.scenario.name,
            "story": self.scenario.story,
            "round": self.round_number,
            "started_s": round(self.started_s, 1),
            "completed_s": None if self.completed_s is None else round(self.completed_s, 1),
        }


@dataclass
class _Feed:
    partner: str
    rate: float
    events: Iterator[tuple[str, Event]]
    sent: int = 0


@dataclass
class Player:
    """Plays background traffic, scenarios and mistakes. ``rate`` is background events per second of all partners.

    ``clock`` gives event times (aware UTC); elapsed time is given to :meth:`play`, so tests need not wait.
    """

    publisher: Publisher
    run_id: str
    seed: int = 7
    rate: float = 40.0
    clock: Clock = utc_now
    playing: list[Playing] = field(default_factory=list)
    _due: list[tuple[float, int, Playing, Step]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _bad_total: int = 0
    _repeated: int = 0

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate is {self.rate} events/s: expected 0 or more")
        self._rng = Random(f"{self.run_id}:{self.seed}")
        self._ids = Random()
        self._feeds = {
            partner: _Feed(partner, self.rate * SHARES[partner], background(partner, list(mix), self.seed, self.clock))
            for partner, mix in MIX.items()
        }
        self._mistakes = {
            partner: background(partner, list(MIX[partner]), self.seed + 1, self.clock) for partner in CLUMSY
        }
        for scenario in scenarios(self.run_id):
            self._start(scenario, 0, 0.0)

    def play(self, elapsed_s: float) -> None:
        """Send everything that is due ``elapsed_s`` after the start and was not sent yet."""
        self._repeat(elapsed_s)
        while self._due and self._due[0][0] <= elapsed_s:
            _, _, playing, step = heapq.heappop(self._due)
            self.publisher.publish(step.partner, step.family, event_of(step, self.clock(), self._ids))
            playing.left -= 1
            if not playing.left:
                playing.completed_s = elapsed_s
        self._make_mistakes(elapsed_s)
        for feed in self._feeds.values():
            self._catch_up(feed, elapsed_s)

    def expected(self) -> list[dict[str, Any]]:
        """Alerts to expect of the scenarios that were published in full, with ``completed_s``."""
        return [
            {**alert.as_json(), "round": each.round_number, "completed_s": round(each.completed_s, 1)}
            for each in self.playing
            if each.completed_s is not None
            for alert in each.scenario.alerts
        ]

    def _start(self, scenario: Scenario, round_number: int, origin_s: float) -> None:
        playing = Playing(
            scenario, round_number, origin_s + min(s.offset_s for s in scenario.steps), len(scenario.steps)
        )
        self.playing.append(playing)
        for step in scenario.steps:
            heapq.heappush(self._due, (origin_s + step.offset_s, next(self._order), playing, step))

    def _repeat(self, elapsed_s: float) -> None:
        while elapsed_s >= (start_s := REPEAT_FROM_S + self._repeated * REPEAT_EVERY_S):
            names = len(scenarios(self.run_id))
            round_number, index = 1 + self._repeated // names, self._repeated % names
            scenario = scenarios(self.run_id, round_number)[index]
            first_s = min(step.offset_s for step in scenario.steps)
            self._start(scenario, round_number, start_s - first_s)
            self._repeated += 1

    def _make_mistakes(self, elapsed_s: float) -> None:
        while elapsed_s >= FIRST_BAD_S + self._bad_total * BAD_EVERY_S:
            partner = CLUMSY[self._bad_total % len(CLUMSY)]
            family, event = next(self._mistakes[partner])
            self.publisher.publish_bad(partner, REASONS[self._bad_total % len(REASONS)], family, event)
            self._bad_total += 1

    def _catch_up(self, feed: _Feed, elapsed_s: float) -> None:
        owed = int(elapsed_s * feed.rate) - feed.sent
        most = max(1, int(MAX_BACKLOG_S * feed.rate))
        if owed > most:
            feed.sent += owed - most
            owed = most
        for _ in range(owed):
            family, event = next(feed.events)
            self.publisher.publish(feed.partner, family, event)
        feed.sent += owed


def state(
    player: Player, started_at: str, published: Mapping[str, int], bad: Mapping[str, int], finished: bool
) -> dict[str, Any]:
    """Content of ``demo.json``. ``published`` and ``bad`` are records that the broker confirmed, by partner;
    heartbeats count as published."""
    return {
        "run_id": player.run_id,
        "started_at": started_at,
        "finished": finished,
        "partners": {partner: {"published": published.get(partner, 0), "bad": bad.get(partner, 0)} for partner in MIX},
        "published_total": sum(published.values()),
        "bad_total": sum(bad.values()),
        "scenarios": [each.as_json() for each in player.playing],
        "expected": player.expected(),
    }
