"""One ordinary event of each family, as a draft without header; nothing here may satisfy an alerting rule.

What background traffic never contains, beside identities shared between pools (see ``identities``): restricted
precursors above the limit without licence; tips of critical urgency, and pressing tips with a vehicle; high or critical
detections on energy, transport or drinking water; violent incidents; remarks about revoked documents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from deploy.demo.identities import PER_POOL, Pool
from deploy.demo.places import Place, airports, country_name, destinations, land_posts, towns

Fields = dict[str, Any]
EntityTuple = tuple[str, str, str]

NATIONALITIES = (
    "DE",
    "FR",
    "IT",
    "ES",
    "PL",
    "NL",
    "AT",
    "GB",
    "IE",
    "KE",
    "UG",
    "TZ",
    "ET",
    "IN",
    "US",
    "TR",
    "RO",
    "UA",
    "SE",
    "CZ",
)
CARRIERS = ("LH", "OS", "AF", "KL", "BA", "EI", "LO", "KQ", "ET", "TK")
SUBSTANCES: tuple[tuple[str, str, str, float, str], ...] = (
    # substance, CAS number, annex, usual concentration in per cent, unit
    ("acetone", "67-64-1", "ANNEX_II", 99.0, "LITRE"),
    ("calcium ammonium nitrate", "15245-12-2", "ANNEX_II", 27.0, "KILOGRAM"),
    ("hexamine", "100-97-0", "ANNEX_II", 99.0, "GRAM"),
    ("potassium nitrate", "7757-79-1", "ANNEX_II", 99.0, "KILOGRAM"),
    ("sodium nitrate", "7631-99-4", "ANNEX_II", 99.0, "KILOGRAM"),
    ("hydrogen peroxide", "7722-84-1", "ANNEX_I", 35.0, "LITRE"),
    ("nitric acid", "7697-37-2", "ANNEX_I", 53.0, "LITRE"),
    ("sulphuric acid", "7664-93-9", "ANNEX_I", 37.0, "LITRE"),
    ("hydrogen peroxide", "7722-84-1", "NONE", 6.0, "LITRE"),
)
DETECTIONS: tuple[tuple[str, str], ...] = (
    ("Brute force against a login page", "T1110"),
    ("Port scan of an address range", "T1595"),
    ("Phishing page for staff mail", "T1566"),
    ("Exploit attempt on a public web application", "T1190"),
    ("Known malware in an attachment", "T1204"),
    ("Password spraying on remote access", "T1110.003"),
)
GUARDED_SECTORS = ("energy", "transport", "drinking water")
OTHER_SECTORS = ("health", "banking", "public administration", "education", "digital infrastructure")
SENSORS = tuple(f"sensor-{number:02d}" for number in range(1, 13))
INCIDENTS = (
    "suspicious object",
    "trespass",
    "vandalism",
    "traffic collision",
    "drone sighting",
    "false alarm",
    "public order",
)
TIP_TEXTS = (
    "Neighbour stores many containers in a garage",
    "Person photographs the entrance of a station for days",
    "Relative has begun to repeat extremist slogans",
    "Flyers of an extremist group in a stairwell",
    "Acquaintance wants to travel to a conflict area",
    "Van parked near a school for a week",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Family fields, entities as (type, value, role), where, one sentence, and the reporting system."""

    fields: Fields
    entities: list[EntityTuple]
    place: Place | None
    summary: str
    source_system: str
    confidence: int


