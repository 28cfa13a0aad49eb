"""Ties a page to the person whom it was made for: nobody else's socket may take it over or act on it.

NiceGUI knows a page by its client's id alone and takes events for it from any socket. Whoever learned the id of an
open page, or logged in as somebody else in another tab, would act with the rights of the person who opened it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

from nicegui import Client, core

from dashboards.desk.auth.permissions import SCOPE_KEY, Visitor

NAMED: Final = ("handshake", "event", "javascript_response", "ack", "log")
"""Socket.IO messages that say by ``client_id`` which page they are about."""
_BOUND: Final = "_tocsin_bound"

log = logging.getLogger(__name__)


def is_owner(environ: dict[str, Any] | None, client: Any) -> bool:
    """Whether the socket with this environment belongs to the person for whom the page was made."""
    scope = (environ or {}).get("asgi.scope") or {}
    visitor, owner = scope.get(SCOPE_KEY), client.request.scope.get(SCOPE_KEY)
    return isinstance(visitor, Visitor) and isinstance(owner, Visitor) and visitor.person == owner.person


def bind_clients() -> None:
    """Check every message of every socket; once a process, after NiceGUI is set up."""
    handlers = core.sio.handlers["/"]
    for name in ("connect", *NAMED):
        if not hasattr(handlers[name], _BOUND):
            handlers[name] = _checked(name, handlers[name])


def _checked(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    async def checked(sid: str, data: Any = None, *more: Any) -> Any:
        client = Client.instances.get(_client_id(name, data))
        if client is not None and not is_owner(core.sio.get_environ(sid), client):
            log.warning("a socket of somebody else asked for an open page and is closed (%s)", name)
            if name == "connect":
                return False
            await core.sio.disconnect(sid)
            return False
        made = handler(sid, data, *more)
        return await made if hasattr(made, "__await__") else made

    setattr(checked, _BOUND, True)
    return checked


def _client_id(name: str, data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    if name == "connect":
        return next(iter(parse_qs(str(data.get("QUERY_STRING", ""))).get("client_id", [])), "")
    return str(data.get("client_id", ""))
