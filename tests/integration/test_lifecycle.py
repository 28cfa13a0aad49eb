"""The lifecycle on the running platform: what officers do and are refused, who is told, what a kill changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.parts import worker_part
from processors.commands import CommandSender
from processors.feeds import FEED_SILENT
from processors.notify.message import opaque
from processors.watchdog import WATCHDOG_ID
from schemas.alerts import ALERTS_TOPIC
from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, Action, AlertState, Command, Verb
from tests.dashboards.engine import alert, iso
from tests.integration.alerting import LIFECYCLE, kill_lifecycle, on_call, rules, states_of, tips
from tests.integration.commands import said, tocsin
from tests.integration.receiver import Receiver, receiving
from tests.integration.test_rules_deploy import BASE
from tests.processors.notify.receivers import Mailbox, mailbox
from tests.stack import Stack

RULE = str(uuid4())
WORD = f"w{uuid4().hex[:8]}"
LAST_SECOND_S = 60


@pytest.fixture(scope="module")
def mails() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def receiver(stack: Stack, mails: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A rule of its own that makes an alert of each tip about a word, and two people who are told of each through the
    receiver, and one by mail."""
    folder = tmp_path_factory.mktemp("lifecycle") / "rules"
    with (
        receiving() as there,
        rules(stack, folder, BASE.format(id=RULE, word=WORD)),
        on_call(stack, there, "ana", "bo", group_by="rule_id, places, partners", by_mail=mails),
    ):
        yield there


def raised(stack: Stack) -> AlertState:
    """The state of a new alert."""
    before = {each.alert_id for each in states_of(stack, RULE)}
    tips(stack, [(f"s{uuid4().hex[:8]}", f"Seen: {WORD}")])

    def new() -> list[AlertState]:
        return [each for each in states_of(stack, RULE) if each.alert_id not in before]

    (found,) = stack.wait_until(new, LAST_SECOND_S, "a new alert has its state")
    return AlertState.model_validate(found)


def state(stack: Stack, alert_id: str) -> AlertState:
    (found,) = [each for each in states_of(stack, RULE) if each.alert_id == alert_id]
    return found


def alerts(stack: Stack, *words: str, status: int = 0) -> Action:
    return Action.model_validate(tocsin(stack, "alerts", *words, status=status))


def history(stack: Stack, alert_id: str) -> list[tuple[Any, ...]]:
    sql = (
        "SELECT verb, by, via, accepted, if(accepted, after, '') FROM alert_actions FINAL "
        "WHERE alert_id = {a:String} ORDER BY at"
    )
    return [tuple(row) for row in stack.rows(sql, a=alert_id)]


def sent(stack: Stack, alert_id: str) -> list[str]:
    """Whom the log of deliveries says to have been told of the alert through the receiver."""
    sql = (
        "SELECT person FROM notifications FINAL WHERE has(alert_ids, {a:String}) AND outcome = 'sent' "
        "AND kind = 'first' AND channel = 'webhook' ORDER BY person"
    )
    return [row[0] for row in stack.rows(sql, a=alert_id)]


def partitions(stack: Stack, worker: str) -> int:
    """How many partitions a worker says that it has."""
    mark = stack.settings.data_dir / "run" / f"{worker}.json"
    return int(json.loads(mark.read_text())["partitions"])


