"""Background traffic: valid, varied, fast, and silent under the shipped rules."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections import Counter, defaultdict
from random import Random

import h3
import pytest

from deploy.demo import identities
from deploy.demo.identities import PER_POOL, POOLS, Pool
from deploy.demo.world import COUNTRIES, MAX_JITTER_S, MIX, POOL_NUMBERS, SHARES, background, event_id_at
from deploy.loadgen import generate_encoded
from processors.enrich import gazetteer
from schemas.events import MODELS
from schemas.partners import load_partners
from schemas.settings import Settings
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS, run, shipped_rules

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def take(partner: str, n: int, seed: int = 7) -> list[tuple[str, dict]]:  # type: ignore[type-arg]
    return list(itertools.islice(background(partner, list(MIX[partner]), seed, lambda: NOW, Random(seed)), n))


@pytest.mark.parametrize("partner", MIX)
def test_every_event_is_valid_and_by_its_partner(partner: str) -> None:
    for family, event in take(partner, 300):
        header = MODELS[family].model_validate(event).header
        assert header.partner == partner
        assert not header.exercise
        assert 0 <= (header.published_at - header.occurred_at).total_seconds() <= MAX_JITTER_S


def test_the_mix_is_what_partners_yml_allows() -> None:
    partners = {partner.id: partner for partner in load_partners(Settings().partners_file)}
    assert set(MIX) == set(partners) == set(SHARES) == set(COUNTRIES)
    for partner, mix in MIX.items():
        assert set(mix) | {"heartbeat"} == set(partners[partner].families)
        assert sum(mix.values()) == pytest.approx(1)
        assert COUNTRIES[partner] == partners[partner].country
    assert sum(SHARES.values()) == pytest.approx(1)


def test_proportions_follow_the_mix() -> None:
    counts = Counter(family for family, _ in take("hub-ke", 5_000))
    for family, share in MIX["hub-ke"].items():
        assert counts[family] / 5_000 == pytest.approx(share, abs=0.03)


def test_same_seed_same_traffic_other_seed_other_traffic() -> None:
    assert take("bpol-de", 50) == take("bpol-de", 50)
    assert take("bpol-de", 50) != take("bpol-de", 50, seed=8)


def test_two_runs_of_one_seed_have_different_ids() -> None:
    first, second = (
        {
            event["header"]["event_id"]
            for _, event in itertools.islice(background("cert-fr", ["cyber_detection"], 7), 50)
        }
        for _ in range(2)
    )
    assert len(first | second) == 100


def test_unknown_partner_or_family_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'nobody' is not simulated: expected one of bpol-de"):
        background("nobody", ["tip_report"], 1)
    with pytest.raises(ValueError, match=r"cert-fr has no traffic of \['tip_report'\]: expected some of cyber"):
        background("cert-fr", ["tip_report"], 1)
    with pytest.raises(ValueError, match="no family"):
        background("cert-fr", [], 1)


def test_ids_are_uuid_version_7_in_order_of_time() -> None:
    rng = Random(1)
    ids = [event_id_at(NOW + dt.timedelta(milliseconds=n), rng) for n in range(100)]
    assert ids == sorted(ids)
    assert all(len(each) == 36 and each[14] == "7" and each[19] in "89ab" for each in ids)


@pytest.mark.parametrize("kind", ["person", "document", "phone", "bank_account", "online_account", "plate", "address"])
def test_pools_share_no_identity(kind: str) -> None:
    owner: dict[str, int] = {}
    numbers = [*range(0, PER_POOL, 997), PER_POOL - 1]
    for pool in range(POOLS):
        for k in numbers:
            assert owner.setdefault(getattr(Pool(pool, "DE"), kind)(k), pool) == pool


def test_identities_are_distinct_because_multiplication_is_a_bijection() -> None:
    pools = [Pool(number, "DE") for number in range(POOLS)]
    for kind in ("person", "document", "phone", "bank_account", "online_account", "plate"):
        values = {getattr(pool, kind)(k) for pool in pools for k in range(0, PER_POOL, 17)}
        assert len(values) == POOLS * len(range(0, PER_POOL, 17))
    assert len(POOL_NUMBERS) == len(set(POOL_NUMBERS.values())) <= POOLS
    assert PER_POOL * POOLS < identities._NUMBER_SPACE


def test_a_pool_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="pool 32 does not exist: expected 0 to 31"):
        Pool(32, "DE")


def test_each_identity_stays_with_one_partner_and_family() -> None:
    seen: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for partner in MIX:
        for family, event in take(partner, 2_000):
            for entity in event["header"]["entities"]:
                if entity["type"] != "domain":
                    seen[entity["type"], entity["value"]].add((partner, family))
    assert len(seen) > 10_000
    assert {len(owners) for owners in seen.values()} == {1}


def test_border_crossings_of_a_partner_stay_on_one_continent() -> None:
    import pyarrow as pa

    for partner in ("bpol-de", "rail-at", "hub-ke"):
        locations = [
            event["header"]["location"] for family, event in take(partner, 1_500) if family == "border_crossing"
        ]
        points = pa.array([{name: place[name] for name in ("lat", "lon", "country")} for place in locations])
        assert len(set(gazetteer().locate(points).continent.to_pylist())) == 1


def test_fifty_thousand_events_lead_to_no_alert() -> None:
    records = generate_encoded(50_000, 11, EVENT_FAMILIES, SCHEMA_IDS, until=NOW, spread_s=1_200)
    result = run(records, NOW)
    assert result.alerts == []
    assert (result.stored, result.refused, result.late) == (50_000, [], 0)
    # Silent for the right reason: the ordinary base rules do match, only no correlation comes about.
    titles = {shipped_rules().by_id[each].meta.title for each in result.matched_bases}
    assert {
        "Entry with a travel document",
        "Document reported lost, stolen or counterfeit",
        "Precursor purchase by a named buyer",
        "Large cash withdrawal",
        "Tip that names an account",
        "Serious online referral",
        "Vehicle at a border",
    } <= titles


def test_generation_is_cheap() -> None:
    stream = background("bpol-de", list(MIX["bpol-de"]), 7)
    next(stream)
    started = time.process_time()
    for _ in range(10_000):
        next(stream)
    assert 10_000 / (time.process_time() - started) > 5_000


def test_scattered_incidents_do_not_pile_up_in_a_cell_by_type() -> None:
    cells = Counter(
        (h3.latlng_to_cell(place["lat"], place["lon"], 7), event["incident_type"])
        for partner in ("rail-at", "tipline-uk")
        for family, event in take(partner, 1_000)
        if family == "incident_report" and (place := event["header"]["location"])
    )
    assert cells
    assert not {kind for _, kind in cells} & {"explosion", "shooting", "stabbing", "vehicle attack", "arson attack"}
