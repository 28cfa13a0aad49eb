"""The pages' questions to the real engine with the committed schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboards.alerts import Store
from dashboards.desk import feed_queries, queries
from dashboards.desk.feed_queries import QuarantineFilter
from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.oncall import OnCall
from schemas.lifecycle import Command
from schemas.oncall import load_oncall
from schemas.settings import Settings
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.sample import as_alert
from tests.dashboards.desk.pages.served import put_lifecycle
from tests.dashboards.engine import EngineClient

NOW = datetime.now(UTC).replace(microsecond=0)
"""The present, because tables forget what is old."""


def worked_on(engine: EngineClient) -> tuple[Lifecycle, list[Effects]]:
    """The sample in the store: one live alert closed as benign, the drill acknowledged and closed."""
    made = sample.records(NOW)
    sample.put_alerts(engine, made)
    lifecycle = Lifecycle(OnCall(load_oncall(Settings().oncall_file)))
    done = [lifecycle.on_alert(as_alert(record), NOW) for record in made[:4]]
    wanted = (
        ("close", sample.EARLIER, {"verdict": "benign", "text": "A visit."}),
        ("acknowledge", sample.DRILL, {}),
        ("close", sample.DRILL, {"verdict": "exercise"}),
    )
    for number, (verb, alert_id, fields) in enumerate(wanted):
        command = Command.model_validate(
            {"command_id": f"c{number}", "verb": verb, "alert_id": alert_id, "by": "ben", "via": "desk"}
            | {"at": NOW + timedelta(minutes=number), **fields}
        )
        done.append(lifecycle.on_command(command, command.at))
    for effects in done:
        put_lifecycle(engine, effects)
    return lifecycle, done


def test_state_and_history_come_back_as_they_were(engine: EngineClient, store: Store) -> None:
    lifecycle, done = worked_on(engine)
    assert queries.state(store, sample.EARLIER) == lifecycle.states[sample.EARLIER]
    assert queries.state(store, "nobody") is None
    told = [action for effects in done for action in effects.actions if action.alert_id == sample.EARLIER]
    assert queries.history(store, [sample.EARLIER]) == told[::-1]
    assert {each.alert_id for each in queries.recent_states(store, NOW - timedelta(days=7))} == set(lifecycle.states)
    assert queries.recent_states(store, NOW + timedelta(days=1)) == []


def test_deliveries_of_an_alert_the_latest_first(engine: EngineClient, store: Store) -> None:
    sample.put_deliveries(engine, NOW)
    found = queries.deliveries(store, [sample.OLD_ID, sample.VANISHED])
    assert [(each.attempt, each.outcome, each.person) for each in found] == [(2, "sent", "mira"), (1, "retry", "mira")]
    assert found == queries.latest_deliveries(store)
    assert queries.deliveries(store, [sample.DRILL]) == []


def test_all_ids_that_a_situation_has_had(engine: EngineClient, store: Store) -> None:
    made = sample.records(NOW)
    made[0]["superseded_by"] = "oldest"  # a circle, which must end
    sample.put_alerts(engine, [*made, made[-1] | {"alert_id": "oldest", "superseded_by": sample.OLD_ID}])
    assert queries.earlier_ids(store, [sample.VANISHED]) == [sample.VANISHED, sample.OLD_ID, "oldest"]
    assert queries.earlier_ids(store, [sample.DRILL]) == [sample.DRILL]


def test_feeds_by_partner_and_family(engine: EngineClient, store: Store) -> None:
    sample.put_feeds(engine, NOW)
    found = {each.partner: each for each in feed_queries.feeds(store, NOW)}
    assert set(found) == set(sample.PLACES)
    border = found["bpol-de"]
    assert border.hour == sum(border.minutes) == 120
    assert border.late == 2
    assert border.occurred_to_published_ms == (0.0, 0.0)
    assert border.published_to_ingested_ms is not None
    assert 300 <= border.published_to_ingested_ms[0] <= border.published_to_ingested_ms[1] <= 540
    assert found["hub-ke"].occurred_to_published_ms == (20_000.0, 20_000.0)
    silent = found["fiu-nl"]
    assert silent.last_ingested_at is not None
    assert silent.last_ingested_at <= NOW - timedelta(minutes=29)
    assert silent.rate == 0.0
    assert silent.minutes[-25:] == (0,) * 25


def test_a_feed_of_yesterday_is_still_known(engine: EngineClient, store: Store) -> None:
    sample.put_feeds(engine, NOW - timedelta(days=1))
    found = feed_queries.feeds(store, NOW)
    assert len(found) == len(sample.PLACES)
    assert {each.hour for each in found} == {0}
    assert all(each.last_ingested_at and each.last_ingested_at < NOW - timedelta(hours=23) for each in found)
    assert {each.occurred_to_published_ms for each in found} == {None}


def test_refusals_and_the_records_behind_them(engine: EngineClient, store: Store) -> None:
    sample.put_feeds(engine, NOW)
    refused = {each.partner: each.reasons for each in feed_queries.refusals(store, NOW - timedelta(hours=1))}
    assert refused == {name: {"header_invalid": 2, "undecodable": 2} for name in ("", "bpol-de", "rail-at")}
    newest = feed_queries.quarantine(store, QuarantineFilter(limit=3))
    assert [each.offset for each in newest] == [500, 501, 502]
    assert newest[0].at == NOW
    assert bytes.fromhex(newest[0].raw_hex).startswith(b"\x00\x00\x00\x00\x07\x02{broken}")
    chosen = feed_queries.quarantine(store, QuarantineFilter("bpol-de", "undecodable"))
    assert [(each.partner, each.reason) for each in chosen] == [("bpol-de", "undecodable")] * 2
    assert feed_queries.quarantine(store, QuarantineFilter(text="NOT AVRO"))[0].reason == "undecodable"
    assert feed_queries.quarantine(store, QuarantineFilter(topic="' OR 1=1 --")) == []
    assert len(feed_queries.quarantine(store, QuarantineFilter(), bytes_shown=4)[0].raw_hex) == 8


def test_what_each_rule_did_counts_drills_apart(engine: EngineClient, store: Store) -> None:
    worked_on(engine)
    sample.put_feeds(engine, NOW)
    work = {each.rule_id: each for each in feed_queries.rule_alerts(store, NOW - timedelta(days=30))}
    vanished = work["listed-traveller-vanished"]
    assert (vanished.alerts, vanished.exercises, vanished.verdicts) == (2, 1, {"benign": 1, "open": 1})
    assert work["two-borders"].verdicts == {"open": 1}
    recent = {each.rule_id: each for each in feed_queries.rule_alerts(store, NOW - timedelta(days=1))}
    assert recent["listed-traveller-vanished"].verdicts == {"open": 1}
    assert feed_queries.rule_signals(store, NOW - timedelta(days=7)) == {"b2a1": 9, "two-borders": 9}


def test_drills_with_what_became_of_them(engine: EngineClient, store: Store) -> None:
    worked_on(engine)
    (drill,) = feed_queries.drills(store, NOW - timedelta(days=30))
    assert (drill.alert_id, drill.state, drill.verdict) == (sample.DRILL, "closed", "exercise")
    assert drill.acknowledged_at == NOW + timedelta(minutes=1)
    assert feed_queries.drills(store, NOW) == []


def test_the_lowest_uuid_of_a_time() -> None:
    floor = feed_queries.uuid7_floor(NOW)
    assert floor <= sample.uuid7(NOW, 0)
    assert floor > sample.uuid7(NOW - timedelta(milliseconds=1), 999)
