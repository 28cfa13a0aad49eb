"""A page's messages are taken from sockets of its own person only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client, core

from dashboards.desk.auth import binding
from dashboards.desk.auth.permissions import SCOPE_KEY, Visitor
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person


def scope(name: str, role: Any = "watch_officer") -> dict[str, Any]:
    return {SCOPE_KEY: Visitor(Person(name, role, name, ROLE_PERMISSIONS[role]), "s", "c")}


@pytest.mark.parametrize(
    ("environ", "taken"),
    [
        ({"asgi.scope": scope("ana")}, True),
        ({"asgi.scope": scope("bo")}, False),
        ({"asgi.scope": scope("ana", "oversight")}, False),
        ({"asgi.scope": {}}, False),
        (None, False),
    ],
)
async def test_only_the_pages_person_is_heard(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, Any] | None, taken: bool
) -> None:
    heard, closed = [], []
    page = SimpleNamespace(request=SimpleNamespace(scope=scope("ana")))
    monkeypatch.setitem(Client.instances, "page", page)  # type: ignore[arg-type]

    async def disconnect(sid: str) -> None:
        closed.append(sid)

    sio = SimpleNamespace(get_environ=lambda _: environ, disconnect=disconnect)
    monkeypatch.setattr(core, "sio", sio)
    handler = binding._checked("event", lambda sid, data: heard.append(sid))
    await handler("1", {"client_id": "page"})
    assert (heard, closed) == ((["1"], []) if taken else ([], ["1"]))


def test_every_message_that_names_a_page_is_bound() -> None:
    binding.bind_clients()
    handlers = core.sio.handlers["/"]
    assert {name for name in handlers if name != "disconnect"} == {"connect", *binding.NAMED}
    assert all(hasattr(handlers[name], "_tocsin_bound") for name in ("connect", *binding.NAMED))
