"""Who people are and what their roles allow: one table. It needs no web framework, so commands may look at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["watch_officer", "analyst", "partner", "oversight", "administrator"]
Permission = Literal["view", "act", "silence", "rules", "inspect", "oversee", "accounts", "act_as", "report"]
Via = Literal["desk", "api", "cli"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)

MEANINGS: Final[dict[Permission, str]] = {
    "view": "see alerts, their evidence and history",
    "act": "acknowledge, assign, note, close, reopen, merge and split alerts",
    "silence": "set and end silences and maintenance windows",
    "rules": "run back-tests and change rules",
    "inspect": "see what concerns all partners: feeds, rules, refused records, on-call, exercises",
    "oversee": "read the access log",
    "accounts": "make, change and disable accounts and tokens of others",
    "act_as": "act in the name of whoever sits at the terminal (tokens only)",
    "report": "tell the platform's own alerts, as Grafana does (tokens only)",
}

ROLE_PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "watch_officer": frozenset({"view", "inspect", "act", "silence"}),
    "analyst": frozenset({"view", "inspect", "act", "rules"}),
    "partner": frozenset({"view"}),
    "oversight": frozenset({"view", "inspect", "oversee"}),
    "administrator": frozenset(PERMISSIONS) - {"act_as", "report"},
}


def token_permissions(role: Role) -> frozenset[Permission]:
    """What a token of an account with this role may be made for: ``act_as`` and ``report`` are no role's, but whoever
    may act may be given a token with which the commands of a machine say who asked, or Grafana tells of the platform.
    """
    permissions = ROLE_PERMISSIONS[role]
    return permissions | {"act_as", "report"} if "act" in permissions else permissions


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. ``permissions`` are those of the role, narrowed to the scope when a token asks; ``partner`` is set for
    the role ``partner`` only and bounds what it sees."""

    name: str
    role: Role
    display: str
    permissions: frozenset[Permission]
    via: Via = "desk"
    partner: str | None = None
    must_change: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether the role, and the token if there is one, allow it."""
        return permission in self.permissions

    def sees(self, partners: Iterable[str]) -> bool:
        """Whether an alert that rests on events of ``partners`` may be shown. A partner sees what it takes part in."""
        if not self.may("view"):
            return False
        return self.role != "partner" or (self.partner is not None and self.partner in set(partners))
