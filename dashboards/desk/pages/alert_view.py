"""What the alert page shows, as HTML: chips, story, standing, evidence, explanation, history, deliveries. Pure
functions; times are aware UTC datetimes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from dashboards.desk import markup
from dashboards.desk.markup import Html, badge, join, pairs, tag, words
from dashboards.desk.pages.graph import Node
from dashboards.desk.pages.story import Story, confidence_words
from dashboards.desk.similar import Similar
from dashboards.explain import (
    account_of,
    as_text,
    between,
    clauses_of,
    in_order,
    matched_of,
    place_of,
    position_of,
    steps_of,
)
from schemas.alerts import Alert
from schemas.lifecycle import Action, AlertState, Delivery

_STATE_SIGNS: Final = {"open": "●", "acknowledged": "◐", "assigned": "◑", "in_progress": "▶", "closed": "✓"}
_DONE: Final = {
    "acknowledge": "acknowledged",
    "unacknowledge": "took the acknowledgement back",
    "assign": "assigned",
    "start": "began work",
    "note": "noted",
    "close": "closed",
    "reopen": "reopened",
    "merge": "merged",
    "split": "split off",
    "silence": "silenced",
    "expire_silence": "ended a silence",
    "raised": "raised",
    "updated": "new evidence",
    "withdrawn": "withdrawn",
    "expired": "acknowledgement ran out",
    "inhibited": "made less pressing by another alert",
    "uninhibited": "no longer made less pressing",
    "silenced": "falls under a silence",
    "unsilenced": "no longer under a silence",
}
_OUTCOMES: Final = {
    "sent": "✓ sent",
    "retry": "↻ tried again",
    "failed": "✗ failed",
    "rate_limited": "… held back by the rate limit",
}
_DETAILS_SAID: Final = ("verdict", "assignee", "target", "until", "acknowledged_until", "silence_id")


def state_words(state: AlertState, now: datetime) -> str:
    """``acknowledged by anna for 12 min more``, ``closed as benign by ben``."""
    if state.superseded_by:
        return "goes on as another alert"
    if state.withdrawn:
        return "withdrawn: with what came later, the rule's condition does not hold any more"
    match state.state:
        case "acknowledged":
            until = state.acknowledged_until
            left = f" for {between(now, until)} more" if until is not None and until > now else ""
            return f"acknowledged by {state.acknowledged_by}{left}"
        case "assigned":
            return f"assigned to {state.assignee}"
        case "in_progress":
            return f"{state.assignee or 'somebody'} works on it"
        case "closed":
            return f"closed as {words(state.verdict or 'unknown')} by {state.closed_by}"
        case _:
            return f"open again; {state.assignee} had it" if state.assignee else "open, nobody has taken it"


def chips(alert: Alert, state: AlertState | None, now: datetime) -> Html:
    """Everything that tells the alert's standing at a glance."""
    made = [markup.level_badge(alert.level)]
    if state is not None:
        made.append(badge(state.priority, f"priority-{state.priority.lower()}", title="P1 is worked on first"))
        made.append(badge(state_words(state, now), sign=_STATE_SIGNS.get(state.state, "")))
    made += [markup.tlp_badge(alert.tlp), markup.exercise_badge(alert.exercise)]
    if state is not None and state.silences:
        made.append(badge("silenced: notifies nobody", sign="‖"))
    if state is not None and state.inhibited_by:
        made.append(badge(join(["less pressing because of", markup.alert_link(state.inhibited_by, "another alert")])))
    if state is not None and state.merged_into:
        made.append(badge(join(["merged into", markup.alert_link(state.merged_into, "another alert")])))
    if state is not None and state.merged:
        made.append(badge(f"{len(state.merged)} merged into this"))
    return tag("div", *(each for each in made if each), class_="chips")


def story(told: Story) -> Html:
    """One paragraph; the questions that its sentences answer are there for those who look for them."""
    lead, *rest = told.parts
    sentences = [tag("span", lead[1], class_="story-lead", title=lead[0])]
    sentences += [
        tag("strong", answer) if question == "What to do" else tag("span", answer, title=question)
        for question, answer in rest
    ]
    return tag("p", join(sentences), class_="story")


def standing(state: AlertState | None, now: datetime) -> Html:
    """Who has it, and how urgent it is."""
    if state is None:
        return Html("")
    return pairs(
        [
            ("State", state_words(state, now)),
            ("Priority", state.priority),
            ("Assigned to", state.assignee or "nobody"),
        ]
    )


def about(alert: Alert, names: Mapping[str, str], *, inspects: bool = True) -> Html:
    """What it is about and by which rule; with ``inspects`` the rule is a link to its page, and there are links to
    files for other systems."""
    group = [(words(name), tag("code", value)) for name, value in alert.group.items()]
    path = f"/api/v1/alerts/{alert.alert_id}/export"
    files = [markup.link("STIX 2.1", path, format="stix"), markup.link("CAP 1.2", path, format="cap")]
    return pairs(
        [
            ("Confidence", f"{alert.confidence} of 100, {confidence_words(alert.confidence)}"),
            ("About", pairs(group) if group else "single events"),
            ("Partners", markup.bullets(names.get(each, each) for each in alert.partners)),
            ("Rule", markup.link(alert.rule.title, "/rules", rule=alert.rule.id) if inspects else alert.rule.title),
            ("Tags", ", ".join(alert.rule.tags) or "none"),
            *([("Export", join(files, " · "))] if inspects else []),
        ]
    )


def urgency(state: AlertState) -> Html:
    """Why it is as urgent as it is."""
    return Html(tag("h3", f"Why {state.priority}") + markup.bullets(state.priority_reasons))


