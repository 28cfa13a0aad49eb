"""Publishes a file's events through a producer, and accounts for every line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from schemas.events import Event
from streams.adapters.base import Adapter, Candidate, Outcome, RefusedLine
from streams.adapters.csv_file import read_csv
from streams.adapters.eve import read_eve
from streams.adapters.jsonl import read_jsonl
from streams.adapters.ucdp_ged import read_ucdp_ged
from streams.producer import InvalidEvent

ADAPTERS: Final[Mapping[str, Adapter]] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "ucdp-ged": read_ucdp_ged,
    "eve": read_eve,
}
EXAMPLES: Final = 3


class Sink(Protocol):
    """The part of PartnerProducer that is used."""

    def prepare(self, family: str, event: Event | Mapping[str, Any], *, key: str | None = None) -> object:
        """Raises InvalidEvent."""

    def publish(self, family: str, event: Event | Mapping[str, Any], *, key: str | None = None) -> str:
        """Raises InvalidEvent, and what ends the run."""


@dataclass
class Summary:
    """What became of a file's lines; ``examples`` has the first few refusals of each reason."""

    accepted: int = 0
    refused: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[RefusedLine]] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Records that were read."""
        return self.accepted + self.refused

    def refuse(self, refused: RefusedLine) -> None:
        """Count a refusal."""
        self.refused += 1
        self.by_reason[refused.reason] += 1
        kept = self.examples.setdefault(refused.reason, [])
        if len(kept) < EXAMPLES:
            kept.append(refused)


def publish_outcomes(
    outcomes: Iterable[Outcome],
    family: str,
    producer: Sink,
    *,
    dry_run: bool = False,
    on_refused: Callable[[RefusedLine], None] = lambda refused: None,
    on_line: Callable[[Summary], None] = lambda summary: None,
    summary: Summary | None = None,
) -> Summary:
    """Publish what is valid and count the rest by reason; blocks as the producer does.

    With ``dry_run`` events are validated and encoded, and nothing is sent.

    Raises:
        What ``publish`` raises beyond InvalidEvent: no broker, no registry, queue full. ``summary``, if given, then
        holds the counts so far.
    """
    counts = Summary() if summary is None else summary
    for outcome in outcomes:
        refused = _attempt(outcome, family, producer, dry_run) if isinstance(outcome, Candidate) else outcome
        if refused is None:
            counts.accepted += 1
        else:
            counts.refuse(refused)
            on_refused(refused)
        on_line(counts)
    return counts


def _attempt(candidate: Candidate, family: str, producer: Sink, dry_run: bool) -> RefusedLine | None:
    try:
        if dry_run:
            producer.prepare(family, candidate.event, key=candidate.key)
        else:
            producer.publish(family, candidate.event, key=candidate.key)
    except InvalidEvent as error:
        first = error.problems[0]
        others = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        return RefusedLine(candidate.line, first.code, f"{first}{others}", candidate.raw, first.field)
    return None
