"""``tocsin publish`` as a partner runs it, against the real platform."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.settings import PACKAGE_ROOT
from streams.adapters.ucdp_ged import country_code
from tests.stack import Stack

GED = PACKAGE_ROOT.parent / "shared" / "data" / "ucdp_ged_sample.csv"


def tocsin(stack: Stack, *arguments: str, status: int = 0) -> Any:
    """Run the command with ``--json``; what it printed."""
    command = [sys.executable, "-m", "deploy.cli", *arguments, "--json", "--data-dir", str(stack.settings.data_dir)]
    done = subprocess.run(command, cwd=PACKAGE_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.skipif(not GED.is_file(), reason=f"the UCDP GED sample is not at {GED}")
def test_a_ged_file_published_twice_is_stored_once(stack: Stack) -> None:
    with GED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    events = Counter(country_code(row["country"].strip()) or "" for row in rows)
    killed: Counter[str] = Counter()
    for row in rows:
        killed[country_code(row["country"].strip()) or ""] += max(int(row["best"]), 0)
    before = quarantined(stack)
    for _ in range(2):
        report = tocsin(
            stack, "publish", str(GED), "--partner", "hub-ke", "--family", "incident_report", "--format", "ucdp-ged"
        )
        assert (report["read"], report["delivered"], report["refused"]) == (1000, 1000, 0)
        stack.wait_ingested()
        assert stack.stored("ucdp-ged") == 1000
    totals = stack.rows(
        "SELECT country, count(), sum(JSONExtractInt(payload, 'fatalities_best')) FROM events FINAL "
        "WHERE source_system = 'ucdp-ged' GROUP BY country"
    )
    assert {row[0]: row[1] for row in totals} == dict(events)
    assert {row[0]: row[2] for row in totals} == dict(killed)
    assert quarantined(stack) == before


def quarantined(stack: Stack) -> int:
    return int(stack.rows("SELECT count() FROM quarantine FINAL WHERE partner = 'hub-ke'")[0][0])


def test_good_lines_are_stored_and_bad_ones_refused_at_the_desk(stack: Stack, tmp_path: Path) -> None:
    source = f"jsonl-{uuid4().hex[:8]}"
    good = {"occurred_at": "2026-01-01T12:00:00Z", "tlp": "AMBER", "source_system": source, "text": "A van."}
    lines = [json.dumps({**good, "text": f"tip {number}"}) for number in range(50)]
    bad = [
        "{not json",
        json.dumps({**good, "occurred_at": "yesterday"}),
        json.dumps({**good, "lat": 95, "lon": 0}),
        json.dumps({**good, "confidence": 101}),
        json.dumps({key: value for key, value in good.items() if key != "tlp"}),
        json.dumps({**good, "no_such_field": 1}),
    ]
    for number, line in enumerate(bad):
        lines.insert(number * 7, line)
    file, refused = tmp_path / "tips.jsonl", tmp_path / "refused.jsonl"
    file.write_text("\n".join(lines) + "\n")
    arguments = ("publish", str(file), "--partner", "tipline-uk", "--family", "tip_report", "--refused", str(refused))
    report = tocsin(stack, *arguments, status=3)
    assert (report["read"], report["delivered"], report["refused"]) == (56, 50, 6)
    assert len(refused.read_text().splitlines()) == 6
    stack.wait_ingested()
    assert stack.stored(source) == 50
    tocsin(stack, *arguments, status=3)
    stack.wait_ingested()
    assert stack.stored(source) == 50, "the same file published twice is stored once"
