"""What may be done to an alert in which state, and what it becomes.

The table :data:`TRANSITIONS` is the whole machine; what is not in it is refused.

| in          | acknowledge  | unacknowledge | assign   | start       | close  | reopen | note, merge, split |
| ----------- | ------------ | ------------- | -------- | ----------- | ------ | ------ | ------------------ |
| open        | acknowledged |               | assigned | in_progress | closed |        | stays              |
| acknowledged| (renewed)    | open          | assigned | in_progress | closed |        | stays              |
| assigned    |              | open          | assigned | in_progress | closed |        | stays              |
| in_progress |              | open          | assigned |             | closed |        | stays              |
| closed      |              |               |          |             |        | open   | note only          |

Closing an alert closes what was merged into it. A withdrawn or superseded alert takes notes only. An acknowledgement
expires into open; evidence that grows may reopen a closed alert (see ``engine.py``).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args

from schemas.lifecycle import AlertState, Command, State, Verb, Verdict

ACKNOWLEDGED_FOR_S = 30 * 60
"""How long an acknowledgement holds when the command does not say."""

_STAYS: dict[Verb, State | None] = {"note": None, "merge": None, "split": None}
TRANSITIONS: dict[State, dict[Verb, State | None]] = {
    "open": {
        "acknowledge": "acknowledged",
        "assign": "assigned",
        "start": "in_progress",
        "close": "closed",
        **_STAYS,
    },
    "acknowledged": {
        "acknowledge": "acknowledged",
        "unacknowledge": "open",
        "assign": "assigned",
        "start": "in_progress",
        "close": "closed",
        **_STAYS,
    },
    "assigned": {
        "unacknowledge": "open",
        "assign": "assigned",
        "start": "in_progress",
        "close": "closed",
        **_STAYS,
    },
    "in_progress": {
        "unacknowledge": "open",
        "assign": "assigned",
        "close": "closed",
        **_STAYS,
    },
    "closed": {"reopen": "open", "note": None},
}
"""State after each verb that is allowed in a state; None: it stays."""


def phase(state: AlertState | State) -> str:
    """The state in one word, ``withdrawn`` and ``superseded`` among them."""
    if isinstance(state, str):
        return state
    if state.superseded_by is not None:
        return "superseded"
    return "withdrawn" if state.withdrawn else state.state


def allowed(state: AlertState | State) -> tuple[Verb, ...]:
    """The verbs that a person may use on the alert now."""
    now = phase(state)
    if now in ("superseded", "withdrawn"):
        return ("note",)
    verbs = tuple(TRANSITIONS[now])  # type: ignore[index]
    if isinstance(state, AlertState):
        verbs = tuple(verb for verb in verbs if verb != ("split" if state.merged_into is None else "merge"))
    return verbs


def refusal(state: AlertState) -> str:
    """Why a verb that is not allowed was refused."""
    now = phase(state)
    if state.superseded_by is not None:
        now += f" by {state.superseded_by}"
    elif state.merged_into is not None:
        now += f", merged into {state.merged_into}"
    return f"the alert is {now}; allowed: {', '.join(allowed(state))}"


def refused(command: Command, state: AlertState) -> str:
    """Why the command cannot be done to the alert, whatever happens to others; empty when it can."""
    if command.verb not in allowed(state):
        return refusal(state)
    if command.verb == "close" and command.verdict is None:
        return f"close needs a verdict: {', '.join(get_args(Verdict))}"
    if command.verb == "assign" and not command.assignee:
        return "assign needs an assignee: who is to work on it?"
    if command.verb == "note" and not command.text.strip():
        return "a note needs a text"
    return ""


def change(command: Command, state: AlertState, now: dt.datetime) -> dict[str, Any]:
    """Fields of the state that an allowed command changes, beside the revision."""
    verb = command.verb
    if verb == "note":
        return {"notes": state.notes + 1}
    after = TRANSITIONS[state.state].get(verb)
    if after is None:
        return {}
    fields: dict[str, Any] = {"state": after, "acknowledged_until": None}
    if verb == "acknowledge":
        fields["acknowledged_until"] = now + dt.timedelta(seconds=command.for_s or ACKNOWLEDGED_FOR_S)
        fields["acknowledged_by"] = command.by
    elif verb == "unacknowledge":
        fields |= {"acknowledged_by": None, "assignee": None}
    elif verb == "assign":
        fields["assignee"] = command.assignee
    elif verb == "start":
        fields["assignee"] = state.assignee or command.by
    elif verb == "close":
        fields |= {"verdict": command.verdict, "closed_at": now, "closed_by": command.by}
    elif verb == "reopen":
        fields |= REOPENED
    return fields


REOPENED: dict[str, Any] = {
    "state": "open",
    "verdict": None,
    "closed_at": None,
    "closed_by": None,
    "acknowledged_until": None,
    "acknowledged_by": None,
}
"""What reopening changes. The assignee stays: who worked on it knows it best."""