def test_two_officers_and_a_kill_in_between(stack: Stack, receiver: Receiver) -> None:
    new = raised(stack)
    key = new.alert_id
    assert (new.state, new.revision, new.kind) == ("open", 1, "detection")
    for person in ("ana", "bo"):
        stack.wait_until(
            lambda person=person: [each for each in receiver.about(key, "first") if each.person == person],
            30,
            f"{person} is told",
        )
    told = receiver.about(key, "first")
    assert len(told) == 2
    assert told[0].body["alerts"][0]["story"] == new.story

    first = alerts(stack, "ack", key[:13], "--by", "ana", "--for", "2h", "--revision", "1")
    assert (first.before, first.after, first.by, first.via, first.revision) == ("open", "acknowledged", "ana", "cli", 2)
    late = alerts(stack, "start", key, "--by", "bo", "--revision", "1", status=3)
    assert not late.accepted
    assert "ana" in late.reason

    kill_lifecycle(stack)
    closed = alerts(stack, "close", key, "--verdict", "benign", "--why", "a film crew", "--by", "bo")
    assert (closed.before, closed.after) == ("acknowledged", "closed")
    status, _, error = said(stack, "alerts", "ack", key, "--by", "ana")
    assert status == 3
    assert error.strip() == "refused: the alert is closed; allowed: reopen, note"
    reopened = alerts(stack, "reopen", key, "--by", "ana")
    assert (reopened.before, reopened.after) == ("closed", "open")
    status, output, _ = said(stack, "alerts", "note", key, "Called the film crew.", "--by", "ana")
    assert (status, output.strip()) == (0, f"{key}: noted by ana")

    stack.wait_until(lambda: state(stack, key).notes == 1, 30, "the state is stored")
    assert history(stack, key) == [
        ("raised", "stream", "stream", True, "open"),
        ("acknowledge", "ana", "cli", True, "acknowledged"),
        ("start", "bo", "cli", False, ""),
        ("close", "bo", "cli", True, "closed"),
        ("acknowledge", "ana", "cli", False, ""),
        ("reopen", "ana", "cli", True, "open"),
        ("note", "ana", "cli", True, "open"),
    ]
    assert len(receiver.about(key, "first")) == 2, "told as new once, whatever was killed"


def test_alerts_are_merged_and_split(stack: Stack, receiver: Receiver) -> None:
    one, other = raised(stack), raised(stack)
    merged = alerts(stack, "merge", one.alert_id, "--into", other.alert_id, "--by", "ana")
    assert merged.accepted
    stack.wait_until(lambda: state(stack, other.alert_id).merged == [one.alert_id], 30, "the other knows of it")
    assert alerts(stack, "split", one.alert_id, "--by", "ana").accepted
    assert alerts(stack, "assign", one.alert_id, "--to", "bo", "--by", "ana").after == "assigned"
    assert alerts(stack, "start", one.alert_id, "--by", "bo").after == "in_progress"
    assert alerts(stack, "unack", one.alert_id, "--by", "bo").after == "open"


def test_a_silence_hides_from_people_and_not_from_the_desk(stack: Stack, receiver: Receiver) -> None:
    scope = f"rule_id={RULE}"
    before = tocsin(stack, "silence", "preview", scope)
    assert {each["rule_id"] for each in before["hidden"]} <= {RULE}
    action = Action.model_validate(
        tocsin(stack, "silence", "add", scope, "--for", "1h", "--reason", "works on the bridge", "--by", "ana")
    )
    assert action.accepted

    def listed() -> list[dict[str, Any]]:
        return [each for each in tocsin(stack, "silence", "list") if each["reason"] == "works on the bridge"]

    (silence,) = stack.wait_until(listed, 30, "the silence is listed")
    assert silence["author"] == "ana"
    assert silence["matchers"] == [{"field": "rule_id", "op": "=", "value": RULE}]

    hidden = raised(stack)
    assert hidden.silences == [silence["silence_id"]]
    preview = tocsin(stack, "silence", "preview", scope)
    assert hidden.alert_id in {each["alert_id"] for each in preview["hidden"]}
    assert len(preview["hidden"]) > len(before["hidden"])

    assert tocsin(stack, "silence", "expire", silence["silence_id"][:8], "--by", "ana")["accepted"]
    # What came while it held is told now: so had it been told before, there would be two.
    stack.wait_until(lambda: receiver.about(hidden.alert_id), 30, "told once the silence has ended")
    stack.wait_until(lambda: state(stack, hidden.alert_id).silences == [], 30, "no longer marked")
    assert not [each for each in listed() if each["silence_id"] == silence["silence_id"]]
    status, _, error = said(stack, "silence", "add", "colour=red", "--for", "1h", "--reason", "no such field")
    assert status == 2
    assert "colour" in error


