"""Moments as microseconds since 1970 UTC, and back."""

from __future__ import annotations

import datetime as dt

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def micros(moment: dt.datetime) -> int:
    """Microseconds since 1970 of a moment, exactly; one without a zone is UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - EPOCH) // _MICROSECOND


def moment(microseconds: int) -> dt.datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return EPOCH + dt.timedelta(microseconds=microseconds)
