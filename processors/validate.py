"""Header validation by column: which rows may go on, and for each of the others the first rule that it breaks."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.partners import Partners
from streams.refusal import Reason, Refusal

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
EARLIEST_US = int(dt.datetime(1900, 1, 1, tzinfo=dt.UTC).timestamp() * 1_000_000)  # ClickHouse DateTime64 begins here
DAY_US = 86_400_000_000
CALENDAR_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # 0001-01-01 to 9999-12-31, microseconds since 1970
CALENDAR_DAYS = (-719_162, 2_932_896)  # the same, days since 1970
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """What the header is held against; times in seconds."""

    partners: Partners
    max_future_s: int


def validate(family: str, table: pa.RecordBatch, now: dt.datetime, limits: Limits) -> tuple[Mask, list[Refusal]]:
    """Check the header of each row against ``limits`` at ``now`` (aware, UTC).

    Returns:
        A mask of the rows that pass, and a refusal for each other row; ``Refusal.index`` is the row of ``table``.
    """
    header = table.column(0)
    check = _Checks(header)
    if table.num_rows == 0:
        return check.passed, []
    _identity(check, family, header, limits)
    _times(check, header, now, limits)
    _numbers(check, header)
    _place(check, header)
    _calendar(check, table)
    return check.passed, check.refusals()


class _Checks:
    """Collects, for each row, the first check that it failed."""

    def __init__(self, header: pa.StructArray) -> None:
        self._header = header
        self.passed: Mask = np.ones(len(header), dtype=bool)
        self._found: list[Refusal] = []

    def require(self, holds: pa.Array, reason: Reason, field: str, values: pa.Array, expected: str) -> None:
        """Refuse the rows, not refused before, where ``holds`` is false; null counts as holding."""
        # Almost always nothing is wrong, and then one pass over a bit a row is all it takes.
        if pc.all(holds).as_py() is not False:
            return
        good = pc.fill_null(holds, True).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(self.passed & ~good).tolist():
            found = repr(values[row].as_py())[:80]
            self._found.append(
                Refusal(
                    row,
                    reason,
                    f"{field} is {found}: {expected}",
                    field,
                    partner=str(self._header.field("partner")[row]),
                    event_id=str(self._header.field("event_id")[row])[:64],
                )
            )
        self.passed &= good

    def refusals(self) -> list[Refusal]:
        return sorted(self._found, key=lambda each: each.index)


def _identity(check: _Checks, family: str, header: pa.StructArray, limits: Limits) -> None:
    partner = header.field("partner")
    known = pa.array(list(limits.partners.by_id), pa.string())
    check.require(
        pc.is_in(partner, value_set=known),
        Reason.PARTNER_UNKNOWN,
        "header.partner",
        partner,
        "no such partner in partners.yml; check the id or ask for the partner to be added",
    )
    allowed = pa.array([each.id for each in limits.partners if each.may_publish(family)], pa.string())
    check.require(
        pc.is_in(partner, value_set=allowed),
        Reason.PARTNER_NOT_ALLOWED,
        "header.partner",
        partner,
        f"this partner may not publish {family}; its families are listed in partners.yml",
    )
    event_id = header.field("event_id")
    check.require(
        pc.match_substring_regex(event_id, UUID_PATTERN),
        Reason.HEADER_INVALID,
        "header.event_id",
        event_id,
        "expected a UUID of 36 characters (RFC 9562)",
    )


def _times(check: _Checks, header: pa.StructArray, now: dt.datetime, limits: Limits) -> None:
    occurred = header.field("occurred_at")
    micros = occurred.cast(pa.int64())
    now_us = int(now.timestamp() * 1_000_000)
    check.require(
        pc.less_equal(micros, now_us + limits.max_future_s * 1_000_000),
        Reason.OCCURRED_IN_FUTURE,
        "header.occurred_at",
        _timestamps(micros),
        f"more than {limits.max_future_s} s ahead of {now:%Y-%m-%dT%H:%M:%SZ}; check the clock and the time zone (UTC)",
    )
    check.require(
        pc.greater_equal(micros, EARLIEST_US),
        Reason.HEADER_INVALID,
        "header.occurred_at",
        _timestamps(micros),
        "before 1900-01-01",
    )
    retain = header.field("handling").field("retain_days")
    check.require(
        pc.greater(retain, 0), Reason.HEADER_INVALID, "header.handling.retain_days", retain, "expected at least 1 day"
    )
    kept_until = pc.add(micros, pc.multiply(retain.cast(pa.int64()), DAY_US))
    check.require(
        pc.greater(kept_until, now_us),
        Reason.TOO_OLD,
        "header.occurred_at",
        _timestamps(micros),
        "older than its own handling.retain_days allow; it would be deleted at once",
    )
    published = header.field("published_at").cast(pa.int64())
    check.require(
        pc.and_(pc.greater_equal(published, EARLIEST_US), pc.less_equal(published, now_us + DAY_US)),
        Reason.HEADER_INVALID,
        "header.published_at",
        _timestamps(published),
        "expected the time of publication in microseconds since 1970, UTC",
    )


def _numbers(check: _Checks, header: pa.StructArray) -> None:
    confidence = header.field("confidence")
    check.require(
        _between(confidence, 0, 100), Reason.HEADER_INVALID, "header.confidence", confidence, "expected 0 to 100"
    )


def _place(check: _Checks, header: pa.StructArray) -> None:
    location = header.field("location")
    for name, limit in (("lat", 90.0), ("lon", 180.0)):
        degrees = pc.struct_field(location, name)
        check.require(
            _between(degrees, -limit, limit),
            Reason.HEADER_INVALID,
            f"header.location.{name}",
            degrees,
            f"expected decimal degrees from {-limit:g} to {limit:g}",
        )
    precision = pc.struct_field(location, "precision_m")
    check.require(
        pc.greater_equal(precision, 0),
        Reason.HEADER_INVALID,
        "header.location.precision_m",
        precision,
        "expected metres, 0 or more, or null when not known",
    )
    country = pc.struct_field(location, "country")
    check.require(
        pc.match_substring_regex(country, "^[A-Z]{2}$"),
        Reason.HEADER_INVALID,
        "header.location.country",
        country,
        "expected two upper-case letters (ISO 3166-1 alpha-2), or null when not known",
    )


def _calendar(check: _Checks, table: pa.RecordBatch) -> None:
    """Family times and dates must lie in years 1 to 9999: beyond them no library downstream has a calendar."""
    for field in table.schema:
        if pa.types.is_timestamp(field.type):
            values, low, high = table.column(field.name).cast(pa.int64()), *CALENDAR_US
        elif pa.types.is_date32(field.type):
            values, low, high = table.column(field.name).cast(pa.int32()), *CALENDAR_DAYS
        else:
            continue
        expected = "no date of the calendar; expected microseconds, or days for a date, since 1970"
        check.require(_between(values, low, high), Reason.UNDECODABLE, field.name, values, expected)


def _between(values: pa.Array, low: float, high: float) -> pa.Array:
    """Not-a-number compares false with everything, so it fails here as it should."""
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


class _timestamps:  # noqa: N801 - reads as the list of values it stands for
    """Epoch microseconds shown as ISO 8601, or as the bare number where no calendar reaches."""

    def __init__(self, micros: pa.Array) -> None:
        self._micros = micros

    def __getitem__(self, row: int) -> pa.Scalar:
        value = self._micros[row].as_py()
        try:
            text = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=value)).isoformat()
        except OverflowError:
            text = f"{value} microseconds since 1970"
        return pa.scalar(text)
