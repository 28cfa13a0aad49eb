"""What is sent when: rates, scenario times, repeats, mistakes and the state that the console reads."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections import Counter
from pathlib import Path

import pytest

from deploy.demo import partners
from deploy.demo.bad_input import REASONS
from deploy.demo.player import (
    BAD_EVERY_S,
    CLUMSY,
    FIRST_BAD_S,
    MAX_BACKLOG_S,
    REPEAT_EVERY_S,
    REPEAT_FROM_S,
    Player,
    state,
)
from deploy.demo.scenarios import PUBLISHED_WITHIN_S, expected, scenarios
from deploy.demo.world import MIX, SHARES, Event

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


class Sent:
    """Remembers what a player sends instead of sending it."""

    def __init__(self) -> None:
        self.good: list[tuple[str, str, Event]] = []
        self.bad: list[tuple[str, str]] = []

    def publish(self, partner: str, family: str, event: Event) -> None:
        self.good.append((partner, family, event))

    def publish_bad(self, partner: str, reason: str, family: str, event: Event) -> None:
        assert family in MIX[partner]
        assert event["header"]["partner"] == partner
        self.bad.append((partner, reason))

    @property
    def live(self) -> list[tuple[str, str, Event]]:
        return [each for each in self.good if not each[2]["header"]["exercise"]]

    @property
    def drill(self) -> list[tuple[str, str, Event]]:
        return [each for each in self.good if each[2]["header"]["exercise"]]


def play(until_s: float, rate: float = 40.0, step_s: float = 0.5) -> tuple[Player, Sent]:
    sent = Sent()
    player = Player(sent, "run-1", 7, rate, lambda: NOW)
    for tick in range(int(until_s / step_s) + 1):
        player.play(tick * step_s)
    return player, sent


def test_each_partner_sends_at_its_share_of_the_rate() -> None:
    counts = Counter(partner for partner, _, _ in play(100)[1].live)
    for partner, share in SHARES.items():
        assert counts[partner] == pytest.approx(4_000 * share, abs=1)


def test_traffic_does_not_depend_on_how_often_it_is_asked_for() -> None:
    assert Counter(p for p, _, _ in play(20, step_s=0.05)[1].good) == Counter(p for p, _, _ in play(20)[1].good)


def test_a_pause_is_not_made_up_for_in_one_burst() -> None:
    sent = Sent()
    player = Player(sent, "run-1", 7, 40.0, lambda: NOW)
    player.play(1_000)
    assert len(sent.live) <= 40 * MAX_BACKLOG_S
    before = len(sent.live)
    player.play(1_001)
    assert len(sent.live) - before == pytest.approx(40, abs=len(MIX))


def test_the_first_round_is_out_within_its_time_and_then_expected() -> None:
    player, sent = play(PUBLISHED_WITHIN_S)
    assert len(sent.drill) == sum(len(each.steps) for each in scenarios("run-1"))
    assert [each["marker"] for each in player.expected()] == [each.marker for each in expected("run-1")]
    assert all(each["completed_s"] <= PUBLISHED_WITHIN_S for each in player.expected())


def test_an_unfinished_scenario_is_not_expected_yet() -> None:
    player, _ = play(3)
    assert player.expected() == []
    player.play(5)
    assert [each["scenario"] for each in player.expected()] == ["two-continents"]


def test_later_rounds_repeat_slowly_with_new_identifiers() -> None:
    first, _ = play(REPEAT_FROM_S - 1, rate=0)
    later, sent = play(REPEAT_FROM_S + 2 * REPEAT_EVERY_S + 40, rate=0)
    added = later.expected()[len(first.expected()) :]
    assert [each["scenario"] for each in added] == ["two-continents", "stolen-document", "watchlist-hit"]
    assert {each["round"] for each in added} == {1}
    assert [each["marker"] for each in added] == [
        each.marker for each in expected("run-1", 2)[len(expected("run-1")) :]
    ][:3]
    assert added[0]["completed_s"] >= REPEAT_FROM_S
    assert len({event["header"]["event_id"] for _, _, event in sent.good}) == len(sent.good)


def test_all_rounds_together_match_the_list_for_that_many_rounds() -> None:
    player, _ = play(REPEAT_FROM_S + 20 * REPEAT_EVERY_S, rate=0, step_s=5)
    markers = {(each["rule_id"], each["marker"]) for each in player.expected()}
    assert {(each.rule_id, each.marker) for each in expected("run-1", 2)} <= markers
    assert markers <= {(each.rule_id, each.marker) for each in expected("run-1", 3)}


def test_clumsy_partners_take_turns_with_every_kind_of_mistake() -> None:
    _, sent = play(FIRST_BAD_S + BAD_EVERY_S * 20.5)
    assert len(sent.bad) == 21
    assert set(sent.bad) == {(partner, reason) for partner in CLUMSY for reason in REASONS}


def test_mistakes_stay_below_each_partners_error_limit() -> None:
    _, sent = play(600)
    good, bad = Counter(p for p, _, _ in sent.good), Counter(p for p, _ in sent.bad)
    assert all(bad[partner] / (good[partner] + bad[partner]) < 0.05 for partner in CLUMSY)


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="rate is -1 events/s: expected 0 or more"):
        Player(Sent(), "run-1", 7, -1)


def test_state_is_complete_json_and_replaced_as_a_whole(tmp_path: Path) -> None:
    player, _ = play(10)
    path = tmp_path / partners.STATE_FILE
    path.write_text("old")
    partners.write_json(path, state(player, "2026-06-01T12:00:00Z", {"fiu-nl": 5, "hub-ke": 3}, {"hub-ke": 2}, False))
    content = json.loads(path.read_text())
    assert content["run_id"] == "run-1"
    assert set(content["partners"]) == set(MIX)
    assert content["partners"]["hub-ke"] == {"published": 3, "bad": 2}
    assert (content["published_total"], content["bad_total"], content["finished"]) == (8, 2, False)
    assert content["scenarios"][0]["story"].endswith(".")
    assert content["expected"][0]["group"]
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_platform_the_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("TOCSIN_REGISTRY_URL", f"http://127.0.0.1:{port}/apis/ccompat/v7")
        assert partners.main(["--data-dir", str(tmp_path)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
