"""What one step of the lifecycle brings about, for the caller to write down."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.lifecycle import Action, AlertState, Delivery, Notification, Silence


@dataclass
class Effects:
    """Everything that has to be written before the input that caused it is acknowledged.

    ``records`` are keys and values of ``lifecycle-state.v1`` (None: a tombstone) and hold the states, silences and
    notifications too. Their order matters: written in it, any prefix can be restored from and the input repeated
    without a loss. ``states`` may name an alert several times, the latest last. ``unheard`` are steps of a policy at
    which nobody was on call.
    """

    states: list[AlertState] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    unheard: list[Delivery] = field(default_factory=list)
    records: dict[str, bytes | None] = field(default_factory=dict)

    def extend(self, other: Effects) -> None:
        """Add what came later. A key written again moves to the end, behind what its new value relies on."""
        self.states += other.states
        self.actions += other.actions
        self.notifications += other.notifications
        self.silences += other.silences
        self.unheard += other.unheard
        for key, value in other.records.items():
            self.records.pop(key, None)
            self.records[key] = value

    def __bool__(self) -> bool:
        return bool(self.records or self.actions)
