"""The page of refused records, ``/quarantine``: how many of whom and why, and the newest with their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from fastapi import Request

from dashboards.desk import feed_queries, markup
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.feed_queries import QuarantineFilter, Refusals, Refused
from dashboards.desk.frame import frame, page
from dashboards.desk.markup import Html, tag, words
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, now, panel, partner_names, raw, style

DAYS: Final = 7
ROW: Final = 16


def choice_of(query: Mapping[str, str]) -> QuarantineFilter:
    """The filter that the address asks for; what makes no sense is left out."""
    limit = query.get("limit", "")
    return QuarantineFilter(
        partner=query.get("partner", ""),
        reason=query.get("reason", ""),
        topic=query.get("topic", ""),
        text=query.get("text", ""),
        limit=min(max(int(limit), 1), feed_queries.MAX_REFUSED) if limit.isdecimal() and len(limit) < 5 else 100,
    )


def hexdump(raw_hex: str) -> str:
    """Bytes as ``offset  hex  text`` lines of 16."""
    data = bytes.fromhex(raw_hex)
    lines = []
    for start in range(0, len(data), ROW):
        part = data[start : start + ROW]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        lines.append(f"{start:06x}  {part.hex(' '):<{ROW * 3 - 1}}  {shown}")
    return "\n".join(lines)


def by_reason(refusals: Sequence[Refusals], names: Mapping[str, str]) -> Html:
    """Partners down, reasons across."""
    reasons = sorted({reason for each in refusals for reason in each.reasons})
    counts: dict[str, dict[str, int]] = {}
    for each in refusals:
        own = counts.setdefault(each.partner, {})
        for reason, count in each.reasons.items():
            own[reason] = own.get(reason, 0) + count
    rows = (
        (
            names.get(partner, partner) or "not told by the record",
            *(_count(own.get(reason, 0), partner, reason) for reason in reasons),
            f"{sum(own.values()):,}",
        )
        for partner, own in sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    )
    columns = ("Partner", *(words(reason) for reason in reasons), "All")
    return markup.table(
        f"Refused records of the last {DAYS} days by partner and reason",
        columns,
        rows,
        numeric=columns[1:],
        empty=f"Nothing was refused in the last {DAYS} days.",
        hide_caption=True,
    )


def _count(count: int, partner: str, reason: str) -> Html:
    if not count:
        return tag("span", "0", class_="quiet")
    return markup.link(f"{count:,}", "/quarantine", partner=partner, reason=reason)


def newest(records: Sequence[Refused], names: Mapping[str, str]) -> Html:
    """The records with what is wrong with each."""
    rows = (
        (
            markup.time(each.at),
            names.get(each.partner, each.partner) or "–",
            words(each.reason),
            Html(
                markup.esc(each.message)
                + (tag("div", "field ", tag("code", each.field), class_="quiet") if each.field else "")
                + _bytes(each)
            ),
            tag("code", f"{each.topic} [{each.partition}] @ {each.offset}"),
            f"{each.size:,}",
        )
        for each in records
    )
    return markup.table(
        "Newest first",
        ("Refused at (UTC)", "Partner", "Reason", "What is wrong", "Kafka position", "Bytes"),
        rows,
        numeric=("Bytes",),
        empty="No refused record goes by this filter.",
    )


def _bytes(record: Refused) -> Html:
    shown = len(record.raw_hex) // 2
    title = "The bytes as they came" if shown >= record.size else f"The first {shown:,} of {record.size:,} bytes"
    return tag("details", tag("summary", title), tag("pre", hexdump(record.raw_hex), tabindex="0"))


def filters(choice: QuarantineFilter, refusals: Sequence[Refusals], names: Mapping[str, str]) -> Html:
    """A form that puts the filter into the address."""
    partners = sorted(
        {each.partner for each in refusals if each.partner} | ({choice.partner} if choice.partner else set())
    )
    reasons = sorted(
        {reason for each in refusals for reason in each.reasons} | ({choice.reason} if choice.reason else set())
    )
    return tag(
        "form",
        tag(
            "label",
            "Partner",
            markup.select("partner", choice.partner, {each: names.get(each, each) for each in partners}),
        ),
        tag("label", "Reason", markup.select("reason", choice.reason, {each: words(each) for each in reasons})),
        tag("label", "Topic", tag("input", name="topic", value=choice.topic, type="text")),
        tag("label", "Message contains", tag("input", name="text", value=choice.text, type="search")),
        tag("button", "Show", type="submit", class_="desk-button is-main"),
        markup.link("All", "/quarantine"),
        class_="desk-form",
        method="get",
        action="/quarantine",
        role="search",
    )


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/quarantine")
    async def quarantine_page(request: Request) -> None:
        choice = choice_of(request.query_params)
        with frame("Quarantine", person_of(request), "quarantine"):
            style()
            await fill(lambda: load(choice), lambda found: show(choice, *found))

    async def load(choice: QuarantineFilter) -> tuple[list[Refusals], list[Refused]]:
        return await asyncio.gather(
            asked(feed_queries.refusals, desk.store, now() - timedelta(days=DAYS)),
            asked(feed_queries.quarantine, desk.store, choice),
        )

    def show(choice: QuarantineFilter, refusals: Sequence[Refusals], records: Sequence[Refused]) -> None:
        names = partner_names(desk.settings)
        with panel(f"Refused in {DAYS} days"):
            raw(by_reason(refusals, names))
        with panel("Newest refused records"):
            raw(filters(choice, refusals, names))
            raw(newest(records, names))
            raw(markup.hint("Send them again once their cause is mended: `tocsin quarantine replay`."))
