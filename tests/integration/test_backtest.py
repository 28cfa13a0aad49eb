"""``tocsin rules backtest`` over what the real platform stored, beside the alerts that its workers gave."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.settings import Settings
from tests.integration.commands import tocsin
from tests.integration.events import encoded, event, now
from tests.stack import Stack

SHIPPED = Settings().rules_path
RULE = SHIPPED / "tips" / "vehicle_in_tips.yml"
SEVERAL = "948c14ee-2adb-4ba2-9589-db42d87b5bdb"
TIP = "cc077520-b3a9-408e-b02e-18ac407fa3b9"
TOPIC = "events.tip_report.v1"


@pytest.fixture(scope="module")
def plate(stack: Stack) -> str:
    """A vehicle named in four tips within a minute and in a late one; the workers have told the alert."""
    name = f"PLATE-{uuid4().hex[:8]}"
    tips = [tip(name, now() - dt.timedelta(seconds=60 - 10 * n)) for n in range(4)]
    tips.append(tip(name, now() - dt.timedelta(days=2)))
    # One partition, so that it is settled which event is late.
    schema_id = stack.schema_ids["tip_report"]
    for each in tips:
        stack.produce(TOPIC, encoded(schema_id, each), partition=0)
    stack.wait_ingested()
    stack.wait_until(
        lambda: any(each["evidence_total"] == 4 for each in stack.alerts() if name in each["group"].values()),
        60,
        "the alert of four tips",
    )
    return name


def tip(name: str, occurred_at: dt.datetime) -> dict[str, Any]:
    entities = [{"type": "vehicle", "value": name, "role": None}]
    return event("backtest", occurred_at=occurred_at, entities=entities, summary=f"{name} again") | {"severity": "HIGH"}


def backtest(stack: Stack, rules: Path, *words: str) -> Any:
    return tocsin(stack, "rules", "backtest", "--rules", str(rules), "--from", "10m", *words)


def of(plate: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in found if plate in each["group"].values()]


def test_the_deployed_rules_give_the_deployed_alerts(stack: Stack, plate: str) -> None:
    result = backtest(stack, SHIPPED, "--family", "tip_report", "--partner", "tipline-uk", "--sample", "100")
    assert set(result) == {
        *("from", "to", "events", "events_per_s", "rules", "alerts_per_day", "per_rule", "top_groups"),
        *("new", "gone", "samples"),
    }
    assert result["events"] >= 4
    assert of(plate, result["new"]) == of(plate, result["gone"]) == []
    (sample,) = of(plate, result["samples"])
    assert (sample["rule"], sample["group"], sample["count"]) == (SEVERAL, {"entity.vehicle": plate}, 4)
    assert "4 events from tipline-uk" in sample["story"]
    counted = {each["rule"]: each["alerts"] for each in result["per_rule"]}
    assert counted[SEVERAL] >= 1
    assert sum(counted.values()) == sum(result["alerts_per_day"].values())
    assert of(plate, result["top_groups"]) or len(result["top_groups"]) == 10


def test_a_lower_threshold_under_a_new_id_is_new(stack: Stack, plate: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    own = str(uuid4())
    rules.write_text(RULE.read_text().replace(SEVERAL, own).replace("condition: {gte: 3}", "condition: {gte: 2}"))
    (new,) = of(plate, backtest(stack, rules)["new"])
    assert (new["rule"], new["count"]) == (own, 4)


def test_a_threshold_never_reached_makes_the_alert_go(stack: Stack, plate: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULE.read_text().replace("condition: {gte: 3}", "condition: {gte: 500}"))
    result = backtest(stack, rules)
    (gone,) = of(plate, result["gone"])
    assert (gone["rule"], gone["count"]) == (SEVERAL, 4)
    assert of(plate, result["new"]) == []


def test_late_events_are_left_out_unless_asked_for(stack: Stack, plate: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULE.read_text().split("---")[0])
    narrow = (rules, "--from", "3d", "--to", "1d", "--partner", "tipline-uk")
    alone = tocsin(stack, "rules", "backtest", "--rules", *map(str, narrow), "--sample", "1000")
    late = tocsin(stack, "rules", "backtest", "--rules", *map(str, narrow), "--sample", "1000", "--include-late")

    def told(result: Any) -> int:
        return sum(plate in each["story"] for each in result["samples"])

    assert (told(alone), told(late)) == (0, 1)
    assert late["events"] == alone["events"] + 1
