"""Where Grafana tells of the platform: its alerting's webhook, which the contact point ``Tocsin`` calls."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel

from dashboards.desk.auth.permissions import requires
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.platform_alerts import NotPublishedError
from processors.grafana_alerts import GrafanaNotification

Reporter = Annotated[Person, Depends(requires("report"))]


class Told(BaseModel):
    """An alert that was raised or taken back."""

    alert_id: str
    status: Literal["open", "retracted"]


class Taken(BaseModel):
    """What came of a notification; ``unchanged`` alerts were told before."""

    told: list[Told]
    unchanged: int


def router(desk: Desk) -> APIRouter:
    """The endpoint ``/platform-alerts``."""
    made = APIRouter(tags=["platform"])

    @made.post("/platform-alerts", responses={503: {"description": "Nothing published; send it again"}})
    async def take(notification: GrafanaNotification, person: Reporter) -> Taken:
        """Take Grafana's notification: one platform alert for each firing, retracted when it is resolved."""
        try:
            found = await desk.platform_alerts.take(notification.alerts)
        except NotPublishedError as error:
            raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
        told = [Told.model_validate(each, from_attributes=True) for each in found]
        return Taken(told=told, unchanged=len(notification.alerts) - len(told))

    return made
