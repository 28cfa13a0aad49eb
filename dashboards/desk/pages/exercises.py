"""The page of exercises, ``/exercises``: alerts of drills, apart from live ones, and how well they were handled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final

from fastapi import Request

from dashboards.desk import feed_queries, markup
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.feed_queries import Drill
from dashboards.desk.frame import frame, page, text
from dashboards.desk.markup import Html, words
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, notice, now, panel, partner_names, raw, style
from dashboards.explain import duration

DAYS: Final = 30
EXPECTED: Final = ("exercise", "true_positive", "duplicate")
"""Verdicts that say the alert was what the drill was to bring about."""


@dataclass(frozen=True, slots=True)
class Score:
    """How the drills of one rule went. ``expected`` were closed as what a drill should give, ``unexpected`` as benign
    or false; ``to_raise_s`` and ``to_acknowledge_s`` are medians in seconds."""

    rule_title: str
    alerts: int
    expected: int
    unexpected: int
    waiting: int
    to_raise_s: float
    to_acknowledge_s: float | None


def scores(drills: Sequence[Drill]) -> list[Score]:
    """One entry a rule, that with most alerts first."""
    by_rule: dict[str, list[Drill]] = {}
    for drill in drills:
        by_rule.setdefault(drill.rule_title, []).append(drill)
    found = []
    for title, own in by_rule.items():
        taken = [
            (each.acknowledged_at - each.created_at).total_seconds() for each in own if each.acknowledged_at is not None
        ]
        closed = [each for each in own if each.verdict]
        found.append(
            Score(
                title,
                len(own),
                sum(each.verdict in EXPECTED for each in closed),
                sum(each.verdict not in EXPECTED for each in closed),
                len(own) - len(closed),
                median((each.created_at - each.last_event_at).total_seconds() for each in own),
                median(taken) if taken else None,
            )
        )
    return sorted(found, key=lambda each: (-each.alerts, each.rule_title))


def headline(drills: Sequence[Drill]) -> str:
    """All of it in a sentence."""
    if not drills:
        return f"No exercise gave an alert in the last {DAYS} days."
    counts = Counter(words(each.verdict) if each.verdict else "not closed" for each in drills)
    several = "alerts" if len(drills) > 1 else "alert"
    return f"{len(drills)} {several} of exercises in {DAYS} days, ended as: " + ", ".join(
        f"{count} {name}" for name, count in counts.most_common()
    )


def score_table(found: Sequence[Score]) -> Html:
    """Figures by rule."""
    columns = ("Rule", "Alerts", "As expected", "Not expected", "Not closed", "Event → alert", "Alert → acknowledged")
    return markup.table(
        "Exercises by rule; times are medians",
        columns,
        (
            (
                each.rule_title,
                each.alerts,
                each.expected,
                each.unexpected,
                each.waiting,
                duration(each.to_raise_s),
                duration(each.to_acknowledge_s) if each.to_acknowledge_s is not None else "–",
            )
            for each in found
        ),
        numeric=columns[1:],
        empty="None.",
    )


def drill_table(drills: Sequence[Drill], names: Mapping[str, str]) -> Html:
    """The alerts themselves."""
    return markup.table(
        "Latest first",
        ("Alert", "Level", "Rule", "Partners", "Last event (UTC)", "State", "Verdict"),
        (
            (
                markup.alert_link(each.alert_id, each.story or each.rule_title),
                markup.level_badge(each.level),
                each.rule_title,
                ", ".join(names.get(partner, partner) for partner in each.partners),
                markup.time(each.last_event_at, seconds=False),
                words(each.state) or "not taken in yet",
                words(each.verdict) or "–",
            )
            for each in drills
        ),
        empty="None.",
    )


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/exercises")
    async def exercises_page(request: Request) -> None:
        with frame("Exercises", person_of(request), "exercises"):
            style()
            notice(
                "Drills run on the live path and are never mistaken for it: what is here is not in live figures.",
                "is-exercise",
            )
            await fill(lambda: asked(feed_queries.drills, desk.store, now() - timedelta(days=DAYS)), show)

    def show(drills: Sequence[Drill]) -> None:
        text("p", headline(drills))
        with panel("How they went"):
            raw(score_table(scores(drills)))
        with panel("Alerts of exercises"):
            raw(drill_table(drills, partner_names(desk.settings)))