def evidence(alert: Alert, names: Mapping[str, str]) -> Html:
    """All evidence in order of time."""
    rows = (
        (
            number,
            markup.time(item.occurred_at),
            names.get(item.partner, item.partner),
            words(item.family),
            place_of(item) or "–",
            Html(markup.esc(item.summary) + _matched(matched_of(item))),
            join([markup.tlp_badge(item.tlp), markup.exercise_badge(item.exercise and not alert.exercise)]),
        )
        for number, item in enumerate(in_order(alert), 1)
    )
    missing = alert.evidence_total - len(alert.evidence)
    more = tag("p", f"{missing} more events belong to it; the record keeps the first and the last.", class_="quiet")
    made = markup.table(
        "Events in order of time (UTC)",
        ("No.", "Happened", "Partner", "Kind", "Place", "What the partner says", "Handling"),
        rows,
        empty="No evidence is stored with this alert.",
    )
    return Html(made + (more if missing > 0 else ""))


def _matched(fields: Sequence[tuple[str, str]]) -> Html:
    if not fields:
        return Html("")
    said = Html("; ".join(f"{markup.esc(name)} <code>{markup.esc(value)}</code>" for name, value in fields))
    return tag("div", Html(f"matched: {said}"), class_="quiet")


def entities(nodes: Sequence[Node], names: Mapping[str, str]) -> Html:
    """The entities as a list: whom each ties together."""
    rows = (
        (
            join([tag("strong", node.title) if node.links else node.title]),
            ", ".join(words(role) for role in node.roles) or "–",
            ", ".join(names.get(each, each) for each in node.partners),
            ", ".join(str(number) for number in node.events),
        )
        for node in nodes[:60]
    )
    return markup.table(
        "Entities, with those that link events first",
        ("Entity", "Role", "Named by", "In events"),
        rows,
        empty="The evidence names no entities.",
    )


def explanation(alert: Alert) -> Html:
    """Which rule, how its condition was met, and how long each step took."""
    rule = pairs(
        [
            ("Rule", join([alert.rule.title, tag("code", alert.rule.id)])),
            ("Version", tag("code", alert.rule.version)),
            ("Kind", f"{alert.kind}, {words(alert.rule.type)}"),
            ("Says", alert.rule.description or "–"),
            *((name, value) for name, value in account_of(alert)),
        ]
    )
    steps = markup.table(
        "Steps",
        ("Step", "When (UTC)", "After the step before"),
        ((name, markup.time(at), took or "–") for name, at, took in steps_of(alert)),
        numeric=("After the step before",),
        hide_caption=True,
    )
    clauses = markup.table(
        "Clauses met",
        ("No.", "Base rule", "Clauses met", "Kafka position"),
        (
            (number, item.rule_title, tag("code", clauses_of(item) or "–"), tag("code", position_of(item)))
            for number, item in enumerate(in_order(alert), 1)
        ),
        hide_caption=True,
    )
    return Html(
        rule
        + tag("h3", "How long each step took")
        + steps
        + tag("details", tag("summary", "Clauses and positions, event by event"), clauses)
    )


def similar(found: Sequence[Similar]) -> Html:
    """Past alerts with what they share and how they ended."""
    rows = (
        (
            markup.alert_link(each.alert.alert_id, each.alert.story or each.alert.rule_title),
            markup.level_badge(each.alert.level) + markup.exercise_badge(each.alert.exercise),
            "; ".join(each.reasons),
            words(each.alert.verdict) or (words(each.alert.state) if each.alert.state else "not closed"),
            markup.time(each.alert.last_event_at, seconds=False),
        )
        for each in found
    )
    typed = ((row[0], Html(row[1]), *row[2:]) for row in rows)
    return markup.table(
        "Most alike first", ("Alert", "Level", "In common", "Ended as", "Last event (UTC)"), typed, empty="None."
    )


def _detail(name: str, value: object) -> str:
    """A detail of an action; a time to the minute, UTC as in the column of times."""
    if name.endswith("until") and isinstance(value, str):
        return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M}"
    return as_text(value)


def history(actions: Iterable[Action]) -> Html:
    """Every step with who, when, why and from where, refusals among them, the latest first."""
    rows = ((markup.time(each.at), each.by, _done(each), each.via, _why(each)) for each in actions)
    return markup.table(
        "Latest first",
        ("When (UTC)", "Who", "What", "From", "Why, or what was said"),
        rows,
        empty="Nothing has happened to it yet.",
    )


def _done(action: Action) -> Html:
    what = _DONE.get(action.verb, action.verb)
    if not action.accepted:
        return join([badge("refused", "bad", sign="✗"), words(action.verb)])
    changed = action.after and action.before != action.after
    return (
        join([what, tag("span", f"→ {words(action.after)}", class_="quiet")])
        if changed and action.after
        else markup.esc(what)
    )


def _why(action: Action) -> str:
    details = [
        f"{words(name)}: {_detail(name, action.details[name])}" for name in _DETAILS_SAID if action.details.get(name)
    ]
    return (
        "; ".join(part for part in (action.reason if not action.accepted else "", *details, action.text) if part) or "–"
    )


def deliveries(attempts: Iterable[Delivery]) -> Html:
    """Whom the notifications went to, each attempt."""
    rows = (
        (
            markup.time(each.at),
            each.person,
            words(each.kind),
            join([each.channel, tag("code", each.address)]),
            join([_OUTCOMES.get(each.outcome, each.outcome), f"({each.took_ms} ms)", each.error]),
            "told only that there is an alert" if each.redacted else "in full",
        )
        for each in attempts
    )
    return markup.table(
        "Latest first",
        ("When (UTC)", "Who", "Occasion", "Channel", "Outcome", "Contents"),
        rows,
        empty="Nobody has been notified.",
    )
