"""How an open page follows the log: while a browser shows it, and not before or after."""

from __future__ import annotations

from nicegui import Client

from dashboards.desk.live import Live, Subscriber


def follow(client: Client, live: Live, changed: Subscriber) -> None:
    """Tell ``changed`` of changes until the page is forgotten. What changes while no browser is connected is told, each
    (kind, key) once, when one is.

    A page that nobody looks at any more is kept for half a minute, in case its browser comes back. In a storm of alerts
    a few dozen of those would ask and draw as much as those that people look at.
    """
    missed: dict[tuple[str, str], None] = {}

    def hear(kind: str, key: str) -> None:
        if client.has_socket_connection:
            changed(kind, key)
        else:
            missed[kind, key] = None

    def catch_up() -> None:
        known = list(missed)
        missed.clear()
        for kind, key in known:
            changed(kind, key)

    client.on_connect(catch_up)
    client.on_delete(live.subscribe(hear))
