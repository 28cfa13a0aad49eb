"""How urgent an alert is, and why, in words a watch officer reads.

The level says where to begin (critical P1, high P2, medium P3, else P4). Three or more partners that saw it, or two
with a confidence of 80 and more, and a hit on a watchlist each raise it by one; a confidence below 30 lowers it by one.
An exercise is P4 whatever it plays, so that no drill is worked on before the real thing.
"""

from __future__ import annotations

from collections.abc import Collection

from schemas.lifecycle import PRIORITIES, Priority

WATCHLIST_FAMILY = "watchlist_entry"
MANY_PARTNERS = 3
SURE = 80
DOUBTFUL = 30
_BEGIN = {"critical": 0, "high": 1, "medium": 2}


def priority(
    level: str,
    confidence: int,
    partners: Collection[str],
    families: Collection[str],
    tags: Collection[str],
    exercise: bool,
) -> tuple[Priority, list[str]]:
    """The priority and its reasons, the weightiest first. ``confidence`` is 0 to 100, ``partners`` are distinct ids."""
    rank = _BEGIN.get(level, 3)
    reasons = [f"level {level}"]
    seen_by = len(set(partners))
    if seen_by >= MANY_PARTNERS:
        rank -= 1
        reasons.append(f"raised: seen by {seen_by} partners")
    elif seen_by == 2 and confidence >= SURE:
        rank -= 1
        reasons.append(f"raised: seen by 2 partners, with confidence {confidence}")
    if on_watchlist(families, tags):
        rank -= 1
        reasons.append("raised: a watchlist hit")
    if confidence < DOUBTFUL:
        rank += 1
        reasons.append(f"lowered: confidence {confidence} is below {DOUBTFUL}")
    found = PRIORITIES[min(max(rank, 0), 3)]
    if exercise:
        return "P4", [f"exercise: it would be {found} if it were live", *reasons]
    return found, reasons


def on_watchlist(families: Collection[str], tags: Collection[str]) -> bool:
    """Whether a watchlist entry is among the evidence, or the rule is about one (a tag ending in ``watchlist``)."""
    return WATCHLIST_FAMILY in families or any(tag.rsplit(".", 1)[-1] == "watchlist" for tag in tags)
