"""The single keys with which alerts are worked, the same on every page. The browser's half is ``static/keys.js``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from dashboards.desk.frame import heading, text
from schemas.lifecycle import Verb

VERBS: Final[dict[str, Verb]] = {
    "a": "acknowledge",
    "x": "assign",
    "n": "note",
    "s": "silence",
    "c": "close",
}
MOVES: Final = (("j / k", "next, previous alert"), ("Enter", "open it"), ("/", "search"))
"""Keys of the queue alone, which the browser carries out by itself."""
ACTS: Final = (
    ("a", "acknowledge it for 30 minutes"),
    ("x", "assign it to me"),
    ("n", "add a note"),
    ("s", "silence alerts like it"),
    ("c", "close it"),
    ("?", "this list"),
)


def listen(do: Callable[[Verb, str], Awaitable[None]], *, moves: bool = False) -> None:
    """Call ``do`` with the verb of each key pressed on this page and the alert's id, empty where the page has but one.

    With ``moves`` the list of keys names those of the queue as well.
    """

    async def pressed(event: GenericEventArguments) -> None:
        key = str(event.args.get("key", ""))
        if key == "?":
            _help((*MOVES, *ACTS) if moves else ACTS)
        elif (verb := VERBS.get(key)) is not None:
            await do(verb, str(event.args.get("id", "")))

    ui.add_head_html(f'<meta name="desk-keys" content="{"".join(VERBS)}?">')
    ui.on("desk_key", pressed)


def _help(keys: tuple[tuple[str, str], ...]) -> None:
    with ui.dialog() as dialog, ui.element("div").classes("desk-dialog"):
        dialog.props('aria-label="Keys"')
        heading("Keys")
        with ui.element("dl").classes("keys"):
            for key, what in keys:
                with ui.element("dt"):
                    text("kbd", key)
                text("dd", what)
        text("p", "The switch 'Keys' at the top turns them off.").classes("soft")
        ui.button("Close", on_click=dialog.close).props("flat no-caps autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()
