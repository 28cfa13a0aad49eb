"""An alert as a row of the queue: what the browser needs to draw it, no more. Pure.

Ages are left to the browser: a row changes only when its alert does, and is sent again only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dashboards.desk.markup import fields_of, in_words
from dashboards.desk.selection import is_watchdog
from dashboards.palette import LEVELS, tlp_label
from schemas.lifecycle import AlertState, Priority

LEVEL_ICONS: Final = {
    "critical": "report",
    "high": "warning",
    "medium": "error_outline",
    "low": "south",
    "informational": "info",
}
"""A shape for each level, so that the colour is never the only sign."""
STATE_NAMES: Final = {
    "open": "Open",
    "acknowledged": "Acknowledged",
    "assigned": "Assigned",
    "in_progress": "In progress",
    "closed": "Closed",
}
VERDICT_NAMES: Final = {
    "true_positive": "True positive",
    "benign": "Benign",
    "false_positive": "False positive",
    "duplicate": "Duplicate",
    "exercise": "Exercise",
}
MAX_STORY: Final = 220

Row = dict[str, Any]


def row_of(state: AlertState) -> Row:
    """The row; values are plain texts, numbers and flags."""
    return {
        "id": state.alert_id,
        "priority": state.priority,
        "why": "; ".join(state.priority_reasons),
        "level": state.level if state.level in LEVELS else "informational",
        "icon": LEVEL_ICONS.get(state.level, "info"),
        "title": state.rule_title,
        "story": story_of(state),
        "where": _joined([place for place in state.places if place] or state.countries),
        "partners": _joined(state.partners),
        "state": STATE_NAMES[state.state],
        "who": who_has(state),
        "until": state.acknowledged_until.isoformat() if state.acknowledged_until else "",
        "raised": state.raised_at.isoformat(),
        "events": state.evidence_total,
        "confidence": state.confidence,
        "tlp": tlp_label(state.tlp),
        "exercise": state.exercise,
        "marks": marks_of(state),
        "notes": state.notes,
        "merged": len(state.merged),
    }


def story_of(state: AlertState) -> str:
    """The story's beginning, without the title that stands above it; empty where it says no more than that."""
    story = state.story.removeprefix(f"{state.rule_title}: ")
    if story == state.rule_title:
        return ""
    story = in_words(story, fields_of(state.group))
    return story if len(story) <= MAX_STORY else story[:MAX_STORY].rsplit(" ", 1)[0] + " …"


def who_has(state: AlertState) -> str:
    """Who has the alert; empty for nobody."""
    if state.state == "closed":
        verdict = VERDICT_NAMES.get(state.verdict or "", "")
        return ", ".join(part for part in (state.closed_by or "", verdict) if part)
    if state.state == "acknowledged":
        return state.acknowledged_by or ""
    return state.assignee or ""


def marks_of(state: AlertState) -> str:
    """Why it would be hidden, in words; empty where nothing holds it back."""
    marks = (
        ("always fires", is_watchdog(state)),
        ("silenced", state.silences),
        ("inhibited", state.inhibited_by),
        ("merged", state.merged_into),
        ("withdrawn", state.withdrawn),
        ("superseded", state.superseded_by),
    )
    return ", ".join(word for word, holds in marks if holds)


def _joined(values: Iterable[str], most: int = 3) -> str:
    distinct = list(dict.fromkeys(values))
    rest = f" +{len(distinct) - most}" if len(distinct) > most else ""
    return ", ".join(distinct[:most]) + rest


def counts_text(counts: Mapping[Priority, int]) -> str:
    """``3 P1, 12 P2``; ``nothing`` where all are 0."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"
