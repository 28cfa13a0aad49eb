"""Enumerations of the families, symbol by symbol as in ``avro/*.avsc``."""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Direction of crossing."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    TRANSIT = "TRANSIT"
    UNKNOWN = "UNKNOWN"


class TravelMode(StrEnum):
    """Mode of travel."""

    AIR = "AIR"
    LAND = "LAND"
    SEA = "SEA"
    RAIL = "RAIL"
    OTHER = "OTHER"


class DocumentType(StrEnum):
    """Kind of document."""

    PASSPORT = "PASSPORT"
    ID_CARD = "ID_CARD"
    VISA = "VISA"
    RESIDENCE_PERMIT = "RESIDENCE_PERMIT"
    DRIVING_LICENCE = "DRIVING_LICENCE"
    OTHER = "OTHER"


class CrossingOutcome(StrEnum):
    """Decision at the border."""

    ADMITTED = "ADMITTED"
    REFUSED = "REFUSED"
    REFERRED = "REFERRED"
    NOT_RECORDED = "NOT_RECORDED"


class BookingKind(StrEnum):
    """What was booked."""

    FLIGHT = "FLIGHT"
    TRAIN = "TRAIN"
    FERRY = "FERRY"
    BUS = "BUS"
    VEHICLE_RENTAL = "VEHICLE_RENTAL"
    ACCOMMODATION = "ACCOMMODATION"
    OTHER = "OTHER"


class PaymentMethod(StrEnum):
    """How it was paid."""

    CARD = "CARD"
    CASH = "CASH"
    TRANSFER = "TRANSFER"
    VOUCHER = "VOUCHER"
    CRYPTO = "CRYPTO"
    OTHER = "OTHER"


class TransactionKind(StrEnum):
    """Kind of transaction."""

    TRANSFER = "TRANSFER"
    CASH_DEPOSIT = "CASH_DEPOSIT"
    CASH_WITHDRAWAL = "CASH_WITHDRAWAL"
    CARD = "CARD"
    REMITTANCE = "REMITTANCE"
    CRYPTO = "CRYPTO"
    PREPAID = "PREPAID"
    OTHER = "OTHER"


class ReportType(StrEnum):
    """Why it was reported."""

    SUSPICIOUS_ACTIVITY = "SUSPICIOUS_ACTIVITY"
    THRESHOLD = "THRESHOLD"
    INFORMATION = "INFORMATION"
    OTHER = "OTHER"


class QuantityUnit(StrEnum):
    """Unit of quantity."""

    GRAM = "GRAM"
    KILOGRAM = "KILOGRAM"
    MILLILITRE = "MILLILITRE"
    LITRE = "LITRE"
    ITEM = "ITEM"


class PrecursorAnnex(StrEnum):
    """Annex of Regulation (EU) 2019/1148: I restricted, II reportable."""

    ANNEX_I = "ANNEX_I"
    ANNEX_II = "ANNEX_II"
    NONE = "NONE"


class Severity(StrEnum):
    """Severity."""

    INFORMATIONAL = "INFORMATIONAL"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class ContentKind(StrEnum):
    """Kind of content."""

    TEXT = "TEXT"
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    AUDIO = "AUDIO"
    PROFILE = "PROFILE"
    FILE = "FILE"
    OTHER = "OTHER"


class ViolenceType(StrEnum):
    """UCDP type_of_violence 1, 2, 3."""

    STATE_BASED = "STATE_BASED"
    NON_STATE = "NON_STATE"
    ONE_SIDED = "ONE_SIDED"
    NOT_APPLICABLE = "NOT_APPLICABLE"


class TipChannel(StrEnum):
    """How it came in."""

    PHONE = "PHONE"
    WEB = "WEB"
    EMAIL = "EMAIL"
    IN_PERSON = "IN_PERSON"
    POST = "POST"
    APP = "APP"
    OTHER = "OTHER"


class SourceReliability(StrEnum):
    """Admiralty code: A reliable to E unreliable, F cannot be judged."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"


class DocumentStatus(StrEnum):
    """Status of the document."""

    LOST = "LOST"
    STOLEN = "STOLEN"
    STOLEN_BLANK = "STOLEN_BLANK"
    REVOKED = "REVOKED"
    COUNTERFEIT = "COUNTERFEIT"
    RECOVERED = "RECOVERED"
    OTHER = "OTHER"


class WatchlistAction(StrEnum):
    """What happened to the entry."""

    ADDED = "ADDED"
    AMENDED = "AMENDED"
    REMOVED = "REMOVED"
    HIT = "HIT"
    OTHER = "OTHER"
