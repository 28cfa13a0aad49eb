"""What each place of the desk needs, and who asks there.

A role is a set of permissions (``roles.py``). ``PLACES`` says which permission a path needs; the middleware enforces it
before any page or API code runs, and ``requires`` says it again where the code is. What is not listed needs ``view``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from dashboards.desk.auth.roles import MEANINGS, Permission, Person

PLACES: Final[tuple[tuple[str, Permission], ...]] = (
    ("/feeds", "inspect"),
    ("/rules", "inspect"),
    ("/quarantine", "inspect"),
    ("/oncall", "inspect"),
    ("/exercises", "inspect"),
    ("/silences", "inspect"),
    ("/runbooks", "inspect"),
    ("/accounts", "accounts"),
    ("/access", "oversee"),
    ("/platform-alerts", "report"),
)
"""Paths of pages, and under ``/api/v<n>`` those of the API, with what reading them needs."""


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
