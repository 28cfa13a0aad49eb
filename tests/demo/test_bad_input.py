"""Each deliberate mistake is refused by ingest under the reason it is meant to show."""

from __future__ import annotations

import datetime as dt
from random import Random

import pytest

from deploy.demo.bad_input import REASONS, bad_record
from deploy.demo.player import CLUMSY
from deploy.demo.world import MIX, background
from streams.refusal import Reason
from tests.demo.pipeline import SCHEMA_IDS, run

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
FAMILIES = [(partner, family) for partner in CLUMSY for family in MIX[partner]]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(("partner", "family"), FAMILIES)
def test_it_is_refused_under_its_reason(partner: str, family: str, reason: str) -> None:
    _, event = next(background(partner, [family], 7, lambda: NOW, Random(1)))
    record = bad_record(reason, family, event, SCHEMA_IDS)
    result = run([(record.topic, record.key, record.value)], NOW)
    assert (result.stored, [each.reason for each in result.refused]) == (0, [Reason(reason)])
