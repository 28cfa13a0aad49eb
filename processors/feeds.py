"""Alerts about the platform's own senses: a feed that fell silent, a partner too many of whose records are refused.

Deciding is pure; :class:`FeedReader` looks at ClickHouse.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from processors.alerts import NAMESPACE, platform_alert
from schemas.alerts import Alert, AlertRule
from schemas.lifecycle import AlertState
from schemas.partners import Partner, Partners

FEED_SILENT = "tocsin.feed_silent"
ERROR_RATE = "tocsin.partner_error_rate"
RULES_VERSION = "1"
ERROR_WINDOW = dt.timedelta(minutes=5)
MIN_RECORDS = 20
"""Below so many records in the window a share of refused ones says nothing."""
LOOK_BACK = dt.timedelta(days=7)
"""How far back a partner's last event is looked for; one that was not heard for longer counts as never heard."""
SAMPLES_APART = dt.timedelta(seconds=30)
"""Ingest says every five seconds that it lives; between samples further apart than this it did not listen."""


@dataclass(frozen=True)
class Feed:
    """What was heard of one partner: when last (aware UTC, None: never), and the last five minutes' records."""

    partner: str
    heard_at: dt.datetime | None
    accepted: int = 0
    refused: int = 0

    @property
    def records(self) -> int:
        return self.accepted + self.refused


@dataclass(frozen=True)
class Reading:
    """All feeds, and since when ingest has been listening without a gap; None where it does not listen now."""

    feeds: Sequence[Feed]
    listening_since: dt.datetime | None


@dataclass(frozen=True)
class Known:
    """A feed alert that was told before."""

    alert_id: str
    rule_id: str
    partner: str
    version: int
    withdrawn: bool
    started_at: dt.datetime
    created_at: dt.datetime
    story: str

    @classmethod
    def of_state(cls, state: AlertState) -> Known:
        return cls(
            state.alert_id,
            state.rule_id,
            state.group.get("partner", ""),
            state.alert_version,
            state.withdrawn,
            state.first_event_at,
            state.raised_at,
            state.story,
        )

    @classmethod
    def of_alert(cls, alert: Alert) -> Known:
        return cls(
            alert.alert_id,
            alert.rule.id,
            alert.group.get("partner", ""),
            alert.version,
            alert.status != "open",
            alert.first_event_at,
            alert.created_at,
            alert.story,
        )


def known_alerts(states: Iterable[AlertState], told: Iterable[Alert]) -> list[Known]:
    """Feed alerts by the states of the lifecycle and by what was told since, whichever is the later version."""
    found: dict[str, Known] = {}
    for each in (*map(Known.of_state, states), *map(Known.of_alert, told)):
        before = found.get(each.alert_id)
        if each.rule_id in _RULES and (before is None or each.version >= before.version):
            found[each.alert_id] = each
    return list(found.values())


def feed_alerts(reading: Reading, partners: Partners, now: dt.datetime, known: Iterable[Known] = ()) -> list[Alert]:
    """What is new to tell at ``now``: alerts that begin, and those that are retracted because their reason has gone.

    Ids follow from kind, partner and start, so that whoever looks again finds the same alert. A partner that was never
    heard is not missed, and no feed is for a time in which ingest did not listen.
    """
    by_partner = {feed.partner: feed for feed in reading.feeds}
    before = {each.alert_id: each for each in known}
    lasting = [each for each in before.values() if not each.withdrawn and each.rule_id in _RULES]
    found = [
        _retracted(each, partners.by_id.get(each.partner), now)
        for each in lasting
        if _is_over(each, by_partner.get(each.partner), partners)
    ]
    in_trouble = {each.partner for each in lasting if each.rule_id == ERROR_RATE}
    silent = {each.partner: each.started_at for each in lasting if each.rule_id == FEED_SILENT}
    for partner in partners:
        feed = by_partner.get(partner.id)
        if feed is None:
            continue
        if feed.heard_at is not None and _is_silent(feed.heard_at, partner, reading.listening_since, now):
            told_from, alert = silent.get(partner.id), _silent(partner, feed.heard_at, now)
            if alert.alert_id not in before and (told_from is None or feed.heard_at > told_from):
                found.append(alert)
        if partner.id not in in_trouble and _is_in_trouble(feed, partner):
            found.append(_trouble(partner, feed, now))
    return found


