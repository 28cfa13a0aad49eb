"""The page of the access log, ``/access``: who looked at what, and what was shared with a partner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import Request

from dashboards.desk import access_queries, markup
from dashboards.desk.access_queries import Accesses, AccessFilter, Shared
from dashboards.desk.auth.access_log import Entry
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.frame import frame, page, text
from dashboards.desk.markup import Html, badge, join, tag
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, now, panel, partner_names, raw, style

DAYS: Final = 7
"""How far the page looks back when the address does not say; an alert's accesses are shown from its beginning."""
KINDS: Final = (
    *("view", "change", "login", "logout", "password", "token", "websocket"),
    *("account add", "account role", "account disable", "account enable", "account reset", "account unlock"),
    *("account delete", "token make", "token revoke"),
)
SHARED: Final = (
    "Its accounts see the alerts in which it takes part, in the queue, the API and the stream of events: of others' "
    "evidence what TLP lets them, of the rest only that there is some."
)
ANSWERS: Final = {"yes": True, "no": False}


def choice_of(query: Mapping[str, str], at: datetime) -> AccessFilter:
    """The filter that the address asks for; what makes no sense is left out."""
    alert = query.get("alert", "")[:100]
    return AccessFilter(
        person=query.get("person", "")[:100],
        what=query.get("what", "")[:100],
        target=query.get("target", "")[:1_000],
        alert=alert,
        partner=query.get("partner", "")[:100],
        allowed=ANSWERS.get(query.get("allowed", "")),
        since=_moment(query.get("from", "")) or (None if alert else at - timedelta(days=DAYS)),
        until=_moment(query.get("to", "")),
    )


def _moment(text: str) -> datetime | None:
    """A time as forms give it, without a zone: UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def entries(found: Sequence[Entry], names: Mapping[str, str]) -> Html:
    """The rows of the log."""
    return markup.table(
        "Latest first",
        ("When (UTC)", "Who", "Role", "What", "Of what", "From", "Details"),
        (
            (
                markup.time(each.at),
                each.person or "not logged in",
                f"{each.role.replace('_', ' ')}{f', {names.get(each.partner, each.partner)}' if each.partner else ''}",
                each.what if each.allowed else join([badge("refused", "bad", sign="✗"), each.what]),
                _target(each.target),
                join([each.via, tag("code", each.address)]) if each.address else each.via,
                each.detail or "–",
            )
            for each in found
        ),
        empty="Nothing goes by this filter.",
    )


def _target(target: str) -> Html:
    _, found, alert_id = target.partition("/alerts/")
    shown = tag("code", target) if target else markup.esc("–")
    if not found:
        return shown
    return join([shown, markup.link("all of this alert", "/access", alert=alert_id.partition("/")[0])])


def shared(found: Sequence[Shared]) -> Html:
    """What a partner's accounts could see, with what they opened first."""
    return markup.table(
        "What its accounts opened first",
        ("Alert", "Level", "Handling", "Raised (UTC)", "Opened", "By", "Last opened (UTC)"),
        (
            (
                markup.alert_link(each.alert_id, each.rule_title),
                Html(markup.level_badge(each.level) + markup.exercise_badge(each.exercise)),
                markup.tlp_badge(each.tlp),
                markup.time(each.created_at, seconds=False),
                each.opened,
                ", ".join(each.by) or "nobody",
                markup.time(each.last_opened_at) if each.last_opened_at else "–",
            )
            for each in found
        ),
        numeric=("Opened",),
        empty="The partner took part in no alert in this time.",
    )


def filters(choice: AccessFilter, names: Mapping[str, str]) -> Html:
    """A form that puts the filter into the address."""
    kinds = {each: each for each in dict.fromkeys((*KINDS, *((choice.what,) if choice.what else ())))}
    answer = next((name for name, value in ANSWERS.items() if value is choice.allowed), "")
    return tag(
        "form",
        tag("label", "Person", tag("input", name="person", value=choice.person, type="text")),
        tag("label", "What", markup.select("what", choice.what, kinds)),
        tag("label", "Path or account contains", tag("input", name="target", value=choice.target, type="search")),
        tag("label", "Alert", tag("input", name="alert", value=choice.alert, type="text", placeholder="its id")),
        tag("label", "Accounts of the partner", markup.select("partner", choice.partner, names)),
        tag("label", "Allowed", markup.select("allowed", answer, {"yes": "yes", "no": "no, refused"})),
        tag("label", "From (UTC)", _time_input("from", choice.since)),
        tag("label", "To (UTC)", _time_input("to", choice.until)),
        tag("button", "Show", type="submit", class_="desk-button is-main"),
        markup.link("All of the last days", "/access"),
        class_="desk-form",
        method="get",
        action="/access",
        role="search",
    )


def _time_input(name: str, at: datetime | None) -> Html:
    return tag("input", name=name, value=f"{at:%Y-%m-%dT%H:%M}" if at else "", type="datetime-local")


def query_of(choice: AccessFilter) -> dict[str, str]:
    """The filter as the address has it, with its times, so that all parts of a list are of the same time."""
    answer = next((name for name, value in ANSWERS.items() if value is choice.allowed), "")
    named = {name: getattr(choice, name) for name in ("person", "what", "target", "alert", "partner")}
    times = {"from": choice.since, "to": choice.until}
    named |= {"allowed": answer} | {name: at.isoformat() if at else "" for name, at in times.items()}
    return {name: value for name, value in named.items() if value}


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/access")
    async def access_page(request: Request) -> None:
        at = now()
        choice = choice_of(request.query_params, at)
        names = partner_names(desk.settings)
        with frame("Access log", person_of(request), "access"):
            style()
            text("p", "Every view and action of a person, every login and refusal. What was done to an alert, and why, "
                 "is in the history on its page.").classes("quiet")  # fmt: skip
            with panel("Whose, and when"):
                raw(filters(choice, names))
            cursor = request.query_params.get("cursor", "")
            await fill(lambda: _ask(desk, choice, cursor, at), lambda found: _show(choice, names, *found))


def _show(choice: AccessFilter, names: Mapping[str, str], found: Accesses, given: list[Shared] | None) -> None:
    if choice.partner and given is not None:
        _shared(names.get(choice.partner, choice.partner), given)
    with panel("Accesses"):
        raw(entries(found.entries, names))
        if found.next:
            raw(markup.link("Earlier", "/access", **query_of(choice), cursor=found.next))


async def _ask(desk: Desk, choice: AccessFilter, cursor: str, at: datetime) -> tuple[Accesses, list[Shared] | None]:
    """The part of the log, and on its first part what was shared with the partner that the filter names."""
    listed = asked(access_queries.accesses, desk.store, choice, cursor=cursor)
    if not choice.partner or cursor:
        return await listed, None
    since = choice.since or at - timedelta(days=DAYS)
    given = asked(access_queries.shared_with, desk.store, choice.partner, since, choice.until or at)
    found, shown = await asyncio.gather(listed, given)
    return found, shown


def _shared(name: str, given: Sequence[Shared]) -> None:
    with panel(f"Shared with {name}"):
        text("p", SHARED).classes("quiet")
        raw(shared(given))
