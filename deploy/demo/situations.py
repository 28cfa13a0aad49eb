"""The scenarios themselves, one function each; ``script`` says what the parts mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import h3

from deploy.demo.places import Place, airport, town, towns
from deploy.demo.script import Names, Scenario, Script
from processors.fields import H3_RESOLUTION

# fmt: off
# An event is one block of a few lines; one field a line would bury the story.


def two_continents(n: Names) -> Scenario:
    s = Script("two-continents", "One passport enters Europe at Frankfurt and Africa at Nairobi within the hour.", n)
    shown = {"direction": "ENTRY", "mode": "AIR", "document_number": n.document, "document_type": "PASSPORT"}
    who = (("document", n.document, "shown"), ("person", n.person, "traveller"))
    crossing = "border_crossing"
    s.event(2, 38, "bpol-de", crossing, "Entry at Frankfurt", *who, place=airport("FRA"), outcome="ADMITTED", **shown)
    s.event(5, 0, "hub-ke", crossing, "Entry at Nairobi", *who, place=airport("NBO"), outcome="ADMITTED", **shown)
    s.alert("document_two_continents", "bpol-de", "hub-ke", document_number=n.document)
    return s.done()


def stolen_document(n: Names) -> Scenario:
    s = Script("stolen-document", "A passport that Germany reported stolen leaves Uganda for the Gulf.", n)
    document = ("document", n.document, "subject")
    s.event(
        3, 40, "bpol-de", "document_notice", "Passport reported stolen", document,
        document_number=n.document, document_type="PASSPORT", document_country="DE", status="STOLEN",
        notice_reference=f"DE-{n.tag}",
    )
    s.event(
        7, 0.5, "hub-ke", "border_crossing", "Exit at Entebbe", document, place=airport("EBB"),
        direction="EXIT", mode="AIR", crossing_point="EBB", document_number=n.document, document_type="PASSPORT",
        document_country="DE", outcome="ADMITTED",
    )
    s.alert("missing_document_used", "bpol-de", "hub-ke", document_number=n.document)
    return s.done()


def watchlist_hit(n: Names) -> Scenario:
    s = Script("watchlist-hit", "A document on a financial unit's watch list crosses a border by train at Salzburg.", n)
    document = ("document", n.document, "subject")
    s.event(
        4, 30, "fiu-nl", "watchlist_entry", "Subject of a terrorist-financing inquiry listed", document,
        list_name="NL asset-freezing list", entry_reference=f"WL-{n.tag}", action="ADDED", identifier_type="document",
        identifier=n.document, instruction="inform the financial intelligence unit",
    )
    s.event(
        9, 1, "rail-at", "border_crossing", "Train control at Salzburg", document, place=town("AT", "Salzburg"),
        direction="EXIT", mode="RAIL", crossing_point="Salzburg", document_number=n.document, document_type="ID_CARD",
        outcome="ADMITTED",
    )
    s.alert("watchlisted_document_at_border", "fiu-nl", "rail-at", entity__document=n.document)
    return s.done()


def precursor_and_van(n: Names) -> Scenario:
    s = Script("precursor-and-van", "The buyer of 50 kg of fertiliser in Poznań rents a van online for tomorrow.", n)
    s.event(
        5, 44, "retail-pl", "precursor_purchase", "50 kg calcium ammonium nitrate, paid in cash",
        ("person", n.person, "buyer"), place=town("PL", "Poznań"),
        substance="calcium ammonium nitrate", cas_number="15245-12-2", quantity=50.0, unit="KILOGRAM",
        concentration_pct=27.0, annex="ANNEX_II", seller="Depot Poznań", payment_method="CASH",
        amount_minor=41_000, currency="PLN",
    )
    s.event(
        11, 0, "platform-ie", "travel_booking", "Van for three days from Dublin port", ("person", n.person, "driver"),
        place=town("IE", "Dublin"),
        kind="VEHICLE_RENTAL", booking_reference=n.tag, carrier="Exercise Rental", origin="Dublin",
        destination="Dublin", origin_country="IE", destination_country="IE", departs_at=timedelta(hours=20),
        returns_at=timedelta(hours=92), payment_method="CARD", amount_minor=29_900, currency="EUR",
    )
    s.alert("precursor_then_travel", "retail-pl", "platform-ie", entity__person=n.person)
    return s.done()


def cash_and_departure(n: Names) -> Scenario:
    s = Script("cash-and-departure", "One person draws 9,500 EUR, buys hexamine and books a one-way flight.", n)
    s.event(
        6, 42, "fiu-nl", "financial_transaction", "Cash withdrawal of 9,500 EUR", ("person", n.person, "payer"),
        ("account", n.bank_account, "debited"), place=town("NL", "Rotterdam"),
        kind="CASH_WITHDRAWAL", report_type="SUSPICIOUS_ACTIVITY", transaction_reference=f"FT{n.tag}",
        from_account=n.bank_account, from_country="NL", amount_minor=950_000, currency="EUR",
    )
    s.event(
        10, 20, "retail-pl", "precursor_purchase", "2 kg hexamine", ("person", n.person, "buyer"),
        place=town("PL", "Wrocław"), substance="hexamine", cas_number="100-97-0", quantity=2.0, unit="KILOGRAM",
        concentration_pct=99.0, annex="ANNEX_II", seller="Depot Wrocław", payment_method="CASH",
    )
    s.event(
        15, 0, "platform-ie", "travel_booking", "One-way flight from Dublin to Istanbul",
        ("person", n.person, "passenger"), place=airport("DUB"),
        kind="FLIGHT", booking_reference=n.tag, carrier="EI", origin="DUB", destination="IST", origin_country="IE",
        destination_country="TR", departs_at=timedelta(hours=30), one_way=True, payment_method="CASH",
        amount_minor=21_500, currency="EUR",
    )
    s.alert("cash_one_way_precursor", "fiu-nl", "retail-pl", "platform-ie", entity__person=n.person)
    s.alert("precursor_then_travel", "retail-pl", "platform-ie", entity__person=n.person)
    return s.done()


def one_phone(n: Names) -> Scenario:
    s = Script("one-phone", "A tip, a referred chat account and a payment in three countries share one phone.", n)
    phone = ("phone", n.phone, "contact")
    s.event(
        8, 35, "tipline-uk", "tip_report", "Caller reports a recruiter and gives the number", phone,
        place=town("GB", "Leeds"), channel="PHONE", text="A man asks boys to join and leaves this number.",
        language="en", source_reliability="C", information_credibility=3, severity="MEDIUM", topic="recruitment",
    )
    s.event(
        12, 12, "platform-ie", "online_referral", "Recruitment post of an account with this number", phone,
        platform="chat.example", content_kind="TEXT", account=n.online_account, language="en", category="recruitment",
        severity="MEDIUM",
    )
    s.event(
        17, 0, "fiu-nl", "financial_transaction", "Prepaid card ordered with this number", phone,
        place=town("NL", "Utrecht"), kind="PREPAID", report_type="SUSPICIOUS_ACTIVITY",
        transaction_reference=f"FT{n.tag}", from_country="NL", amount_minor=25_000, currency="EUR",
    )
    s.alert("phone_three_partners", "tipline-uk", "platform-ie", "fiu-nl", entity__phone=n.phone)
    return s.done()


def grid_campaign(n: Names) -> Scenario:
    s = Script("grid-campaign", "One address probes the energy sector; three independent sensors see it.", n)
    for offset, minutes, sensor in ((13, 25, "grid-north"), (16, 11, "grid-south"), (20, 0, "gas-network")):
        s.event(
            offset, minutes, "cert-fr", "cyber_detection", f"Exploit attempt seen by {sensor}",
            ("ip", n.address, "source"), place=town("FR", "Lyon"), source_system=sensor,
            detection_name="Exploit attempt on a remote-control gateway", severity="HIGH", technique="T1190",
            sector="energy", asset=f"{sensor}.example", src_ip=n.address, dst_port=443, event_total=12,
        )
    s.alert("sector_under_attack", "cert-fr", sector="energy", src_ip=n.address)
    return s.done()


def shared_c2(n: Names) -> Scenario:
    s = Script("shared-c2", "A command-and-control address also ordered a payment and posted propaganda.", n)
    address = ("ip", n.address, "remote")
    s.event(
        14, 28, "cert-fr", "cyber_detection", "Beacon to a command-and-control server", address,
        detection_name="HTTPS beacon", severity="MEDIUM", technique="T1071.001", sector="health", dst_ip=n.address,
        dst_port=443, event_total=288,
    )
    s.event(
        18, 9, "fiu-nl", "financial_transaction", "Crypto purchase ordered from this address", address,
        ("account", n.bank_account, "debited"), place=town("NL", "The Hague"), kind="CRYPTO",
        report_type="SUSPICIOUS_ACTIVITY", transaction_reference=f"FT{n.tag}", from_account=n.bank_account,
        from_country="NL", amount_minor=310_000, currency="EUR",
    )
    s.alert("c2_address_behind_payment", "cert-fr", "fiu-nl", entity__ip=n.address)
    s.event(
        22, 0, "platform-ie", "online_referral", "Propaganda video uploaded from this address", address,
        platform="video.example", content_kind="VIDEO", account=n.online_account, category="propaganda",
        severity="MEDIUM", removed=True,
    )
    s.alert("c2_address_behind_content", "cert-fr", "platform-ie", entity__ip=n.address)
    return s.done()


def account_and_tip(n: Names) -> Scenario:
    s = Script(
        "account-and-tip", "A platform refers a threat; a relative tells the tip line about the same account.", n
    )
    account = ("account", n.online_account, "author")
    s.event(
        19, 15, "platform-ie", "online_referral", "Announcement of an attack", account,
        platform="video.example", content_kind="VIDEO", account=n.online_account, language="en", category="threat",
        severity="CRITICAL", text="You will hear of me on Saturday.",
    )
    s.event(
        24, 0, "tipline-uk", "tip_report", "Relative worried about what the account's owner plans", account,
        place=town("GB", "Manchester"), channel="WEB", text="My cousin posts as this user and has bought knives.",
        language="en", anonymous=False, source_reliability="B", information_credibility=3, severity="HIGH",
        topic="threat",
    )
    s.alert("referral_and_tip_same_account", "platform-ie", "tipline-uk", entity__account=n.online_account)
    return s.done()


def white_van(n: Names) -> Scenario:
    s = Script("white-van", "Three tips name one van, which then crosses the Rhine at Kehl.", n)
    vehicle = ("vehicle", n.plate, "named")
    for offset, minutes, place in ((21, 33, "Leeds"), (23, 19, "London"), (26, 6, "Dover")):
        s.event(
            offset, minutes, "tipline-uk", "tip_report", f"Van with sacks and wires seen in {place}", vehicle,
            place=town("GB", place), channel="APP", text=f"White van, sacks and wires in the back, seen in {place}.",
            language="en", source_reliability="D", information_credibility=3, severity="HIGH", topic="vehicle",
        )
    s.alert("vehicle_in_several_tips", "tipline-uk", entity__vehicle=n.plate)
    s.event(
        29, 0, "bpol-de", "border_crossing", "Van read at the bridge of Kehl", vehicle, place=town("DE", "Kehl"),
        direction="ENTRY", mode="LAND", crossing_point="Kehl", vehicle_plate=n.plate, outcome="NOT_RECORDED",
    )
    s.alert("tipped_vehicle_at_border", "tipline-uk", "bpol-de", plate=n.plate)
    return s.done()


def station_attack(n: Names) -> Scenario:
    s = Script("station-attack", "A railway, border police and a caller report a blast and shots at one station.", n)
    # Each run has a place of its own, or two runs within an hour would be one situation.
    number = int(n.tag, 16)
    number, which = divmod(number, len(towns("AT")))
    near = towns("AT")[which]
    lat = round(near.lat + (number % 41 - 20) * 0.003, 5)
    lon = round(near.lon + (number // 41 % 41 - 20) * 0.004, 5)
    place = Place(near.name, "AT", lat, lon)
    reports = (
        (25, 14, "rail-at", "explosion", "Blast on a platform"),
        (28, 8, "bpol-de", "shooting", "Officers on a cross-border train hear shots"),
        (31, 2, "tipline-uk", "shooting", "Traveller calls from a shop in which she hides"),
    )
    for offset, minutes, partner, kind, text in reports:
        s.event(
            offset, minutes, partner, "incident_report", text, place=place,
            incident_type=kind, country_name="Austria", where_description=f"railway station near {near.name}",
            source_total=1, target="railway station",
        )
    s.alert("incident_cluster", "rail-at", "bpol-de", "tipline-uk", geo__h3=h3.latlng_to_cell(lat, lon, H3_RESOLUTION))
    return s.done()


def no_licence(n: Names) -> Scenario:
    s = Script("no-licence", "A shop sells strong hydrogen peroxide to a buyer without a licence.", n)
    s.event(
        27, 3, "retail-pl", "precursor_purchase", "20 l hydrogen peroxide, 35 per cent", place=town("PL", "Lublin"),
        substance="hydrogen peroxide", cas_number="7722-84-1", quantity=20.0, unit="LITRE", concentration_pct=35.0,
        annex="ANNEX_I", seller="Depot Lublin", payment_method="CASH", suspicious=True,
        suspicion_reason="buyer avoided all questions",
    )
    s.alert("restricted_precursor_without_licence", "retail-pl")
    return s.done()


def urgent_tip(n: Names) -> Scenario:
    s = Script("urgent-tip", "A reliable source tells the tip line of an attack within hours.", n)
    s.event(
        30, 0, "tipline-uk", "tip_report", "Known source warns of an attack today", place=town("GB", "Birmingham"),
        channel="IN_PERSON", text="He leaves at noon and will not come back.", language="en", anonymous=False,
        source_reliability="A", information_credibility=2, severity="CRITICAL", topic="threat to life",
    )
    s.alert("urgent_reliable_tip", "tipline-uk")
    return s.done()


def signal_box(n: Names) -> Scenario:
    s = Script("signal-box", "Malware that deletes data runs on a railway's signalling network.", n)
    s.event(
        33, 0, "cert-fr", "cyber_detection", "Wiper on a signalling workstation", ("ip", n.address, "target"),
        place=town("FR", "Lille"), source_system="rail-soc", detection_name="Data-wiping malware executed",
        severity="CRITICAL", technique="T1485", sector="transport", asset="signal-box-7.example", dst_ip=n.address,
    )
    s.alert("critical_detection_essential_service", "cert-fr")
    return s.done()


def revoked_passport(n: Names) -> Scenario:
    s = Script("revoked-passport", "A post lets a traveller in although its system shows a revoked passport.", n)
    s.event(
        35, 1, "hub-ke", "border_crossing", "Document status: revoked passport, bearer admitted on paper visa",
        ("document", n.document, "shown"), place=airport("MBA"),
        direction="EXIT", mode="AIR", crossing_point="MBA", document_number=n.document, document_type="PASSPORT",
        outcome="ADMITTED",
    )
    s.alert("revoked_document_admitted", "hub-ke")
    return s.done()

# fmt: on

SITUATIONS: Final[tuple[Callable[[Names], Scenario], ...]] = (
    two_continents,
    stolen_document,
    watchlist_hit,
    precursor_and_van,
    cash_and_departure,
    one_phone,
    grid_campaign,
    shared_c2,
    account_and_tip,
    white_van,
    station_attack,
    no_licence,
    urgent_tip,
    signal_box,
    revoked_passport,
)