def _is_silent(heard_at: dt.datetime, partner: Partner, listening_since: dt.datetime | None, now: dt.datetime) -> bool:
    if listening_since is None:
        return False
    return now - max(heard_at, listening_since) > dt.timedelta(seconds=partner.expected_interval_s)


def _is_in_trouble(feed: Feed, partner: Partner) -> bool:
    return feed.records >= MIN_RECORDS and feed.refused / feed.records > partner.error_rate_limit


def _is_over(known: Known, feed: Feed | None, partners: Partners) -> bool:
    partner = partners.by_id.get(known.partner)
    if partner is None:
        return True
    if known.rule_id == FEED_SILENT:
        return feed is not None and feed.heard_at is not None and feed.heard_at > known.started_at
    return feed is None or not _is_in_trouble(feed, partner)


def feed_alert_id(rule_id: str, partner: str, started_at: dt.datetime) -> str:
    """UUIDv5 over kind, partner and start in milliseconds (RFC 9562, section 5.5)."""
    return str(uuid.uuid5(NAMESPACE, f"{rule_id}\x1f{partner}\x1f{int(started_at.timestamp() * 1000)}"))


def _silent(partner: Partner, heard_at: dt.datetime, now: dt.datetime) -> Alert:
    story = (
        f"Nothing has come from {partner.name} ({partner.id}) since {heard_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"not even a heartbeat; agreed are {partner.expected_interval_s} s at most."
    )
    return _alert(FEED_SILENT, partner, heard_at, now, story)


def _trouble(partner: Partner, feed: Feed, now: dt.datetime) -> Alert:
    story = (
        f"{feed.refused} of the {feed.records} records that {partner.name} ({partner.id}) sent in the last "
        f"{ERROR_WINDOW.seconds // 60} minutes were refused ({feed.refused / feed.records:.1%}); the limit is "
        f"{partner.error_rate_limit:.1%}."
    )
    return _alert(ERROR_RATE, partner, now, now, story)


_RULES: Mapping[str, AlertRule] = {
    FEED_SILENT: AlertRule(
        id=FEED_SILENT,
        title="Feed silent",
        version=RULES_VERSION,
        level="medium",
        tags=["platform.feed"],
        description="A partner that was heard before sends neither events nor heartbeats.",
        type="platform",
        condition="nothing heard for longer than expected_interval_s of partners.yml",
        response="Ask the partner's contact whether their publisher runs. Planned? Set a silence with the partner.",
    ),
    ERROR_RATE: AlertRule(
        id=ERROR_RATE,
        title="Partner error rate",
        version=RULES_VERSION,
        level="medium",
        tags=["platform.feed"],
        description="More of a partner's records are refused than was agreed. Its good events still flow.",
        type="platform",
        timespan_s=ERROR_WINDOW.seconds,
        condition=f"share of refused records above error_rate_limit of partners.yml, of at least {MIN_RECORDS}",
        response="See what was refused and why: tocsin quarantine list --partner ID. Tell the partner's contact.",
    ),
}


def _alert(
    rule_id: str, partner: Partner | None, started_at: dt.datetime, now: dt.datetime, story: str, partner_id: str = ""
) -> Alert:
    name = partner.id if partner else partner_id
    countries = [partner.country] if partner else []
    alert_id = feed_alert_id(rule_id, name, started_at)
    return platform_alert(_RULES[rule_id], alert_id, 1, story, started_at, now, name, countries)


