"""The JSON API under ``/api/v1``: alerts and what may be asked of them, for programs and ``tocsin alerts``.

A partner's account sees alerts of its partner only, as ``partner_view`` has them; what it may not see does not exist
for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from dashboards.desk import api_access, api_export, api_operations, api_platform_alerts, api_silences, queries
from dashboards.desk.answers import ANSWERS, By, acting, answered
from dashboards.desk.auth.permissions import requires
from dashboards.desk.auth.roles import Person
from dashboards.desk.commands import command
from dashboards.desk.desk import Desk
from dashboards.desk.history import actions_of, ids_of
from dashboards.desk.partner_view import as_seen
from dashboards.desk.selection import Choice, CursorError, Kept, Order, Which, after, cursor_of, parse, select
from dashboards.desk.sse import events
from schemas.alerts import Alert
from schemas.lifecycle import Action, AlertState, Priority, Verb, Verdict

MAX_LIMIT: Final = 500
ALERT_VERBS: Final = tuple(verb for verb in get_args(Verb) if verb not in ("silence", "expire_silence"))

Viewer = Annotated[Person, Depends(requires("view"))]
Actor = Annotated[Person, Depends(requires("act"))]


class AlertList(BaseModel):
    """``next`` is the cursor of the next part, absent at the end. ``counts`` are of all parts, by priority;
    ``held_back`` alerts are silenced, inhibited or merged, and in the list only with ``hidden=1``."""

    alerts: list[AlertState]
    counts: dict[Priority, int]
    held_back: int
    next: str | None = None


class AlertDetail(BaseModel):
    """``state`` is what people made of it (absent until the lifecycle worker has taken it in), ``record`` the alert as
    the correlation worker told it, with its evidence (absent while the store has none)."""

    state: AlertState | None
    record: Alert | None


class Asked(BaseModel):
    """What to do to an alert. With ``revision``, that of the state as you saw it, the request is refused when somebody
    else was first."""

    model_config = ConfigDict(extra="forbid")

    verb: Annotated[str, Field(json_schema_extra={"enum": list(ALERT_VERBS)})]
    revision: int | None = None
    for_s: int | None = Field(default=None, ge=1, le=86_400)
    assignee: str | None = Field(default=None, min_length=1, max_length=100)
    verdict: Verdict | None = None
    target: str | None = Field(default=None, min_length=1, max_length=100)
    text: str = Field(default="", max_length=10_000)
    by: By = None


def router(desk: Desk) -> APIRouter:
    """Every endpoint of version 1."""
    made = APIRouter(prefix="/api/v1")
    made.include_router(_alerts(desk))
    made.include_router(api_export.router(desk))
    made.include_router(api_silences.router(desk))
    made.include_router(api_operations.router(desk))
    made.include_router(api_access.router(desk))
    made.include_router(api_platform_alerts.router(desk))
    return made


def _alerts(desk: Desk) -> APIRouter:
    made = APIRouter(tags=["alerts"])

    @made.get("/alerts")
    async def list_alerts(
        request: Request,
        person: Viewer,
        state: Which = "active",
        priority: Annotated[str, Query(description="P1 to P4, several with commas")] = "",
        level: Annotated[str, Query(description="the lowest level listed")] = "",
        partner: str = "",
        family: str = "",
        country: str = "",
        assignee: Annotated[str, Query(description="a name; - for alerts that nobody has")] = "",
        exercise: Kept = "all",
        q: Annotated[str, Query(description="words that must all occur")] = "",
        hidden: Annotated[bool, Query(description="also silenced, inhibited and merged ones")] = False,
        order: Order = "oldest",
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
        cursor: Annotated[str, Query(description="next of the part before")] = "",
    ) -> AlertList:
        """Alerts by priority and age, a part at a time."""
        query = dict(request.query_params) | {"hidden": "1" if hidden else ""}
        choice = parse(query)
        _check_known(choice, priority, level)
        # What is looked for and in which order must not tell what is not shown.
        eyes = desk.eyes(person)
        seen = (as_seen(each, eyes) for each in desk.live.states.values() if person.sees(each.partners))
        found = select(seen, choice, lambda _: True)
        try:
            rest = after(found.states, cursor, order) if cursor else found.states
        except CursorError as error:
            raise HTTPException(400, str(error)) from error
        part = rest[:limit]
        more = cursor_of(part[-1], order) if len(rest) > limit else None
        return AlertList(alerts=part, counts=found.counts, held_back=found.held_back, next=more)

    @made.get("/alerts/{alert_id}")
    async def one_alert(alert_id: str, person: Viewer) -> AlertDetail:
        """One alert: its state and its record."""
        record = await run_in_threadpool(desk.store.alert, alert_id)
        state = await state_of(desk, alert_id)
        partners = state.partners if state else record.partners if record else None
        if partners is None or not person.sees(partners):
            raise _unknown(alert_id)
        eyes = desk.eyes(person)
        return AlertDetail(state=state and as_seen(state, eyes), record=record and as_seen(record, eyes))

    @made.get("/alerts/{alert_id}/actions")
    async def alert_actions(alert_id: str, person: Viewer) -> list[Action]:
        """What was done to an alert and what was refused, under earlier ids too, oldest first."""
        state = await state_of(desk, alert_id)
        if state is None or not person.sees(state.partners):
            raise _unknown(alert_id)
        eyes = desk.eyes(person)
        return await actions_of(desk, eyes, await ids_of(desk, eyes, alert_id, state.supersedes))

    @made.post("/alerts/{alert_id}/commands", response_model=Action, responses=ANSWERS)
    async def ask(alert_id: str, asked: Asked, person: Actor) -> Any:
        """Ask for something and get what became of it: 200 done, 409 refused with the reason, 504 no answer."""
        if asked.verb not in ALERT_VERBS:
            raise HTTPException(422, f"'{asked.verb}' is no verb; use one of: {', '.join(ALERT_VERBS)}")
        state = await state_of(desk, alert_id)
        if state is None or not person.sees(state.partners):
            raise _unknown(alert_id)
        fields = asked.model_dump(exclude={"verb", "by"})
        now = datetime.now(UTC)
        verb: Verb = asked.verb  # type: ignore[assignment]
        return await answered(desk.commands, command(verb, alert_id, at=now, **acting(person, asked.by), **fields))

    @made.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def alert_events(
        person: Viewer, last_event_id: Annotated[str | None, Header(description="go on behind that event")] = None
    ) -> StreamingResponse:
        """Server-sent events: event ``alert`` with an AlertState for every change, from now on or behind
        Last-Event-ID; a comment every 15 seconds."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        eyes = desk.eyes(person)
        stream = events(
            desk.live,
            lambda each: person.sees(each.partners),
            last_event_id,
            shown=lambda each: as_seen(each, eyes),
        )
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return made


async def state_of(desk: Desk, alert_id: str) -> AlertState | None:
    """The state, from memory, else from the store, which keeps what the log has forgotten.

    Raises:
        StoreAwayError: it is not in memory and the store does not answer.
    """
    known = desk.live.states.get(alert_id)
    return known or await run_in_threadpool(queries.state, desk.store, alert_id)


def _check_known(choice: Choice, priority: str, level: str) -> None:
    """Pages overlook what is not known; programs are told."""
    unknown = [each for each in priority.split(",") if each and each not in choice.priority]
    if unknown:
        raise HTTPException(422, f"'{unknown[0]}' is no priority; use P1, P2, P3, P4")
    if level and not choice.level:
        raise HTTPException(422, f"'{level}' is no level; use critical, high, medium, low, informational")


def _unknown(alert_id: str) -> HTTPException:
    return HTTPException(404, f"no alert has the id '{alert_id}'")
