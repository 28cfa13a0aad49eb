"""What the page of an alert knows of it, and how it learns that from the log and from ClickHouse."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dashboards.desk import queries
from dashboards.desk.api import state_of
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.history import actions_of, ids_of
from dashboards.desk.pages.parts import asked
from dashboards.desk.partner_view import Eyes, as_seen
from dashboards.desk.similar import Similar, rank
from schemas.alerts import Alert
from schemas.lifecycle import Action, AlertState, Delivery


@dataclass
class Subject:
    """All that the page knows of its alert, as ``eyes`` see it; ``record`` is ``None`` until ClickHouse has it, and
    ``loaded`` off until it was asked."""

    alert_id: str
    eyes: Eyes
    record: Alert | None = None
    state: AlertState | None = None
    history: list[Action] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    similar: list[Similar] | None = None
    loaded: bool = False
    ids: list[str] = field(default_factory=list)
    """All ids that the situation has had, its own first."""

    def __post_init__(self) -> None:
        self.ids = self.ids or [self.alert_id]

    def seen_by(self, person: Person) -> bool:
        """Whether it is there and the person may see it, by the record and by the state: either may be the newer."""
        known = [each.partners for each in (self.record, self.state) if each is not None]
        return bool(known) and all(person.sees(partners) for partners in known)

    def see(self, state: AlertState | None) -> None:
        """Take in a newer state."""
        self.state = as_seen(state, self.eyes) if state is not None else None

    @property
    def supersedes(self) -> list[str]:
        """The ids before this one that its record and its state know of."""
        return [*(self.record.supersedes if self.record else ()), *(self.state.supersedes if self.state else ())]

    @property
    def successor(self) -> str | None:
        return (self.record.superseded_by if self.record else None) or (
            self.state.superseded_by if self.state else None
        )


async def load(desk: Desk, subject: Subject) -> None:
    """Read the alert anew, and what was done about it. Similar alerts come later: they take longest.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    store, alert_id = desk.store, subject.alert_id
    # All at once, under the ids that are known; most alerts never had another.
    record, stored, ids, _ = await asyncio.gather(
        asked(store.alert, alert_id),
        state_of(desk, alert_id),
        ids_of(desk, subject.eyes, alert_id, subject.supersedes),
        load_history(desk, subject),
    )
    subject.record = as_seen(record, subject.eyes) if record is not None else None
    subject.see(desk.live.states.get(alert_id) or stored)
    if not set(ids).issuperset(each for each in subject.supersedes if subject.eyes.sees(each)):
        ids = await ids_of(desk, subject.eyes, alert_id, subject.supersedes)
    subject.loaded = True
    if ids != subject.ids:
        subject.ids = ids
        await load_history(desk, subject)


async def load_history(desk: Desk, subject: Subject) -> None:
    """What was done about it, the latest first, and who was told."""
    actions, subject.deliveries = await asyncio.gather(
        actions_of(desk, subject.eyes, subject.ids), asked(queries.deliveries, desk.store, subject.ids)
    )
    subject.history = actions[::-1]


async def load_similar(desk: Desk, person: Person, subject: Subject) -> None:
    if subject.record is not None:
        found = await asked(queries.candidates, desk.store, subject.record)
        seen = (as_seen(each, subject.eyes) for each in found if person.sees(each.partners))
        subject.similar = rank(subject.record, seen)
