"""A storm: 20,000 signals over 300 groups within a minute, the lifecycle worker killed twice in it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

from tests.integration.alerting import kill_lifecycle, on_call, rules, states_of, tips
from tests.integration.receiver import Got, receiving
from tests.integration.test_rules_deploy import BASE, THREE
from tests.stack import Stack

SIGNALS = 20_000
GROUPS = 300
PEOPLE = ("ana", "bo")
SLICES = 5
STORM_S = 60


def test_each_situation_is_told_to_each_person_once_and_none_is_missing(stack: Stack, tmp_path: Path) -> None:
    rule_id, word = str(uuid4()), f"w{uuid4().hex[:8]}"
    sources = [f"storm-{number:03}-{word}" for number in range(GROUPS)]
    text = BASE.format(id=uuid4(), word=word) + THREE.format(id=rule_id)
    group_by = "rule_id, group.header.source_system"

    def alerts() -> dict[str, int]:
        """Evidence of each alert, as the correlators told it last."""
        sql = "SELECT alert_id, evidence_total FROM alerts FINAL WHERE rule_id = {r:String} AND status = 'open'"
        return dict(tuple(row) for row in stack.rows(sql, r=rule_id))

    def states() -> dict[str, int]:
        return {each.alert_id: each.evidence_total for each in states_of(stack, rule_id)}

    with (
        receiving() as receiver,
        rules(stack, tmp_path / "rules", text),
        on_call(stack, receiver, *PEOPLE, group_by=group_by, group_wait="2s", group_interval="1m"),
    ):
        began = time.monotonic()
        size = SIGNALS // SLICES
        for number in range(SLICES):
            first = number * size
            tips(stack, [(sources[each % GROUPS], f"{each}: {word}") for each in range(first, first + size)])
            if number == 1:
                stack.wait_until(lambda: len(states()) > GROUPS // 10, STORM_S, "the first states")
                kill_lifecycle(stack)
        published_s = time.monotonic() - began

        def firsts() -> list[Got]:
            return [each for each in list(receiver.got) if each.kind == "first"]

        stack.wait_until(lambda: len(firsts()) > GROUPS // 2, STORM_S, "some are told")
        kill_lifecycle(stack)
        stack.wait_until(lambda: sum(alerts().values()) == SIGNALS, STORM_S, "every signal is in an alert")
        found = alerts()
        stack.wait_until(lambda: states() == found, STORM_S, "every alert has its state")

        def told() -> set[tuple[str, str]]:
            return {(alert_id, each.person) for each in firsts() for alert_id in each.alert_ids}

        wanted = {(alert_id, person) for alert_id in found for person in PEOPLE}
        stack.wait_until(lambda: told() == wanted, STORM_S, "every situation is told to everybody")
        took_s = time.monotonic() - began

        def unsettled() -> int:
            sql = (
                "SELECT count() FROM (SELECT arrayJoin(alert_ids) AS a, person FROM notifications FINAL "
                "WHERE kind = 'first' AND outcome = 'sent' AND a IN {ids:Array(String)} GROUP BY a, person)"
            )
            return len(wanted) - int(stack.rows(sql, ids=list(found))[0][0])

        stack.wait_until(lambda: unsettled() == 0, STORM_S, "all of it is in the log of deliveries")
        got = firsts()

    assert len(found) == GROUPS
    keys = {each.key for each in got}
    once = Counter(
        (alert_id, each.person) for each in {each.key: each for each in got}.values() for alert_id in each.alert_ids
    )
    assert set(once.values()) == {1}, "somebody was told of a situation as new under two keys"
    assert len(keys) == GROUPS * len(PEOPLE)
    raised = stack.rows(
        "SELECT alert_id, count() FROM alert_actions FINAL WHERE verb = 'raised' AND alert_id IN {ids:Array(String)} "
        "GROUP BY alert_id",
        ids=list(found),
    )
    assert {row[0]: row[1] for row in raised} == dict.fromkeys(found, 1)
    print(
        f"\n{SIGNALS:,} signals published in {published_s:.0f} s, all told after {took_s:.0f} s; "
        f"{len(got) - len(keys)} of {len(got)} first messages were repeated, under their key"
    )
