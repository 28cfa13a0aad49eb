"""``tocsin alerts explain --replay``: an alert's own records lead to it again."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from typer.testing import CliRunner

from deploy.cli import app
from deploy.demo.scenarios import expected
from deploy.loadgen import encode_scenarios, produce_encoded
from tests.stack import Stack

RUN = "replayed"


def test_the_records_of_an_alert_make_it_fire_again(stack: Stack) -> None:
    records = encode_scenarios(RUN, stack.schema_ids, dt.datetime.now(dt.UTC))
    produce_encoded(stack.settings, records)
    wanted = list(expected(RUN))

    def fired() -> list[dict[str, Any]]:
        alerts = stack.alerts()
        found = [next((alert for alert in alerts if each.met_by(alert)), {}) for each in wanted]
        return found if all(found) else []

    alerts = stack.wait_until(fired, 60, "the alerts of the scenarios")
    several = next(each for each in alerts if each["kind"] == "correlation")
    alone = next(each for each in alerts if each["kind"] == "detection")
    for alert in (several, alone):
        arguments = [
            "alerts",
            "explain",
            alert["alert_id"],
            "--replay",
            "--json",
            "--data-dir",
            str(stack.settings.data_dir),
        ]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        replayed = json.loads(result.stdout)["replay"]
        assert replayed["fires"]
        assert replayed["from_kafka"] == replayed["expected"] == replayed["evidence"]
        assert replayed["rule_version"] == alert["rule"]["version"]
