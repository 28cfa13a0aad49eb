"""What can go wrong for a publishing partner."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.events import Problem


class InvalidEvent(ValueError):  # noqa: N818 - reads as the sentence it is
    """An event that was refused before anything was sent; ``problems`` has one entry a field."""

    def __init__(self, family: str, event_id: str, problems: list[Problem]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{family} event {event_id or 'without id'} is not valid:\n{lines}")
        self.family = family
        self.event_id = event_id
        self.problems = problems


class NotAllowed(PermissionError):  # noqa: N818
    """The partner may not publish this family."""


class QueueFull(TimeoutError):  # noqa: N818
    """The local queue stayed full for the whole time limit: the broker is slower than the partner, or away."""


class BrokerUnreachable(ConnectionError):  # noqa: N818
    """No broker answered."""


class DeliveryFailed(RuntimeError):  # noqa: N818
    """Events that the broker did not confirm; ``failures`` counts them by topic, partition and reason."""

    def __init__(self, failures: Mapping[tuple[str, int, str], int], undelivered: int = 0) -> None:
        parts = [f"{n} on {topic}[{partition}]: {reason}" for (topic, partition, reason), n in failures.items()]
        if undelivered:
            parts.append(f"{undelivered} still unconfirmed at the time limit; it is not known whether they arrived")
        super().__init__(f"events not delivered: {'; '.join(parts)}. Publish them again: event ids keep them single.")
        self.failures = dict(failures)
        self.undelivered = undelivered
