"""The page of feeds, ``/feeds``: what each partner delivers, how fast, how late, and what of it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from fastapi import Request
from nicegui import ui

from dashboards.alerts import StoreAwayError
from dashboards.desk import feed_queries, markup
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.feed_queries import Feed, Refusals
from dashboards.desk.frame import frame, page, text
from dashboards.desk.markup import Html, badge, tag, words
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, now, panel, partners, raw, style
from dashboards.explain import age, duration
from schemas.partners import Partner
from schemas.yaml_lines import ConfigError

REFRESH_S: Final = 10.0
Status = Literal["silent", "refusing", "late", "ok", "never"]
_SAID: Final[dict[Status, tuple[str, str, str]]] = {
    "silent": ("silent", "✗", "bad"),
    "never": ("never delivered", "○", "soft"),
    "refusing": ("much is refused", "▲", "level-high"),
    "late": ("behind", "◔", "level-medium"),
    "ok": ("delivers", "✓", "good"),
}
_ORDER: Final[tuple[Status, ...]] = ("silent", "refusing", "late", "never", "ok")
SLOW_MS: Final = 60_000
"""A median above this from publication to storage says that the pipeline is behind."""


@dataclass(frozen=True, slots=True)
class PartnerFeed:
    """All feeds of one partner. ``silent_s`` are seconds since its last event of any family, heartbeats too; ``None``
    when it never sent one. ``refused`` counts the last hour by reason."""

    partner: Partner
    status: Status
    silent_s: float | None
    feeds: tuple[Feed, ...]
    refused: dict[str, int]

    @property
    def hour(self) -> int:
        """Stored events of the last hour."""
        return sum(feed.hour for feed in self.feeds)

    @property
    def error_rate(self) -> float:
        """Share of refused records in the last hour."""
        bad = sum(self.refused.values())
        return bad / (bad + self.hour) if bad else 0.0


def summarise(
    partners: Mapping[str, Partner], feeds: Sequence[Feed], refusals: Sequence[Refusals], now: datetime
) -> list[PartnerFeed]:
    """One entry a partner of ``partners.yml``, what needs attention first."""
    found = []
    for partner in partners.values():
        own = tuple(feed for feed in feeds if feed.partner == partner.id)
        refused: dict[str, int] = {}
        for each in refusals:
            if each.partner == partner.id:
                for reason, count in each.reasons.items():
                    refused[reason] = refused.get(reason, 0) + count
        seen = max((feed.last_ingested_at for feed in own if feed.last_ingested_at), default=None)
        silent = max((now - seen).total_seconds(), 0.0) if seen else None
        plain = PartnerFeed(partner, "ok", silent, own, refused)
        found.append(PartnerFeed(partner, _status(plain), silent, own, refused))
    return sorted(found, key=lambda each: (_ORDER.index(each.status), each.partner.id))


def _status(feed: PartnerFeed) -> Status:
    if feed.silent_s is None:
        return "refusing" if feed.refused else "never"
    if feed.silent_s > feed.partner.expected_interval_s:
        return "silent"
    if feed.error_rate > feed.partner.error_rate_limit:
        return "refusing"
    lags = [each.published_to_ingested_ms for each in feed.feeds if each.published_to_ingested_ms]
    return "late" if any(median > SLOW_MS for median, _ in lags) else "ok"


def partner_table(found: Sequence[PartnerFeed]) -> Html:
    """Partners with their status."""
    return markup.table(
        "Partners, what needs attention first",
        ("Partner", "Status", "Silent for", "Agreed", "Events in 60 min", "Refused in 60 min", "Why refused"),
        (
            (
                tag("span", each.partner.name, title=each.partner.id),
                badge(_SAID[each.status][0], _SAID[each.status][2], sign=_SAID[each.status][1]),
                duration(round(each.silent_s)) if each.silent_s is not None else "–",
                f"≤ {duration(each.partner.expected_interval_s)}",
                f"{each.hour:,}",
                _share(each),
                _reasons(each),
            )
            for each in found
        ),
        numeric=("Silent for", "Agreed", "Events in 60 min", "Refused in 60 min"),
        hide_caption=True,
    )


def _share(feed: PartnerFeed) -> str:
    count = sum(feed.refused.values())
    return f"{count:,} ({feed.error_rate:.1%}, limit {feed.partner.error_rate_limit:.0%})" if count else "0"


def _reasons(feed: PartnerFeed) -> Html:
    if not feed.refused:
        return markup.esc("–")
    return markup.join(
        (
            markup.link(f"{count:,} {words(reason)}", "/quarantine", partner=feed.partner.id, reason=reason)
            for reason, count in sorted(feed.refused.items(), key=lambda item: -item[1])
        ),
        ", ",
    )


def feed_table(found: Sequence[PartnerFeed], now: datetime) -> Html:
    """Feeds by partner and family."""
    rows = (
        (
            tag("span", entry.partner.name, title=entry.partner.id),
            words(feed.family),
            _spark(feed.minutes),
            f"{feed.rate:.2f}",
            f"{feed.hour:,}",
            _lag(feed.occurred_to_published_ms),
            _lag(feed.published_to_ingested_ms),
            f"{feed.late:,}" if feed.late else "0",
            f"{age(feed.last_ingested_at, now)} ago" if feed.last_ingested_at else "–",
        )
        for entry in found
        for feed in entry.feeds
    )
    return markup.table(
        "Lag: median, and in brackets the 95th percentile, of events published in the last 60 minutes",
        (
            *("Partner", "Family", "Last 60 minutes", "Events/s (5 min)", "In 60 min", "Happened → published"),
            *("Published → stored", "Too late for windows", "Last stored"),
        ),
        rows,
        numeric=(
            *("Events/s (5 min)", "In 60 min", "Happened → published", "Published → stored", "Too late for windows"),
            "Last stored",
        ),
        empty="No partner has delivered anything yet.",
    )


def _spark(minutes: Sequence[int]) -> Html:
    # The minute that has just begun would look like a feed that breaks off.
    whole = minutes[:-1]
    said = (
        f"Events a minute: {whole[-1]} in the last one, at most {max(whole)}" if whole else "No minute has passed yet"
    )
    return markup.sparkline(whole, said)


def _lag(pair: tuple[float, float] | None) -> str:
    return f"{duration(pair[0] / 1000)} ({duration(pair[1] / 1000)})" if pair else "–"


def headline(found: Sequence[PartnerFeed]) -> str:
    """How the feeds stand, in a sentence."""
    wrong = [entry for entry in found if entry.status in ("silent", "refusing", "late")]
    rate = sum(feed.rate for entry in found for feed in entry.feeds)
    if not wrong:
        return f"All is well: no partner is silent or refused too often; {rate:.1f} events/s arrive."
    said = ", ".join(f"{entry.partner.name} ({_SAID[entry.status][0]})" for entry in wrong)
    return f"{len(wrong)} of {len(found)} partners need attention: {said}. {rate:.1f} events/s arrive."


Seen = tuple[list[PartnerFeed], datetime]
"""The feeds, and when they were looked at."""


async def _load(desk: Desk) -> Seen:
    """Raises:
    StoreAwayError: no answer, or an error of the store.
    ConfigError: the partners' file is wrong.
    OSError: it cannot be read.
    """
    at = now()
    known = partners(desk.settings)
    feeds, refusals = await asyncio.gather(
        asked(feed_queries.feeds, desk.store, at),
        asked(feed_queries.refusals, desk.store, at - timedelta(minutes=feed_queries.SPARK_MINUTES)),
    )
    return summarise(known, feeds, refusals, at), at


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/feeds")
    async def feeds_page(request: Request) -> None:
        with frame("Feeds", person_of(request), "feeds"):
            style()
            await fill(lambda: _load(desk), _Body(desk).build)


class _Body:
    """The page's contents, which fetch themselves anew."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def build(self, seen: Seen) -> None:
        found, at = seen
        self._headline = text("p", headline(found)).props('role="status"')
        with panel("Partners"):
            self._partners = raw(partner_table(found))
        with panel("Feeds by family"):
            self._feeds = raw(feed_table(found, at))
        ui.timer(REFRESH_S, self._refresh, immediate=False)

    async def _refresh(self) -> None:
        try:
            found, at = await _load(self._desk)
        except (StoreAwayError, ConfigError, OSError) as error:
            self._headline.text = f"What follows is old: {error}"
            return
        self._headline.text = headline(found)
        _put(self._partners, partner_table(found))
        _put(self._feeds, feed_table(found, at))


def _put(element: Any, content: Html) -> None:
    if element.content != content:
        element.content = content