def test_records_that_are_none_kill_nothing(stack: Stack, receiver: Receiver) -> None:
    part = stack.part(LIFECYCLE)
    restarts = part.restarts
    for value in (b"no json", b"\xff\xfe\x00", b'{"verb": "explode", "command_id": "1"}', b"[]", None):
        stack.produce(COMMANDS_TOPIC, value, b"x")
        stack.produce("alerts.v1", value, b"x")
    new = raised(stack)
    action = alerts(stack, "note", new.alert_id, "Still here.", "--by", "ana")
    assert action.accepted

    def counted() -> set[str]:
        sql = (
            "SELECT DISTINCT labels['topic'] FROM pipeline_metrics WHERE worker = {w:String} AND value > 0 "
            "AND metric = 'tocsin_lifecycle_broken_records_total'"
        )
        return {row[0] for row in stack.rows(sql, w=LIFECYCLE)}

    stack.wait_until(lambda: counted() == {"alerts.v1", COMMANDS_TOPIC}, 30, "both are counted")
    assert part.restarts == restarts


def test_the_same_command_twice_is_done_once(stack: Stack, receiver: Receiver) -> None:
    """As after a lost answer, or when a worker repeats its work after a crash."""
    new = raised(stack)
    begin = stack.ends(ACTIONS_TOPIC)
    command = (
        f'{{"command_id": "{uuid4()}", "verb": "note", "alert_id": "{new.alert_id}", "by": "ana", "via": "api", '
        '"at": "2026-05-01T12:00:00Z", "text": "once"}'
    ).encode()
    for _ in range(2):
        stack.produce(COMMANDS_TOPIC, command, new.alert_id.encode())

    def answers() -> list[Action]:
        found = [Action.model_validate_json(each.value() or b"") for each in stack.read(ACTIONS_TOPIC, begin)]
        return [each for each in found if each.alert_id == new.alert_id and each.verb == "note"]

    stack.wait_until(lambda: len(answers()) == 2, 30, "both are answered")
    assert answers()[0] == answers()[1]
    stack.wait_until(lambda: state(stack, new.alert_id).notes == 1, 30, "noted")


def test_the_log_of_deliveries_says_what_was_received(stack: Stack, receiver: Receiver, mails: Mailbox) -> None:
    new = raised(stack)

    def logged() -> list[Any]:
        sql = (
            "SELECT notification_id, person, channel, address, kind, redacted FROM notifications FINAL "
            "WHERE has(alert_ids, {a:String}) AND outcome = 'sent' ORDER BY person"
        )
        return [tuple(row) for row in stack.rows(sql, a=new.alert_id)]

    stack.wait_until(lambda: len(logged()) == 3, 60, "all are told, and logged")
    hook = f"http://127.0.0.1:{receiver.port}"
    assert [row[1:] for row in logged()] == [
        ("ana", "webhook", hook, "first", False),
        ("bo", "webhook", hook, "first", False),
        ("cy", "smtp", "mira@desk.example", "first", False),
    ]
    *by_hook, by_mail = (opaque(row[0]) for row in logged())
    got = [each for each in receiver.got if new.alert_id in each.alert_ids]
    assert sorted((each.person, each.key) for each in got) == list(zip(("ana", "bo"), by_hook, strict=True))
    (mail,) = [each for each in mails.mails if new.alert_id in each.get_content()]
    assert mail["Message-ID"] == f"<{by_mail}@desk.example>"


def test_an_outage_of_the_store_holds_up_neither_alerts_nor_people(stack: Stack, receiver: Receiver) -> None:
    """With the worker killed in it, so that what is still to be stored has to be found again."""
    store, alert_id, now = stack.part("clickhouse"), str(uuid4()), iso(dt.datetime.now(dt.UTC))
    record = alert(alert_id, created_at=now, updated_at=now, last_event_at=now)

    def done(verb: Verb, **fields: Any) -> bool:
        asked = Command(
            command_id=str(uuid4()),
            verb=verb,
            alert_id=alert_id,
            by="ana",
            via="cli",
            at=dt.datetime.now(dt.UTC),
            **fields,
        )
        with CommandSender(stack.settings) as sender:
            return sender.ask(asked, 30).accepted

    store.stop(at_once=True)
    try:
        stack.produce(ALERTS_TOPIC, json.dumps(record).encode(), alert_id.encode())
        stack.wait_until(lambda: len(receiver.about(alert_id, "first")) == 2, 30, "both are told")
        assert done("acknowledge", for_s=3600)
        kill_lifecycle(stack)
        assert done("note", text="The store is away.")
    finally:
        store.start(60)
    wanted = [("raised", "open"), ("acknowledge", "acknowledged"), ("note", "acknowledged")]
    stack.wait_until(lambda: [(each[0], each[4]) for each in history(stack, alert_id)] == wanted, 60, "its history")
    (row,) = stack.rows("SELECT state, record FROM alert_states FINAL WHERE alert_id = {a:String}", a=alert_id)
    assert (row[0], json.loads(row[1])["notes"]) == ("acknowledged", 1)
    stack.wait_until(lambda: sent(stack, alert_id) == ["ana", "bo"], 30, "both are in the log of deliveries")
    assert len(receiver.about(alert_id)) == 2, "told once"