def border_crossing(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    direction = "ENTRY" if rng.random() < 0.5 else "EXIT"
    if rng.random() < 0.6 and pool.country in ("DE", "KE"):
        place, mode = rng.choice(airports(pool.country)), "AIR"
    else:
        place, mode = rng.choice(land_posts(pool.country)), "RAIL" if pool.country == "AT" else "LAND"
    entities: list[EntityTuple] = []
    fields: Fields = {"direction": direction, "mode": mode, "crossing_point": place.iata or place.name}
    if mode == "AIR":
        fields["carrier"] = rng.choice(CARRIERS)
        fields["route_number"] = f"{fields['carrier']}{rng.randrange(100, 2000)}"
    if mode == "LAND":
        fields["vehicle_plate"] = pool.plate(k)
        entities.append(("vehicle", fields["vehicle_plate"], "driven"))
    if mode == "LAND" and rng.random() < 0.7:
        # A camera read the plate; nobody was checked.
        fields["outcome"] = "NOT_RECORDED"
    else:
        nationality = NATIONALITIES[k % len(NATIONALITIES)]
        fields |= {
            "document_number": pool.document(k, nationality),
            "document_type": "PASSPORT" if rng.random() < 0.7 else "ID_CARD",
            "document_country": nationality,
            "nationality": nationality,
            "outcome": "ADMITTED" if rng.random() < 0.985 else "REFERRED",
        }
        entities += [("person", pool.person(k), "traveller"), ("document", fields["document_number"], "shown")]
    summary = f"{direction.capitalize()} at {place.name}, {mode.lower()}, {fields['outcome'].lower().replace('_', ' ')}"
    return Draft(fields, entities, place, summary, "border-control", 90)


def travel_booking(rng: Random, pool: Pool, now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    kind = rng.choice(_BOOKING_KINDS.get(pool.country, ("FLIGHT", "BUS")))
    origin = rng.choice(airports(pool.country) if kind == "FLIGHT" else towns(pool.country))
    target = origin if kind in ("VEHICLE_RENTAL", "ACCOMMODATION") else rng.choice(destinations())
    departs = now.replace(microsecond=0) + timedelta(hours=rng.randrange(6, 2000))
    one_way = rng.random() < 0.3
    document = pool.document(k) if kind == "FLIGHT" else None
    entities: list[EntityTuple] = []
    # Tickets for trains and buses mostly name nobody.
    if kind not in ("TRAIN", "BUS") or rng.random() < 0.15:
        entities.append(("person", pool.person(k), "passenger"))
        if rng.random() < 0.3:
            entities.append(("phone", pool.phone(k), "contact"))
    if document:
        entities.append(("document", document, "given"))
    fields: Fields = {
        "kind": kind,
        "booking_reference": f"{rng.randrange(36**6):06X}"[-6:],
        "carrier": rng.choice(CARRIERS),
        "origin": origin.iata or origin.name,
        "destination": target.iata or target.name,
        "origin_country": origin.country,
        "destination_country": target.country,
        "departs_at": departs,
        "returns_at": None if one_way else departs + timedelta(days=rng.randrange(1, 30)),
        "one_way": one_way,
        "passengers": 1 + int(rng.random() * rng.random() * 5),
        "document_number": document,
        "payment_method": "CARD" if rng.random() < 0.8 else "TRANSFER",
        "amount_minor": rng.randrange(1_900, 180_000),
        "currency": "EUR",
    }
    summary = f"{kind.replace('_', ' ').capitalize()} from {origin.name} to {target.name}"
    return Draft(fields, entities, origin if rng.random() < 0.7 else None, summary, "reservation", 95)


_BOOKING_KINDS = {
    "AT": ("TRAIN", "TRAIN", "BUS"),
    "IE": ("FLIGHT", "FLIGHT", "ACCOMMODATION"),
    "PL": ("VEHICLE_RENTAL", "FERRY"),
}


def financial_transaction(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    kind = rng.choice(("TRANSFER", "TRANSFER", "REMITTANCE", "CASH_DEPOSIT", "CASH_WITHDRAWAL", "CARD", "CRYPTO"))
    amount = int(10 ** rng.uniform(4, 6.3))
    account = pool.bank_account(k)
    other = None if kind.startswith("CASH") else pool.bank_account((k * 7 + 1) % PER_POOL)
    entities = [("person", pool.person(k), "payer"), ("account", account, "debited")]
    if rng.random() < 0.1:
        entities.append(("phone", pool.phone(k), "contact"))
    if rng.random() < 0.1:
        entities.append(("ip", pool.address(k), "ordered from"))
    fields: Fields = {
        "kind": kind,
        "report_type": "THRESHOLD" if amount >= 1_000_000 else "SUSPICIOUS_ACTIVITY",
        "transaction_reference": f"FT{rng.randrange(10**10):010d}",
        "from_account": account,
        "to_account": other,
        "from_country": pool.country,
        "to_country": rng.choice(NATIONALITIES) if other else None,
        "purpose_text": rng.choice(("invoice", "rent", "gift", "family support", "savings", None)),
        "amount_minor": amount,
        "currency": "EUR",
    }
    summary = f"{kind.replace('_', ' ').capitalize()} of {amount / 100:,.2f} EUR"
    return Draft(fields, entities, rng.choice(towns(pool.country)), summary, "goaml", 60)


def precursor_purchase(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    substance, cas, annex, concentration, unit = rng.choice(SUBSTANCES)
    town = rng.choice(towns(pool.country))
    entities = [("person", pool.person(k), "buyer")]
    if rng.random() < 0.2:
        entities.append(("phone", pool.phone(k), "contact"))
    suspicious = rng.random() < 0.02
    fields: Fields = {
        "substance": substance,
        "cas_number": cas,
        "quantity": float(rng.choice((1, 2, 5, 10, 25))),
        "unit": unit,
        "concentration_pct": concentration,
        "annex": annex,
        "licence_number": f"PL-{rng.randrange(10**6):06d}" if annex == "ANNEX_I" else None,
        "seller": f"Depot {town.name}",
        "online": rng.random() < 0.4,
        "document_number": pool.document(k),
        "payment_method": "CARD" if rng.random() < 0.7 else "CASH",
        "suspicious": suspicious,
        "suspicion_reason": "buyer could not name a use" if suspicious else None,
        "amount_minor": rng.randrange(500, 60_000),
        "currency": "PLN",
    }
    entities.append(("document", fields["document_number"], "shown"))
    return Draft(fields, entities, town, f"Purchase of {substance} in {town.name}", "point-of-sale", 80)


def cyber_detection(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    name, technique = rng.choice(DETECTIONS)
    guarded = rng.random() < 0.4
    sector = rng.choice(GUARDED_SECTORS if guarded else OTHER_SECTORS)
    severity = rng.choice(("LOW", "MEDIUM") if guarded else ("LOW", "MEDIUM", "HIGH"))
    address = pool.address(k)
    asset = f"{sector.replace(' ', '-')}-{rng.randrange(400):03d}.example"
    fields: Fields = {
        "detection_name": name,
        "severity": severity,
        "technique": technique,
        "sector": sector,
        "asset": asset,
        "src_ip": address,
        "dst_ip": f"192.0.2.{rng.randrange(1, 255)}",
        "dst_port": rng.choice((22, 25, 80, 443, 3389, 8443)),
        "domain": asset,
        "event_total": rng.randrange(1, 500),
    }
    entities = [("ip", address, "source"), ("domain", asset, "target")]
    town = rng.choice(towns(pool.country)) if rng.random() < 0.6 else None
    return Draft(fields, entities, town, f"{name} ({sector})", rng.choice(SENSORS), rng.randrange(30, 95))


def online_referral(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    account = pool.online_account(k)
    entities = [("account", account, "author")]
    if rng.random() < 0.3:
        entities.append(("ip", pool.address(k), "posted from"))
    if rng.random() < 0.1:
        entities.append(("phone", pool.phone(k), "registered"))
    kind = rng.choice(("TEXT", "IMAGE", "VIDEO", "AUDIO", "PROFILE"))
    fields: Fields = {
        "platform": rng.choice(("forum.example", "video.example", "chat.example")),
        "content_kind": kind,
        "content_url": f"https://video.example/p/{rng.randrange(10**9)}",
        "content_hash": f"{rng.getrandbits(256):064x}",
        "account": account,
        "language": rng.choice(("en", "de", "fr", "pl", "ar", "sw", "ru")),
        "category": rng.choice(("propaganda", "threat", "recruitment", "fundraising")),
        "severity": rng.choice(("LOW", "MEDIUM", "MEDIUM", "HIGH")),
        "removed": rng.random() < 0.5,
    }
    return Draft(fields, entities, None, f"{kind.capitalize()} referred: {fields['category']}", "moderation", 55)


def incident_report(rng: Random, pool: Pool, _now: datetime) -> Draft:
    town = rng.choice(towns(pool.country))
    kind = rng.choice(INCIDENTS)
    entities = [("phone", pool.phone(rng.randrange(PER_POOL)), "caller")] if rng.random() < 0.05 else []
    fields: Fields = {
        "incident_type": kind,
        "confirmed": rng.random() < 0.4,
        "country_name": country_name(town.country),
        "where_description": town.name,
        "fatalities_best": 0,
        "source_total": 1,
    }
    return Draft(fields, entities, town, f"{kind.capitalize()} in {town.name}", "control-room", rng.randrange(40, 90))


def tip_report(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    text = rng.choice(TIP_TEXTS)
    severity = rng.choice(("LOW", "MEDIUM", "MEDIUM", "HIGH"))
    entities: list[EntityTuple] = []
    if rng.random() < 0.15:
        entities.append(("phone", pool.phone(k), "named"))
    if rng.random() < 0.1:
        entities.append(("account", pool.online_account(k), "named"))
    if rng.random() < 0.2 and severity != "HIGH":
        entities.append(("vehicle", pool.plate(k), "named"))
    fields: Fields = {
        "channel": rng.choice(("PHONE", "WEB", "EMAIL", "APP")),
        "text": text,
        "language": "en",
        "anonymous": rng.random() < 0.7,
        "source_reliability": rng.choice("BCDEFFF"),
        "information_credibility": rng.randrange(2, 7),
        "severity": severity,
        "topic": rng.choice(("behaviour", "property", "online", None)),
    }
    return Draft(fields, entities, rng.choice(towns(pool.country)), text, "call-centre", 35)


def document_notice(rng: Random, pool: Pool, _now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    status = rng.choice(("LOST", "LOST", "STOLEN", "REVOKED", "RECOVERED"))
    document = pool.document(k)
    fields: Fields = {
        "document_number": document,
        "document_type": "PASSPORT",
        "document_country": pool.country,
        "status": status,
        "notice_reference": f"{pool.country}-{rng.randrange(10**8):08d}",
    }
    entities = [("document", document, "subject"), ("person", pool.person(k), "holder")]
    return Draft(fields, entities, None, f"Passport of {pool.country} reported {status.lower()}", "document-desk", 85)


def watchlist_entry(rng: Random, pool: Pool, now: datetime) -> Draft:
    k = rng.randrange(PER_POOL)
    document = pool.document(k)
    today = now.date()
    action = rng.choice(("ADDED", "AMENDED", "REMOVED"))
    fields: Fields = {
        "list_name": f"{pool.country} national list",
        "entry_reference": f"WL-{rng.randrange(10**7):07d}",
        "action": action,
        "subject_type": "person",
        "identifier_type": "document",
        "identifier": document,
        "valid_from": today,
        "valid_until": today + timedelta(days=365),
        "instruction": "discreet check",
    }
    entities = [("person", pool.person(k), "subject"), ("document", document, "subject")]
    if rng.random() < 0.2:
        entities.append(("phone", pool.phone(k), "subject"))
    return Draft(fields, entities, None, f"Watch-list entry {action.lower()}", "list-manager", 75)


MAKERS: dict[str, Callable[[Random, Pool, datetime], Draft]] = {
    maker.__name__: maker
    for maker in (
        border_crossing,
        travel_booking,
        financial_transaction,
        precursor_purchase,
        cyber_detection,
        online_referral,
        incident_report,
        tip_report,
        document_notice,
        watchlist_entry,
    )
}
