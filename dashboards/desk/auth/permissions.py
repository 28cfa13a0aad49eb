"""Who may do what at the desk: one table of roles, one of places.

A role is a set of permissions. ``PLACES`` says which permission a path needs; the middleware enforces it before any
page or API code runs, and ``requires`` says it again where the code is. What is not listed needs ``view``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from fastapi import HTTPException
from starlette.requests import HTTPConnection

Role = Literal["watch_officer", "analyst", "partner", "oversight", "administrator"]
Permission = Literal["view", "act", "silence", "rules", "inspect", "oversee", "accounts", "act_as"]
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
}

ROLE_PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "watch_officer": frozenset({"view", "inspect", "act", "silence"}),
    "analyst": frozenset({"view", "inspect", "act", "rules"}),
    "partner": frozenset({"view"}),
    "oversight": frozenset({"view", "inspect", "oversee"}),
    "administrator": frozenset(PERMISSIONS) - {"act_as"},
}


def token_permissions(role: Role) -> frozenset[Permission]:
    """What a token of an account with this role may be made for: ``act_as`` is no role's, but whoever may act may be
    given a token with which the commands of a machine say who asked."""
    permissions = ROLE_PERMISSIONS[role]
    return permissions | {"act_as"} if "act" in permissions else permissions


PLACES: Final[tuple[tuple[str, Permission], ...]] = (
    ("/feeds", "inspect"),
    ("/rules", "inspect"),
    ("/quarantine", "inspect"),
    ("/oncall", "inspect"),
    ("/exercises", "inspect"),
    ("/silences", "inspect"),
    ("/accounts", "accounts"),
    ("/access", "oversee"),
)
"""Paths of pages, and under ``/api/v<n>`` those of the API, with what reading them needs."""


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


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request was let in for. ``session`` is the cookie's id, None of a token; ``csrf`` what the session's forms
    and unsafe API calls must carry."""

    person: Person
    session: str | None
    csrf: str


SCOPE_KEY: Final = "tocsin.visitor"
"""Where the middleware leaves the :class:`Visitor` in the ASGI scope."""


class ForbiddenError(HTTPException):
    """The person is known and may not do this; answered as JSON under ``/api``, as a page elsewhere."""

    def __init__(self, person: Person, permission: Permission) -> None:
        super().__init__(403, f"{person.display} ({person.role}) may not: {MEANINGS[permission]}")


def visitor_of(connection: HTTPConnection) -> Visitor:
    """Who the middleware let in.

    Raises:
        HTTPException: 401, nobody; only paths that are open to everybody can see it.
    """
    visitor = connection.scope.get(SCOPE_KEY)
    if not isinstance(visitor, Visitor):
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})
    return visitor


def current_person(request: HTTPConnection) -> Person:
    """FastAPI dependency: the person who asks. In pages ``person: Person = Depends(current_person)``.

    Raises:
        HTTPException: 401, nobody is logged in.
    """
    return visitor_of(request).person


def requires(permission: Permission) -> Callable[[HTTPConnection], Person]:
    """FastAPI dependency, for API routes and NiceGUI pages: the person who asks, who may ``permission``.

    The dependency raises:
        HTTPException: 401, nobody is logged in.
        ForbiddenError: the role, or the token's scope, does not allow it.
    """

    def allowed(request: HTTPConnection) -> Person:
        person = current_person(request)
        if not person.may(permission):
            raise ForbiddenError(person, permission)
        return person

    return allowed


def person_of(source: Any) -> Person:
    """The person behind a request, a websocket, or a NiceGUI client (``ui.context.client``).

    Raises:
        HTTPException: 401, nobody is logged in.
    """
    connection = source if isinstance(source, HTTPConnection) else source.request
    return current_person(connection)


def needed(path: str) -> Permission:
    """The permission without which ``path`` is refused, whatever the method."""
    parts = path.split("/")
    if len(parts) > 2 and parts[1] == "api":
        parts = ["", *parts[3:]] if parts[2][:1] == "v" and parts[2][1:].isdigit() else ["", *parts[2:]]
    first = "/" + parts[1] if len(parts) > 1 else "/"
    return next((permission for place, permission in PLACES if first == place), "view")
