"""The access log in the JSON API: who looked at what, for oversight."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import AwareDatetime, BaseModel
from starlette.concurrency import run_in_threadpool

from dashboards.desk.access_queries import MAX_ENTRIES, AccessCursorError, AccessFilter, accesses
from dashboards.desk.auth.permissions import requires
from dashboards.desk.desk import Desk


class Access(BaseModel):
    """One view, action, login or refusal. ``partner`` is that of a partner's account, else empty."""

    at: datetime
    person: str
    role: str
    partner: str
    what: str
    target: str
    allowed: bool
    via: str
    address: str
    detail: str


class AccessList(BaseModel):
    """The latest first; ``next`` is the cursor of the part behind it, absent at the end."""

    entries: list[Access]
    next: str | None = None


def router(desk: Desk) -> APIRouter:
    """The endpoint ``/access``."""
    made = APIRouter(tags=["oversight"], dependencies=[Depends(requires("oversee"))])

    @made.get("/access")
    async def list_accesses(
        person: str = "",
        what: Annotated[str, Query(description="view, change, login, logout, account add, ...")] = "",
        target: Annotated[str, Query(description="a part of the path or the account")] = "",
        alert: Annotated[str, Query(description="an alert's id; its earlier ids are looked for too")] = "",
        partner: Annotated[str, Query(description="only accounts of this partner")] = "",
        since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to", description="not included")] = None,
        allowed: Annotated[bool | None, Query(description="false: only what was refused")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 100,
        cursor: Annotated[str, Query(description="next of the part before")] = "",
    ) -> AccessList:
        """Who looked at what, did what, and was refused what, the latest first, a part at a time."""
        choice = AccessFilter(person, what, target, alert, partner, allowed, since, until)
        try:
            found = await run_in_threadpool(accesses, desk.store, choice, limit=limit, cursor=cursor)
        except AccessCursorError as error:
            raise HTTPException(400, str(error)) from error
        return AccessList.model_validate(found, from_attributes=True)

    return made
