"""Seeded background traffic of the simulated partners, as full events with header; no event of it leads to an alert.

Two things keep it silent by construction, whatever the seed, the rate or the number of runs: each (partner, family)
draws identities from a pool of its own (``identities``), and the patterns that single-event rules look for do not occur
(``traffic``). A test runs the shipped rules over 50,000 events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from deploy.demo.identities import Pool
from deploy.demo.traffic import MAKERS, Draft
from streams.ids import uuid7

Event = dict[str, Any]
Clock = Callable[[], datetime]
MAX_JITTER_S = 2.0

# Share of each family in a partner's traffic; the keys are the families that partners.yml lets it publish.
MIX: dict[str, dict[str, float]] = {
    "bpol-de": {"border_crossing": 0.84, "document_notice": 0.06, "watchlist_entry": 0.04, "incident_report": 0.06},
    "fiu-nl": {"financial_transaction": 0.95, "watchlist_entry": 0.05},
    "cert-fr": {"cyber_detection": 1.0},
    "rail-at": {"travel_booking": 0.75, "border_crossing": 0.15, "incident_report": 0.10},
    "tipline-uk": {"tip_report": 0.85, "incident_report": 0.15},
    "platform-ie": {"online_referral": 0.6, "travel_booking": 0.4},
    "retail-pl": {"precursor_purchase": 0.6, "travel_booking": 0.4},
    "hub-ke": {
        "border_crossing": 0.55,
        "travel_booking": 0.2,
        "incident_report": 0.12,
        "document_notice": 0.07,
        "watchlist_entry": 0.06,
    },
}
# Share of each partner in the traffic of all: sensors report most, people least.
SHARES: dict[str, float] = {
    "cert-fr": 0.34,
    "fiu-nl": 0.18,
    "platform-ie": 0.12,
    "rail-at": 0.12,
    "bpol-de": 0.10,
    "hub-ke": 0.07,
    "retail-pl": 0.04,
    "tipline-uk": 0.03,
}
COUNTRIES = {
    "bpol-de": "DE",
    "fiu-nl": "NL",
    "cert-fr": "FR",
    "rail-at": "AT",
    "tipline-uk": "GB",
    "platform-ie": "IE",
    "retail-pl": "PL",
    "hub-ke": "KE",
}
POOL_NUMBERS = {pair: number for number, pair in enumerate((p, f) for p, mix in MIX.items() for f in mix)}
_LEGAL_BASIS = {
    "border_crossing": "Regulation (EU) 2016/399, Article 8",
    "travel_booking": "Directive (EU) 2016/681, Article 8",
    "financial_transaction": "Directive (EU) 2015/849, Article 33",
    "precursor_purchase": "Regulation (EU) 2019/1148, Article 9",
    "cyber_detection": "Directive (EU) 2022/2555, Article 29",
    "online_referral": "Regulation (EU) 2021/784, Article 14",
    "incident_report": "Directive (EU) 2023/977, Article 7",
    "tip_report": "Directive (EU) 2023/977, Article 7",
    "document_notice": "Regulation (EU) 2018/1862, Article 38",
    "watchlist_entry": "Regulation (EU) 2018/1862, Article 36",
}
_TLP = {
    "cyber_detection": ("GREEN", "CLEAR", "AMBER"),
    "incident_report": ("GREEN", "AMBER"),
    "tip_report": ("AMBER_STRICT", "RED"),
    "watchlist_entry": ("AMBER_STRICT",),
    "financial_transaction": ("AMBER_STRICT", "AMBER"),
}


def utc_now() -> datetime:
    return datetime.now(UTC)


def background(
    partner_id: str, families: Sequence[str], seed: int, clock: Clock = utc_now, ids: Random | None = None
) -> Iterator[tuple[str, Event]]:
    """Endless ordinary traffic of one partner: (family, event), event times 0 to 2 s behind ``clock``.

    Args:
        families: families to send, in the partner's own proportions.
        seed: the same seed gives the same events but for their times and ids.
        ids: where ids come from. Without it they differ between runs of one seed, or the second run would be taken for
            a repetition of the first.

    Raises:
        ValueError: the partner is not simulated, or does not publish one of the families.
    """
    mix = MIX.get(partner_id)
    if mix is None:
        raise ValueError(f"partner {partner_id!r} is not simulated: expected one of {', '.join(MIX)}")
    unknown = [family for family in families if family not in mix]
    if unknown or not families:
        raise ValueError(f"{partner_id} has no traffic of {unknown or 'no family'}: expected some of {', '.join(mix)}")
    return _endless(partner_id, list(families), seed, clock, ids or Random())


def _endless(partner_id: str, families: list[str], seed: int, clock: Clock, ids: Random) -> Iterator[tuple[str, Event]]:
    rng = Random(f"{seed}:{partner_id}")
    pools = {family: Pool(POOL_NUMBERS[partner_id, family], COUNTRIES[partner_id]) for family in families}
    weights = [MIX[partner_id][family] for family in families]
    while True:
        for family in rng.choices(families, weights, k=64):
            now = clock()
            draft = MAKERS[family](rng, pools[family], now)
            header = header_of(partner_id, family, draft, now, rng, event_id_at(now, ids))
            yield family, {"header": header, **draft.fields}


def header_of(partner_id: str, family: str, draft: Draft, now: datetime, rng: Random, event_id: str) -> Event:
    """Header of a background event; ``now`` is aware UTC, occurrence lies up to ``MAX_JITTER_S`` before it."""
    place = draft.place
    labels = _TLP.get(family, ("AMBER",))
    return {
        "event_id": event_id,
        "occurred_at": now - timedelta(seconds=rng.random() * MAX_JITTER_S),
        "occurred_precision": "INSTANT",
        "published_at": now,
        "partner": partner_id,
        "source_system": draft.source_system,
        "handling": {
            "tlp": labels[rng.randrange(len(labels))],
            "releasable_to": ["law-enforcement"],
            "purpose": "counter-terrorism",
            "legal_basis": _LEGAL_BASIS[family],
            "retain_days": 1825,
        },
        "exercise": False,
        "confidence": draft.confidence,
        "location": place and location_of(place.lat, place.lon, place.name, place.country, rng, bool(place.iata)),
        "entities": [{"type": kind, "value": value, "role": role} for kind, value, role in draft.entities],
        "summary": draft.summary,
    }


def location_of(lat: float, lon: float, name: str, country: str, rng: Random, exact: bool) -> Event:
    """A location; unless ``exact`` it is moved by up to about 2 km, which its precision says."""
    if exact:
        return {"lat": lat, "lon": lon, "precision_m": 500, "place": name, "country": country}
    return {
        "lat": round(lat + rng.uniform(-0.015, 0.015), 5),
        "lon": round(lon + rng.uniform(-0.015, 0.015), 5),
        "precision_m": 2000,
        "place": name,
        "country": country,
    }


def event_id_at(now: datetime, ids: Random) -> str:
    """UUID version 7 at ``now`` (aware) with the random bits of ``ids``."""
    return uuid7(int(now.timestamp() * 1000), ids.getrandbits(74))
