"""Which coordinates can be shown."""

from __future__ import annotations

import math


def located(lat: float | None, lon: float | None) -> bool:
    """Whether there are coordinates, in degrees, that lie on the globe."""
    if lat is None or lon is None or not (math.isfinite(lat) and math.isfinite(lon)):
        return False
    return abs(lat) <= 90 and abs(lon) <= 180
