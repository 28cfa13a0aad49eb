"""Why a record was refused: the reason codes of the contract and the row they apply to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Reason codes of quarantined records."""

    NOT_CONFLUENT_FRAMED = "not_confluent_framed"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    SCHEMA_MISMATCH = "schema_mismatch"
    UNDECODABLE = "undecodable"
    HEADER_INVALID = "header_invalid"
    PARTNER_UNKNOWN = "partner_unknown"
    PARTNER_NOT_ALLOWED = "partner_not_allowed"
    OCCURRED_IN_FUTURE = "occurred_in_future"
    TOO_OLD = "too_old"
    OVERSIZE = "oversize"
    UNSUPPORTED_COMPRESSION = "unsupported_compression"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Row ``index`` of a batch is refused; ``message`` names the field, what was found and what is expected."""

    index: int
    reason: Reason
    message: str
    field: str = ""
    schema_id: int = -1
    partner: str = ""
    event_id: str = ""
