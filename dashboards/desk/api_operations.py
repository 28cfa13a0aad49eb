"""What runs beside the alerts, in the JSON API: feeds, rules, refused records, who is on call."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from starlette.concurrency import run_in_threadpool

from dashboards.desk import feed_queries
from dashboards.desk.auth.permissions import requires
from dashboards.desk.desk import Desk
from dashboards.desk.feed_queries import QuarantineFilter
from dashboards.desk.pages import feeds as feeds_page
from dashboards.desk.pages import oncall as oncall_page
from dashboards.desk.pages import rules as rules_page
from dashboards.desk.pages.parts import partners
from processors.rule_files import RuleError
from schemas.yaml_lines import ConfigError

Json = dict[str, Any]


def router(desk: Desk) -> APIRouter:
    """The endpoints; all need the permission to see what concerns all partners."""
    made = APIRouter(tags=["operations"], dependencies=[Depends(requires("inspect"))])

    def feeds(now: datetime) -> list[Json]:
        since = now - timedelta(hours=1)
        found = feeds_page.summarise(
            partners(desk.settings), feed_queries.feeds(desk.store, now), feed_queries.refusals(desk.store, since), now
        )
        return [
            {
                "partner": each.partner.id,
                "name": each.partner.name,
                "status": each.status,
                "silent_s": each.silent_s,
                "expected_interval_s": each.partner.expected_interval_s,
                "events_last_hour": each.hour,
                "refused_last_hour": each.refused,
                "error_rate": each.error_rate,
                "feeds": [asdict(feed) for feed in each.feeds],
            }
            for each in found
        ]

    def rules(days: int) -> list[Json]:
        since = datetime.now(UTC) - timedelta(days=days)
        try:
            book = rules_page.book_of(desk.settings.rules_path)
        except (RuleError, OSError) as error:
            raise HTTPException(503, f"the rules cannot be read: {error}") from error
        work = feed_queries.rule_alerts(desk.store, since)
        return [asdict(each) for each in rules_page.lines(book, work, feed_queries.rule_signals(desk.store, since))]

    def on_call(now: datetime) -> list[Json]:
        try:
            policy = oncall_page.policy_of(desk.oncall_file)
        except (ConfigError, OSError) as error:
            raise HTTPException(503, f"the on-call policy cannot be read: {error}") from error
        return [
            {
                "schedule": each.schedule,
                "name": each.name,
                "time_zone": each.time_zone,
                "person": each.current.person,
                "since": each.current.start,
                "until": each.current.end,
                "because": each.current.why,
            }
            for each in oncall_page.duties(policy, now)
        ]

    @made.get("/feeds")
    async def list_feeds() -> list[Json]:
        """Every partner with its feeds in the last hour, what needs attention first."""
        return await run_in_threadpool(feeds, datetime.now(UTC))

    @made.get("/rules")
    async def list_rules(days: Annotated[int, Query(ge=1, le=90)] = 7) -> list[Json]:
        """What each rule did in the last days, and how its alerts were closed."""
        return await run_in_threadpool(rules, days)

    @made.get("/quarantine")
    async def list_quarantine(
        partner: str = "",
        reason: str = "",
        topic: str = "",
        q: Annotated[str, Query(description="words in the message")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[Json]:
        """Refused records, the newest first."""
        choice = QuarantineFilter(partner, reason, topic, q, limit)
        return [asdict(each) for each in await run_in_threadpool(feed_queries.quarantine, desk.store, choice)]

    @made.get("/oncall/now")
    async def on_call_now() -> list[Json]:
        """Who is on call now, by schedule."""
        return await run_in_threadpool(on_call, datetime.now(UTC))

    return made
