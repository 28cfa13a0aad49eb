"""Colours and names of what alerts have, in one place for Grafana, the web page and the console.

TLP names and colours follow the Traffic Light Protocol 2.0 (FIRST, 2022). ``LEVELS`` are Sigma's, most severe first.
Each level colour has at least 4.5:1 contrast against the dark backgrounds used here (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

from typing import Final

from schemas import alerts

LEVELS: Final[tuple[str, ...]] = tuple(reversed(alerts.LEVELS))

LEVEL_COLOURS: Final[dict[str, str]] = {
    "critical": "#ff6b81",
    "high": "#ff9f43",
    "medium": "#ffd43b",
    "low": "#4dabf7",
    "informational": "#a5b1c2",
}

EXERCISE_COLOUR: Final = "#b197fc"

FINE_COLOUR: Final = "#51cf66"

KIND_COLOURS: Final[dict[str, str]] = {"EXERCISE": EXERCISE_COLOUR, "live": "text"}
"""Of the text that marks a drill; ``text`` is Grafana's own colour of text."""

OUTCOME_COLOURS: Final[dict[str, str]] = {
    "sent": FINE_COLOUR,
    "retry": LEVEL_COLOURS["medium"],
    "rate_limited": LEVEL_COLOURS["low"],
    "failed": LEVEL_COLOURS["critical"],
}
"""Of an attempt to deliver a notification."""

PRIORITY_COLOURS: Final[dict[str, str]] = {
    "P1": LEVEL_COLOURS["critical"],
    "P2": LEVEL_COLOURS["high"],
    "P3": LEVEL_COLOURS["medium"],
    "P4": LEVEL_COLOURS["informational"],
}

STATE_COLOURS: Final[dict[str, str]] = {
    "open": LEVEL_COLOURS["critical"],
    "acknowledged": LEVEL_COLOURS["medium"],
    "assigned": LEVEL_COLOURS["low"],
    "in_progress": LEVEL_COLOURS["low"],
    "closed": LEVEL_COLOURS["informational"],
}

VERDICT_COLOURS: Final[dict[str, str]] = {
    "true_positive": LEVEL_COLOURS["critical"],
    "benign": LEVEL_COLOURS["low"],
    "false_positive": LEVEL_COLOURS["medium"],
    "duplicate": LEVEL_COLOURS["informational"],
    "exercise": EXERCISE_COLOUR,
}

TLP_LABELS: Final[dict[str, str]] = {
    "CLEAR": "TLP:CLEAR",
    "GREEN": "TLP:GREEN",
    "AMBER": "TLP:AMBER",
    "AMBER_STRICT": "TLP:AMBER+STRICT",
    "RED": "TLP:RED",
}

TLP_COLOURS: Final[dict[str, str]] = {
    "CLEAR": "#ffffff",
    "GREEN": "#33ff00",
    "AMBER": "#ffc000",
    "AMBER_STRICT": "#ffc000",
    "RED": "#ff2b2b",
}


def level_rank(level: str) -> int:
    """Severity as a number that grows with it: informational 1 to critical 5; 0 for a level that is not known."""
    return len(LEVELS) - LEVELS.index(level) if level in LEVELS else 0


def tlp_label(tlp: str) -> str:
    """The label as people write it. A symbol that is not known reads as RED, as the contract's default has it."""
    return TLP_LABELS.get(tlp, TLP_LABELS["RED"])
