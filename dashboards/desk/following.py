"""How an open page follows the log: while a browser shows it, and not before or after."""

from __future__ import annotations

from nicegui import Client

from dashboards.desk.live import Keys, Live, Subscriber


def follow(client: Client, live: Live, changed: Subscriber, *kinds: str) -> None:
    """Tell ``changed`` of changes of these kinds until the page is forgotten. What changes while no browser is
    connected is told, each key once, when one is.

    A page that nobody looks at any more is kept for half a minute, in case its browser comes back. In a storm of alerts
    a few dozen of those would ask and draw as much as those that people look at.
    """
    missed: dict[str, Keys] = {}

    def hear(kind: str, keys: Keys) -> None:
        if client.has_socket_connection:
            changed(kind, keys)
        else:
            missed.setdefault(kind, {}).update(keys)

    def catch_up() -> None:
        known = dict(missed)
        missed.clear()
        for kind, keys in known.items():
            changed(kind, keys)

    client.on_connect(catch_up)
    client.on_delete(live.subscribe(hear, *kinds))
