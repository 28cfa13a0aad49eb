"""What every page and endpoint of the watch desk is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dashboards.alerts import Store
from dashboards.desk.auth.access_log import AccessLog
from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.roles import Person
from dashboards.desk.commands import Commands
from dashboards.desk.live import Live
from dashboards.desk.partner_view import Eyes
from dashboards.desk.platform_alerts import PlatformAlerts
from schemas.settings import Settings


@dataclass(frozen=True)
class Desk:
    """The parts behind the pages. ``live`` is to be used on the event loop; ``store`` blocks: ask it on a thread."""

    settings: Settings
    store: Store
    live: Live
    commands: Commands
    oncall_file: Path
    accounts: Accounts
    access: AccessLog
    platform_alerts: PlatformAlerts

    def eyes(self, person: Person) -> Eyes:
        """How this person sees alerts: :func:`dashboards.desk.partner_view.as_seen` takes it."""
        if person.role != "partner":
            return Eyes()
        states = self.live.states

        def sees(alert_id: str) -> bool:
            state = states.get(alert_id)
            return state is not None and person.sees(state.partners)

        return Eyes(person.partner or "", {each.name: each.role for each in self.accounts.all()}, sees)
