"""What a partner's account is shown of an alert that others take part in. Pure.

Evidence of others is shown when its TLP is CLEAR, GREEN or AMBER; of the rest a partner learns that there is some, from
whom, of which family and when (TLP 2.0: AMBER+STRICT stays within the organisation, RED with its recipients). Where
evidence is held back, so is what was written from it. People of the watch appear by their role, what they wrote down
and alerts that are not the partner's do not appear. Everybody else is shown everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from dashboards.desk.similar import Candidate
from schemas.alerts import Alert, Evidence
from schemas.lifecycle import Action, AlertState

SHOWN_TLP: Final = frozenset({"CLEAR", "GREEN", "AMBER"})
HELD_BACK: Final = "Held back: the marking of this event does not let it be shown to you."
STORY_HELD_BACK: Final = "Held back: this rests on events whose marking does not let them be shown to you."
WATCH: Final = "watch desk"
"""Who acted, when no account has that name: programs, commands of a machine, accounts that were deleted."""
_PLAIN_DETAILS: Final = frozenset({"version", "evidence_total", "verdict", "until", "acknowledged_until", "priority"})
_ALERT_DETAILS: Final = frozenset(
    {"target", "taken_from", "merge", "split", "supersedes", "superseded_by", "inhibited_by"}
)
_NOBODY_IN_PERSON: Final = ("clock", "stream")

Shown = TypeVar("Shown", Alert, AlertState, Action, Candidate)


@dataclass(frozen=True, slots=True)
class Eyes:
    """Whose view it is: that of ``partner``, or with ``None`` of somebody who sees all. ``roles`` are those of the
    accounts by name; ``sees`` says of an alert's id whether that alert may be shown."""

    partner: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    sees: Callable[[str], bool] = lambda _: True


def as_seen(shown: Shown, eyes: Eyes) -> Shown:
    """The same alert, state, action or candidate, with what ``eyes`` must not see blanked."""
    if eyes.partner is None:
        return shown
    if isinstance(shown, Alert):
        return _alert(shown, eyes, eyes.partner)
    if isinstance(shown, AlertState):
        return _state(shown, eyes)
    if isinstance(shown, Candidate):
        return replace(shown, story="")
    return _action(shown, eyes)


def _alert(alert: Alert, eyes: Eyes, partner: str) -> Alert:
    evidence = [each if _is_shown(each, partner) else _blanked(each) for each in alert.evidence]
    changes: dict[str, Any] = {
        "evidence": evidence,
        "supersedes": _ids(alert.supersedes, eyes),
        "superseded_by": _id(alert.superseded_by, eyes),
    }
    left_out = alert.evidence_total > len(alert.evidence) and alert.tlp not in SHOWN_TLP
    if left_out or any(not _is_shown(each, partner) for each in alert.evidence):
        changes |= {
            "story": STORY_HELD_BACK,
            "places": list(dict.fromkeys(each.place for each in evidence if each.place)),
            "countries": list(dict.fromkeys(each.country for each in evidence if each.country)),
            "lat": None,
            "lon": None,
            "explain": {},
        }
    return alert.model_copy(update=changes)


def _is_shown(item: Evidence, partner: str) -> bool:
    return item.partner == partner or item.tlp in SHOWN_TLP


def _blanked(item: Evidence) -> Evidence:
    """Partner, family and time; the rest has the same values whatever the event says."""
    return Evidence(
        event_id="",
        partner=item.partner,
        family=item.family,
        occurred_at=item.occurred_at,
        published_at=item.occurred_at,
        ingested_at=item.occurred_at,
        tlp="RED",
        summary=HELD_BACK,
        rule_id="",
        rule_title="",
        topic="",
        partition=0,
        offset=0,
        confidence=0,
    )


def _state(state: AlertState, eyes: Eyes) -> AlertState:
    changes: dict[str, Any] = {
        "assignee": _role(state.assignee, eyes),
        "acknowledged_by": _role(state.acknowledged_by, eyes),
        "closed_by": _role(state.closed_by, eyes),
        "notes": 0,
        "silences": ["-"] if state.silences else [],
        "group_key": "",
        "inhibited_by": _id(state.inhibited_by, eyes),
        "merged_into": _id(state.merged_into, eyes),
        "superseded_by": _id(state.superseded_by, eyes),
        "merged": _ids(state.merged, eyes),
        "supersedes": _ids(state.supersedes, eyes),
    }
    # A state has no evidence of its own, so that its marking decides, which is the strictest of all its events.
    if state.tlp not in SHOWN_TLP:
        changes |= {"story": STORY_HELD_BACK, "places": [], "countries": [], "lat": None, "lon": None}
    return state.model_copy(update=changes)


def _action(action: Action, eyes: Eyes) -> Action:
    changes: dict[str, Any] = {"details": _details(action.details, eyes)}
    if not eyes.sees(action.alert_id):
        changes["alert_id"] = ""
    if action.via not in _NOBODY_IN_PERSON:
        # Refusals name who was first; texts are notes and reasons.
        changes |= {"by": _role(action.by, eyes), "text": "", "reason": "", "command_id": ""}
    return action.model_copy(update=changes)


def _details(details: Mapping[str, Any], eyes: Eyes) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in details.items():
        if name in _PLAIN_DETAILS:
            kept[name] = value
        elif name == "assignee":
            kept[name] = _role(value, eyes)
        elif name in _ALERT_DETAILS:
            kept[name] = _ids(value, eyes) if isinstance(value, list) else _id(value, eyes)
    return kept


def _role(name: str | None, eyes: Eyes) -> str | None:
    return eyes.roles.get(name, WATCH).replace("_", " ") if name else name


def _id(alert_id: str | None, eyes: Eyes) -> str | None:
    return alert_id if alert_id and eyes.sees(alert_id) else None


def _ids(alert_ids: list[str], eyes: Eyes) -> list[str]:
    return [each for each in alert_ids if eyes.sees(each)]