def _retracted(known: Known, partner: Partner | None, now: dt.datetime) -> Alert:
    alert = _alert(known.rule_id, partner, known.started_at, now, known.story, known.partner)
    changes = {"alert_id": known.alert_id, "version": known.version + 1, "status": "retracted"}
    return alert.model_copy(update={**changes, "created_at": known.created_at})


class FeedReader:
    """Looks at ClickHouse for how things stand with the feeds.

    The rollups know minutes. Only where a partner may be silent by them, or speak again in the minute in which it fell
    silent, is the exact time looked up, in its events, and once that minute is over not again.
    """

    def __init__(self) -> None:
        self._exact: dict[str, tuple[dt.datetime, dt.datetime]] = {}

    def read(
        self, client: Client, now: dt.datetime, partners: Partners, silent: Container[str] = frozenset()
    ) -> Reading:
        """How things stand at ``now``; blocks. ``silent`` are partners that were told as silent.

        Raises:
            clickhouse_connect.driver.exceptions.Error: the store does not answer.
        """
        parameters = {"since": now - LOOK_BACK, "window": now - ERROR_WINDOW}
        sql = (
            "SELECT partner, uniqMerge(records) FROM quarantine_minutes WHERE minute >= {window:DateTime} "
            "GROUP BY partner"
        )
        refused = {name: int(count) for name, count in client.query(sql, parameters=parameters).result_rows}
        sql = (
            "SELECT partner, max(minute), uniqMergeIf(events, minute >= {window:DateTime}) FROM feed_minutes "
            "WHERE minute >= {since:DateTime} GROUP BY partner"
        )
        feeds = {name: Feed(name, None, 0, count) for name, count in refused.items()}
        for name, minute, accepted in client.query(sql, parameters=parameters).result_rows:
            heard_at, agreed = minute.replace(tzinfo=dt.UTC), partners.by_id.get(name)
            interval = dt.timedelta(seconds=agreed.expected_interval_s if agreed else 0)
            if agreed is not None and (name in silent or now - heard_at > interval):
                heard_at = self._exactly(client, name, heard_at, now)
            feeds[name] = Feed(name, heard_at, accepted, refused.get(name, 0))
        return Reading(list(feeds.values()), _listening_since(client, now, partners))

    def _exactly(self, client: Client, partner: str, minute: dt.datetime, now: dt.datetime) -> dt.datetime:
        known = self._exact.get(partner)
        if known and known[0] == minute:
            return known[1]
        sql = "SELECT max(ingested_at) FROM events WHERE partner = {p:String} AND ingested_at >= {m:DateTime64(3)}"
        latest: dt.datetime = client.query(sql, parameters={"p": partner, "m": minute}).result_rows[0][0]
        # Without a row, as after the events' retention, it is 1970.
        heard_at = max(latest.replace(tzinfo=dt.UTC), minute)
        if now > minute + 2 * dt.timedelta(minutes=1):
            self._exact[partner] = (minute, heard_at)
        return heard_at


def _listening_since(client: Client, now: dt.datetime, partners: Partners) -> dt.datetime | None:
    longest = max(partner.expected_interval_s for partner in partners)
    began, last = client.query(
        "SELECT maxIf(at, dateDiff('second', before, at) > {apart:UInt32}), max(at) FROM ("
        "SELECT sampled_at AS at, lagInFrame(sampled_at) OVER "
        "(ORDER BY sampled_at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before FROM pipeline_metrics "
        "WHERE metric = 'tocsin_checkpoint_records_total' AND startsWith(worker, 'ingest-') "
        "AND sampled_at > {since:DateTime64(3)})",
        parameters={
            "apart": SAMPLES_APART.seconds,
            "since": now - dt.timedelta(seconds=longest) - 2 * SAMPLES_APART,
        },
    ).result_rows[0]
    if now - last.replace(tzinfo=dt.UTC) > SAMPLES_APART:
        return None
    return began.replace(tzinfo=dt.UTC)  # type: ignore[no-any-return]
