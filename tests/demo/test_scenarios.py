"""Scenarios: valid events, unique per run, and exactly the alerts they promise when the shipped rules see them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from random import Random

import pytest

from deploy.demo.scenarios import MAX_AGE_S, PUBLISHED_WITHIN_S, event_of, expected, scenarios
from deploy.demo.script import ExpectedAlert, Scenario
from deploy.demo.world import MIX
from deploy.loadgen import encode_scenarios, generate_encoded
from processors.rulebook import Correlation
from schemas.events import MODELS
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS, run, shipped_rules

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def missing_and_surplus(alerts: list[dict], wanted: list[ExpectedAlert]) -> tuple[list[str], list[str]]:  # type: ignore[type-arg]
    left = list(alerts)
    missing = []
    for each in wanted:
        met = next((alert for alert in left if each.met_by(alert)), None)
        if met is None:
            missing.append(f"{each.scenario}: {each.rule_title}")
        else:
            left.remove(met)
    return missing, [alert["story"] for alert in left]


def test_a_run_leads_to_the_expected_alerts_and_no_other() -> None:
    result = run(encode_scenarios("run-1", SCHEMA_IDS, NOW), NOW)
    assert missing_and_surplus(result.alerts, expected("run-1")) == ([], [])
    assert (result.refused, result.late) == ([], 0)
    assert all(alert["exercise"] for alert in result.alerts)


def test_the_evidence_comes_from_the_partners_named() -> None:
    alerts = run(encode_scenarios("run-1", SCHEMA_IDS, NOW), NOW).alerts
    for each in expected("run-1"):
        alert = next(alert for alert in alerts if each.met_by(alert))
        assert sorted(each.partners) == alert["partners"], each.scenario


def test_alerts_do_not_depend_on_the_order_of_publication() -> None:
    records = encode_scenarios("run-1", SCHEMA_IDS, NOW)
    Random(3).shuffle(records)
    assert missing_and_surplus(run(records, NOW).alerts, expected("run-1")) == ([], [])


def test_scenarios_stand_out_of_background_traffic() -> None:
    records = generate_encoded(20_000, 5, EVENT_FAMILIES, SCHEMA_IDS, until=NOW, spread_s=60)
    records[10_000:10_000] = encode_scenarios("run-1", SCHEMA_IDS, NOW)
    assert missing_and_surplus(run(records, NOW).alerts, expected("run-1")) == ([], [])


def test_a_second_run_is_a_new_situation() -> None:
    records = [*encode_scenarios("run-1", SCHEMA_IDS, NOW), *encode_scenarios("run-2", SCHEMA_IDS, NOW)]
    wanted = expected("run-1") + expected("run-2")
    assert missing_and_surplus(run(records, NOW).alerts, wanted) == ([], [])


def test_rounds_of_a_run_differ_and_are_listed() -> None:
    first, second = expected("run-1"), expected("run-1", rounds=2)[len(expected("run-1")) :]
    assert [each.rule_id for each in first] == [each.rule_id for each in second]
    assert all(a.marker != b.marker for a, b in zip(first, second, strict=True))


def test_events_are_valid_marked_and_within_the_allowed_times() -> None:
    for scenario in scenarios("run-1"):
        for step in scenario.steps:
            header = MODELS[step.family].model_validate(event_of(step, NOW, Random(1))).header
            assert header.exercise
            assert header.summary.endswith(scenario.marker)
            assert step.family in MIX[step.partner]
            assert 0 <= step.offset_s <= PUBLISHED_WITHIN_S
            assert 0 <= step.age_s <= MAX_AGE_S


def test_three_alerts_across_partners_are_complete_in_the_first_quarter_minute() -> None:
    done = [max(step.offset_s for step in each.steps) for each in scenarios("r") if len(each.alerts[0].partners) > 1]
    assert sum(offset <= 15 for offset in done) >= 3


def test_scenarios_expect_shipped_rules() -> None:
    alerting = {each.meta.id for each in shipped_rules().rules if each.alerts}
    assert {each.rule_id for each in expected("run-1")} <= alerting


def test_names_are_unique_and_identifiers_unlike_background() -> None:
    names = [each.name for each in scenarios("run-1")]
    assert len(names) == len(set(names)) >= 8
    counts = Counter(
        value
        for scenario in scenarios("run-1")
        for value in {v for step in scenario.steps for _, v, _ in step.entities}
    )
    assert set(counts.values()) == {1}


def test_a_single_event_rule_is_told_by_its_marker_and_a_correlation_by_its_group() -> None:
    single = next(each for each in expected("run-1") if not each.group)
    alert = {"rule": {"id": single.rule_id}, "group": {}, "evidence": [{"summary": f"Sold {single.marker}"}]}
    assert single.met_by(alert)
    assert not single.met_by({**alert, "evidence": [{"summary": "Sold"}]})
    paired = next(each for each in expected("run-1") if each.group)
    shouted = {key: value.upper() for key, value in paired.group.items()}
    assert paired.met_by({"rule": {"id": paired.rule_id}, "group": shouted, "evidence": []})
    assert not paired.met_by({"rule": {"id": paired.rule_id}, "group": {}, "evidence": []})


@pytest.mark.parametrize(
    "scenario", [each for each in scenarios("run-1") if each.alerts[0].group], ids=lambda each: each.name
)
def test_each_event_of_a_correlation_is_needed(scenario: Scenario) -> None:
    """A scenario that would fire without one of its events proves nothing."""
    marker = scenario.marker.encode()
    mine = [record for record in encode_scenarios("run-1", SCHEMA_IDS, NOW) if marker in record[2]]
    assert len(mine) == len(scenario.steps)
    for skipped in range(len(mine)):
        alerts = run(mine[:skipped] + mine[skipped + 1 :], NOW).alerts
        assert missing_and_surplus(alerts, list(scenario.alerts))[0], f"fires without event {skipped}"


def test_correlations_span_partners_or_families() -> None:
    book = shipped_rules()
    across = [
        each.meta.name
        for each in book.correlations
        if isinstance(each, Correlation)
        and (
            len({leaf.family for base in each.bases for leaf in book.leaves_of(base)}) > 1
            or set(each.value_fields) & {"header.partner", "geo.continent"}
        )
    ]
    assert len(across) >= 8, sorted(itertools.chain(across))
