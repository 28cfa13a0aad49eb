"""Python face of ``avro/<family>.avsc``: one class a family, fields in the order of the contract.

What a field means is in the contract's ``doc``; here are its types and limits. Money is whole minor units.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.enums import (
    BookingKind,
    ContentKind,
    CrossingOutcome,
    Direction,
    DocumentStatus,
    DocumentType,
    PaymentMethod,
    PrecursorAnnex,
    QuantityUnit,
    ReportType,
    Severity,
    SourceReliability,
    TipChannel,
    TransactionKind,
    TravelMode,
    ViolenceType,
    WatchlistAction,
)
from schemas.fields import (
    CalendarDate,
    Count32,
    Count64,
    Country,
    Credibility,
    Currency,
    Finite,
    Int32,
    Int64,
    Port,
    Text,
    UtcDatetime,
)
from schemas.header import Event


class BorderCrossing(Event):
    """A person or vehicle at a border."""

    family: ClassVar[str] = "border_crossing"

    direction: Direction
    mode: TravelMode = TravelMode.OTHER
    crossing_point: Text = ""
    document_number: Text | None = None
    document_type: DocumentType = DocumentType.OTHER
    document_country: Country | None = None
    nationality: Country | None = None
    vehicle_plate: Text | None = None
    carrier: Text | None = None
    route_number: Text | None = None
    outcome: CrossingOutcome = CrossingOutcome.NOT_RECORDED


class TravelBooking(Event):
    """A booking of travel, a vehicle or a stay."""

    family: ClassVar[str] = "travel_booking"

    kind: BookingKind
    booking_reference: Text = ""
    carrier: Text | None = None
    origin: Text | None = None
    destination: Text | None = None
    origin_country: Country | None = None
    destination_country: Country | None = None
    departs_at: UtcDatetime | None = None
    returns_at: UtcDatetime | None = None
    one_way: bool = False
    passengers: Count32 = 1
    document_number: Text | None = None
    payment_method: PaymentMethod = PaymentMethod.OTHER
    amount_minor: Int64 | None = None
    currency: Currency | None = None


class FinancialTransaction(Event):
    """A payment or report about one."""

    family: ClassVar[str] = "financial_transaction"

    kind: TransactionKind
    report_type: ReportType = ReportType.OTHER
    transaction_reference: Text = ""
    from_account: Text | None = None
    to_account: Text | None = None
    from_country: Country | None = None
    to_country: Country | None = None
    purpose_text: Text | None = None
    amount_minor: Int64 | None = None
    currency: Currency | None = None


class PrecursorPurchase(Event):
    """A purchase of an explosives precursor (Regulation (EU) 2019/1148 names them)."""

    family: ClassVar[str] = "precursor_purchase"

    substance: Text
    cas_number: Text | None = None
    quantity: Finite | None = None
    unit: QuantityUnit = QuantityUnit.ITEM
    concentration_pct: Finite | None = None
    annex: PrecursorAnnex = PrecursorAnnex.NONE
    licence_number: Text | None = None
    seller: Text | None = None
    online: bool = False
    document_number: Text | None = None
    payment_method: PaymentMethod = PaymentMethod.OTHER
    suspicious: bool = False
    suspicion_reason: Text | None = None
    amount_minor: Int64 | None = None
    currency: Currency | None = None


class CyberDetection(Event):
    """A detection by a sensor or CERT."""

    family: ClassVar[str] = "cyber_detection"

    detection_name: Text
    severity: Severity = Severity.MEDIUM
    technique: Text | None = None
    sector: Text | None = None
    asset: Text | None = None
    src_ip: Text | None = None
    dst_ip: Text | None = None
    dst_port: Port | None = None
    domain: Text | None = None
    url: Text | None = None
    file_hash: Text | None = None
    user_name: Text | None = None
    event_total: Count64 = 1


class OnlineReferral(Event):
    """Content referred by or to a platform."""

    family: ClassVar[str] = "online_referral"

    platform: Text
    content_kind: ContentKind = ContentKind.OTHER
    content_url: Text | None = None
    content_hash: Text | None = None
    account: Text | None = None
    language: Text | None = None
    category: Text = ""
    severity: Severity = Severity.MEDIUM
    removed: bool = False
    text: Text | None = None


class IncidentReport(Event):
    """An incident, confirmed or reported."""

    family: ClassVar[str] = "incident_report"

    incident_type: Text
    confirmed: bool = False
    violence_type: ViolenceType = ViolenceType.NOT_APPLICABLE
    period_start: CalendarDate | None = None
    period_end: CalendarDate | None = None
    date_precision_code: Int32 | None = None
    where_precision_code: Int32 | None = None
    conflict_name: Text | None = None
    dyad_name: Text | None = None
    side_a: Text | None = None
    side_b: Text | None = None
    adm_1: Text | None = None
    adm_2: Text | None = None
    country_name: Text | None = None
    where_description: Text | None = None
    fatalities_best: Count32 | None = None
    fatalities_high: Count32 | None = None
    fatalities_low: Count32 | None = None
    fatalities_civilian: Count32 | None = None
    source_total: Count32 | None = None
    source_reference: Text | None = None
    target: Text | None = None


class TipReport(Event):
    """A tip from the public or a confidential source."""

    family: ClassVar[str] = "tip_report"

    channel: TipChannel = TipChannel.OTHER
    text: Text
    language: Text | None = None
    anonymous: bool = True
    source_reliability: SourceReliability = SourceReliability.F
    information_credibility: Credibility = 6
    severity: Severity = Severity.MEDIUM
    topic: Text | None = None


class DocumentNotice(Event):
    """A notice about a document."""

    family: ClassVar[str] = "document_notice"

    document_number: Text
    document_type: DocumentType = DocumentType.OTHER
    document_country: Country | None = None
    status: DocumentStatus
    notice_reference: Text | None = None


class WatchlistEntry(Event):
    """An entry, change or removal on a watch list."""

    family: ClassVar[str] = "watchlist_entry"

    list_name: Text
    entry_reference: Text
    action: WatchlistAction
    subject_type: Text = "person"
    identifier_type: Text | None = None
    identifier: Text | None = None
    valid_from: CalendarDate | None = None
    valid_until: CalendarDate | None = None
    instruction: Text | None = None


class Heartbeat(Event):
    """Sent by a partner's publisher while it lives."""

    family: ClassVar[str] = "heartbeat"

    sequence: Count64
    published_total: Count64 = 0
    refused_total: Count64 = 0
    software: Text = ""
