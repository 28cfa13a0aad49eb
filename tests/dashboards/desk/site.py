"""The API behind the real logins, over a log fed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import httpx

from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Role
from dashboards.desk.desk import Desk
from tests.dashboards.desk.states import NOW, HandFed, state

STATES = (
    state("a", raised_at=NOW - timedelta(minutes=30)),
    state("b", raised_at=NOW - timedelta(minutes=20)),
    state("c", priority="P1", level="critical", partners=["fiu-nl"], exercise=True),
    state("held", silences=["s"]),
    state("done", state="closed", verdict="benign"),
)


@dataclass
class Site:
    """The API, and a client for each role."""

    desk: Desk
    live: HandFed
    transport: httpx.ASGITransport

    def client(self, role: Role | None = "watch_officer", partner: str | None = None) -> httpx.AsyncClient:
        headers = {}
        if role is not None:
            name = f"{role}-{partner or 'x'}".replace("_", "-")
            self.desk.accounts.add_machine(name, role, partner=partner)
            token = self.desk.accounts.tokens.make(name, ROLE_PERMISSIONS[role], timedelta(hours=1))
            headers["Authorization"] = f"Bearer {token.secret}"
        return httpx.AsyncClient(transport=self.transport, base_url="http://127.0.0.1", headers=headers)
