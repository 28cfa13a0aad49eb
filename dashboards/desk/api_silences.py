"""Silences in the JSON API: list, set, end, and what one would have hidden."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from dashboards.desk.answers import ANSWERS, By, acting, answered
from dashboards.desk.auth.permissions import requires
from dashboards.desk.auth.roles import Person
from dashboards.desk.commands import command
from dashboards.desk.desk import Desk
from dashboards.desk.scope import preview
from processors.lifecycle.matchers import MatcherError, check
from schemas.lifecycle import Action, Matcher, Priority, Silence

Inspector = Annotated[Person, Depends(requires("inspect"))]
Silencer = Annotated[Person, Depends(requires("silence"))]
MAX_AHEAD: Final = timedelta(days=90)


class BoundedMatcher(Matcher):
    """A matcher as one may be sent: the worker holds each against every alert."""

    field: Annotated[str, Field(max_length=100)]
    value: Annotated[str, Field(max_length=1_000)]


Matchers = Annotated[list[BoundedMatcher], Field(min_length=1, max_length=20, description="all of them must hold")]


class NewSilence(BaseModel):
    """A silence to set, from now on or from ``starts_at``, until at most 90 days ahead. With ``partner`` it is a
    maintenance window."""

    model_config = ConfigDict(extra="forbid")

    matchers: Matchers
    reason: Annotated[str, Field(min_length=3, max_length=2_000)]
    ends_at: AwareDatetime
    starts_at: AwareDatetime | None = None
    partner: Annotated[str, Field(max_length=100)] | None = None
    by: By = None


class Wanted(BaseModel):
    """The scope to look at; with ``partner``, alerts about its feed as well."""

    model_config = ConfigDict(extra="forbid")

    matchers: Matchers
    partner: Annotated[str, Field(max_length=100)] | None = None


class ScopePreview(BaseModel):
    """What the matchers would have hidden in the last 7 days; ids and titles are the latest first, at most 20.
    ``complete`` is false when not all could be looked at: the store did not answer, or has too many."""

    total: int
    active: int
    counts: dict[Priority, int]
    alert_ids: list[str]
    titles: list[str]
    complete: bool


def router(desk: Desk) -> APIRouter:
    """The endpoints below ``/silences``."""
    made = APIRouter(prefix="/silences", tags=["silences"])

    @made.get("")
    async def list_silences(
        person: Inspector, expired: Annotated[bool, Query(description="also those that are over")] = False
    ) -> list[Silence]:
        """Silences that hold or are to come, what ends first first."""
        now = datetime.now(UTC)
        found = [each for each in desk.live.silences.values() if expired or each.ends_at > now]
        return sorted(found, key=lambda each: (each.ends_at, each.silence_id))

    @made.post("", response_model=Action, responses=ANSWERS)
    async def set_silence(wanted: NewSilence, person: Silencer) -> Any:
        """Set a silence; the action's details have its id."""
        _check(wanted.matchers)
        now = datetime.now(UTC)
        starts_at = wanted.starts_at or now
        if wanted.ends_at <= max(now, starts_at):
            raise HTTPException(422, "ends_at must lie ahead of now and of starts_at")
        if wanted.ends_at > now + MAX_AHEAD:
            raise HTTPException(422, "ends_at lies more than 90 days ahead: set a shorter silence and renew it")
        who = acting(person, wanted.by)
        silence = Silence(
            silence_id=str(uuid.uuid4()),
            author=who["by"],
            created_at=now,
            **(wanted.model_dump(exclude={"by"}) | {"starts_at": starts_at}),
        )
        asked = command("silence", "", at=now, **who, silence=silence, text=wanted.reason)
        return await answered(desk.commands, asked)

    @made.delete("/{silence_id}", response_model=Action, responses=ANSWERS)
    async def end_silence(
        silence_id: str, person: Silencer, why: Annotated[str, Query(max_length=2_000)] = "", by: By = None
    ) -> Any:
        """End a silence now."""
        if silence_id not in desk.live.silences:
            raise HTTPException(404, f"no silence has the id '{silence_id}'")
        now = datetime.now(UTC)
        asked = command("expire_silence", "", at=now, **acting(person, by), silence_id=silence_id, text=why)
        return await answered(desk.commands, asked)

    @made.post("/preview")
    async def preview_silence(wanted: Wanted, person: Silencer) -> ScopePreview:
        """What a silence would have hidden in the last 7 days."""
        _check(wanted.matchers)
        known = [each for each in desk.live.states.values() if person.sees(each.partners)]
        now = datetime.now(UTC)
        found = await run_in_threadpool(preview, desk.store, wanted.matchers, wanted.partner, now, known=known)
        return ScopePreview.model_validate(found, from_attributes=True)

    return made


def _check(matchers: Sequence[Matcher]) -> Any:
    try:
        check(matchers)
    except MatcherError as error:
        raise HTTPException(422, str(error)) from error