def test_a_second_worker_waits_and_takes_over(stack: Stack, receiver: Receiver) -> None:
    first, name = stack.part(LIFECYCLE), "lifecycle-1"
    (second,) = stack.platform.add_parts([worker_part(stack.settings, "lifecycle", "1")])
    try:
        before = raised(stack)
        stack.wait_until(lambda: len(receiver.about(before.alert_id, "first")) == 2, 30, "both are told")
        assert (partitions(stack, LIFECYCLE), partitions(stack, name)) == (2, 0)
        first.kill()
        first.stop()
        assert alerts(stack, "ack", before.alert_id, "--by", "ana", "--for", "1h").after == "acknowledged"
        after = raised(stack)
        stack.wait_until(lambda: len(receiver.about(after.alert_id, "first")) == 2, 30, "both are told of the next")
        assert partitions(stack, name) == 2
    finally:
        first.start(60)
        second.stop()
    stack.wait_until(lambda: state(stack, before.alert_id).state == "acknowledged", 60, "its state is stored")
    assert [each[0] for each in history(stack, before.alert_id)] == ["raised", "acknowledge"]
    for each in (before, after):
        assert len(receiver.about(each.alert_id, "first")) == 2, "told as new once"
        assert sent(stack, each.alert_id) == ["ana", "bo"]


def test_the_watchdog_comes_all_the_way(stack: Stack, receiver: Receiver) -> None:
    stack.wait_until(lambda: [each for each in receiver.got if each.person == "watchdog"], 90, "its message")
    assert {each.kind for each in receiver.got if each.person == "watchdog"} == {"watchdog"}
    sql = "SELECT count() FROM alert_states FINAL WHERE alert_id = {a:String} AND updated_at > now() - 130"
    stack.wait_until(lambda: stack.rows(sql, a=WATCHDOG_ID)[0][0] == 1, 90, "its state is of late")
    sql = (
        "SELECT argMax(value, sampled_at) FROM pipeline_metrics WHERE worker = {w:String} AND metric = {m:String} "
        "AND sampled_at > now() - 60"
    )
    for metric in ("tocsin_watchdog_age_seconds", "tocsin_watchdog_notified_age_seconds"):
        stack.wait_until(lambda metric=metric: 0 < stack.rows(sql, w=LIFECYCLE, m=metric)[0][0] < 300, 30, metric)


def test_a_feed_falls_silent_and_speaks_again(stack: Stack, receiver: Receiver) -> None:
    path = Path(stack.settings.partners_file)
    before = path.read_text()
    head, name, rest = before.partition("- id: tipline-uk\n")
    changed = head + name + rest.replace("expected_interval_s: 120", "expected_interval_s: 3", 1)
    assert changed != before
    raised(stack)

    def silent() -> list[AlertState]:
        found = [each for each in states_of(stack, FEED_SILENT) if each.partners == ["tipline-uk"]]
        return [each for each in found if not each.withdrawn]

    path.write_text(changed)
    try:
        (found,) = stack.wait_until(silent, 60, "the tip line is missed")
        assert found.kind == "platform"
        assert found.group == {"partner": "tipline-uk"}
        stack.wait_until(lambda: receiver.about(found.alert_id, "first"), 30, "it is told")
        kill_lifecycle(stack)
    finally:
        path.write_text(before)
    raised(stack)
    stack.wait_until(lambda: silent() == [], 60, "it is taken back")
    stack.wait_until(lambda: receiver.about(found.alert_id, "resolved"), 30, "and that is told")
    (row,) = stack.rows("SELECT status, version FROM alerts FINAL WHERE alert_id = {a:String}", a=found.alert_id)
    assert tuple(row) == ("retracted", 2)
