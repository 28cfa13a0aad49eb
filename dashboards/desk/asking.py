"""Carries out what a person asks of an alert on a page, and tells them what became of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from nicegui import Client, ui

from dashboards.desk.auth.roles import Permission, Person
from dashboards.desk.commands import NoAnswerError, command
from dashboards.desk.desk import Desk
from dashboards.explain import age
from schemas.lifecycle import Action, AlertState, Silence, Verb

DONE: Final[dict[str, str]] = {
    "acknowledge": "acknowledged",
    "unacknowledge": "given back",
    "assign": "assigned",
    "start": "taken into work",
    "note": "noted",
    "close": "closed",
    "reopen": "reopened",
    "merge": "merged",
    "split": "split off",
    "silence": "silenced",
    "expire_silence": "unsilenced",
}

log = logging.getLogger(__name__)


def permission_for(verb: Verb) -> Permission:
    """What one needs in order to ask for it."""
    return "silence" if verb in ("silence", "expire_silence") else "act"


def refused_text(action: Action, seen: int | None, actions: Sequence[Action]) -> str:
    """Why a request was refused, and by whom the alert was changed since revision ``seen``.

    ``actions`` are the latest of all alerts, oldest first.
    """
    others = (each for each in reversed(actions) if each.alert_id == action.alert_id and each.accepted)
    last = next((each for each in others if seen is not None and each.revision > seen), None)
    if last is None:
        return f"Not done: {action.reason}"
    did = DONE.get(last.verb, last.verb)
    return f"Not done: {last.by} was first ({did} {age(last.at, action.at)} ago). {action.reason}"


@dataclass(frozen=True)
class Asker:
    """One person on one page. Use on the event loop."""

    desk: Desk
    person: Person
    client: Client

    def may(self, verb: Verb) -> bool:
        """Whether the person's role allows it; what is not allowed is not offered."""
        return self.person.may(permission_for(verb))

    async def ask(self, verb: Verb, state: AlertState, **fields: Any) -> Action | None:
        """Ask for something about the alert as the person saw it, and say what became of it.

        Returns:
            The action, accepted or refused; ``None`` when it was not allowed or nobody answered.
        """
        fields = {"revision": state.revision, **fields}
        return await self._send(verb, state.alert_id, state.rule_title, fields)

    async def silence(self, silence: Silence) -> Action | None:
        """Set a silence."""
        return await self._send("silence", "", silence.reason, {"silence": silence})

    async def expire(self, silence_id: str, why: str) -> Action | None:
        """End a silence now."""
        return await self._send("expire_silence", "", why, {"silence_id": silence_id, "text": why})

    async def _send(self, verb: Verb, alert_id: str, about: str, fields: dict[str, Any]) -> Action | None:
        if not self.may(verb):
            self.refuse(verb)
            return None
        asked = command(verb, alert_id, self.person.name, datetime.now(UTC), **fields)
        try:
            action = await self.desk.commands.ask(asked)
        except NoAnswerError as error:
            self.say(str(error), "negative")
            return None
        if action.accepted:
            self.say(f"{DONE[verb].capitalize()}: {about}", "positive")
        else:
            self.say(refused_text(action, asked.revision, self.desk.live.actions), "warning")
        return action

    def refuse(self, verb: Verb) -> None:
        """Say that the person's role does not allow it."""
        self.say(f"Your role does not allow this (it needs the permission '{permission_for(verb)}').", "negative")

    def say(self, message: str, kind: str = "info") -> None:
        """Show a message on this page."""
        say(self.client, message, kind)


def say(client: Client, message: str, kind: str = "info") -> None:
    """Show a message on a page, and have it read aloud."""
    with client:
        # Quasar gives notifications the role alert; what was refused stays until it is put away.
        ui.notify(
            message,
            type=kind,  # type: ignore[arg-type]
            position="bottom",
            timeout=3_000 if kind == "positive" else 0,
            close_button=False if kind == "positive" else "Put away",
            multi_line=True,
        )
