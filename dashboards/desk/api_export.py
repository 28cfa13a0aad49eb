"""An alert as a file for other systems, in the JSON API and behind the links on its page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from dashboards.alerts import UnknownAlertError
from dashboards.desk.auth.permissions import requires
from dashboards.desk.desk import Desk
from dashboards.exports import MEDIA_TYPES, SUFFIXES, Format, exported


def router(desk: Desk) -> APIRouter:
    """``GET alerts/ID/export``. Not for partners: it holds what other partners said."""
    made = APIRouter(tags=["alerts"], dependencies=[Depends(requires("inspect"))])

    @made.get("/alerts/{alert_id}/export", response_class=Response)
    async def export(alert_id: str, wanted: Annotated[Format, Query(alias="format")]) -> Response:
        """The alert as a STIX 2.1 bundle or a CAP 1.2 message, marked with the strictest TLP level of its evidence."""
        settings = desk.settings
        try:
            content = await run_in_threadpool(exported, settings, desk.store, alert_id, wanted, settings.cap_sender)
        except UnknownAlertError as error:
            raise HTTPException(404, str(error)) from error
        name = f"alert-{alert_id[:13]}.{SUFFIXES[wanted]}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=MEDIA_TYPES[wanted], headers=headers)

    return made
