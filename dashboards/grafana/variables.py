"""The selectors that dashboards share, and for each the SQL condition that it stands for."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.model import ALL, Variable
from dashboards.palette import LEVELS
from processors.watchdog import WATCHDOG

EXERCISE: Final = Variable(
    kind="custom",
    name="exercise",
    label="Show",
    description="Exercises run on the live path. They are left out unless chosen here.",
    choices=(("Live only", "live"), ("Exercise and live", "all"), ("Exercise only", "exercise")),
    value="live",
)
PARTNER: Final = Variable(
    kind="query",
    name="partner",
    label="Partner",
    description="Partners whose events are stored.",
    sql="SELECT DISTINCT CAST(partner, 'String') AS partner FROM feed_minutes ORDER BY partner",
    multi=True,
)
FAMILY: Final = Variable(
    kind="query",
    name="family",
    label="Family",
    description="Families of events that are stored.",
    sql="SELECT DISTINCT CAST(family, 'String') AS family FROM feed_minutes ORDER BY family",
    multi=True,
)
REGIONS: Final[dict[str, str]] = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
"""Continents by GeoNames' code, as ``events.geo_continent`` and the view ``country_regions`` have them."""
REGION: Final = Variable(
    kind="custom",
    name="region",
    label="Region",
    description="Continents, by the place of the event. What has no known place belongs to none.",
    choices=tuple((name, code) for code, name in REGIONS.items()),
    multi=True,
)
LEVEL: Final = Variable(
    kind="custom",
    name="level",
    label="Level",
    description="Levels of alerts, as Sigma has them.",
    choices=tuple((level, level) for level in LEVELS),
    multi=True,
)


def desk(url: str) -> Variable:
    """The address of the watch desk, to which alerts link; without a slash at the end."""
    return Variable(
        kind="constant",
        name="desk",
        label="Watch desk",
        description="Address of the watch desk, to which alerts link.",
        value=url.rstrip("/"),
    )


def _chosen(variable: Variable, condition: str) -> str:
    return f"('{ALL}' IN (${{{variable.name}:singlequote}}) OR {condition})"


def region_name(column: str) -> str:
    """SQL: the continent's name in place of its code."""
    codes, names = (", ".join(f"'{each}'" for each in texts) for texts in (REGIONS, REGIONS.values()))
    return f"transform({column}, [{codes}], [{names}], {column})"


EXERCISE_FILTER: Final = "('${exercise}' = 'all' OR exercise = ('${exercise}' = 'exercise'))"
"""On a column ``exercise``."""
PARTNER_FILTER: Final = _chosen(PARTNER, "partner IN (${partner:singlequote})")
"""On a column ``partner``."""
FAMILY_FILTER: Final = _chosen(FAMILY, "family IN (${family:singlequote})")
"""On a column ``family``."""
REGION_FILTER: Final = _chosen(REGION, "geo_continent IN (${region:singlequote})")
"""On the column ``geo_continent`` of events."""
LEVEL_FILTER: Final = _chosen(LEVEL, "level IN (${level:singlequote})")
"""On a column ``level``."""
EVENT_FILTERS: Final = "\n  AND ".join((EXERCISE_FILTER, PARTNER_FILTER, FAMILY_FILTER, REGION_FILTER))
"""All that the selectors say of rows of ``events`` and its rollups."""
STATE_FILTERS: Final = "\n    AND ".join(
    ("superseded_by = ''", f"rule_id != '{WATCHDOG}'", EXERCISE_FILTER, LEVEL_FILTER)
)
"""Rows of ``alert_states`` that count: a superseded alert goes on under another id, and the watchdog always fires."""

_COUNTRIES: Final = "(SELECT groupArray(country) FROM country_regions WHERE region IN (${region:singlequote}))"
ALERT_PARTNER_FILTER: Final = _chosen(PARTNER, "hasAny(partners, [${partner:singlequote}])")
"""On a column ``partners`` of alerts: any of them is chosen."""
ALERT_FAMILY_FILTER: Final = _chosen(FAMILY, "hasAny(families, [${family:singlequote}])")
"""On a column ``families`` of alerts."""
ALERT_REGION_FILTER: Final = _chosen(REGION, f"hasAny(CAST(countries, 'Array(String)'), {_COUNTRIES})")
"""On a column ``countries`` of alerts."""
OF_CHOSEN_ALERTS: Final = (
    f"('{ALL}' IN (${{partner:singlequote}}) AND '{ALL}' IN (${{family:singlequote}}) "
    f"AND '{ALL}' IN (${{region:singlequote}})\n      OR alert_id IN (SELECT alert_id FROM alerts WHERE "
    + " AND ".join((ALERT_PARTNER_FILTER, ALERT_FAMILY_FILTER, ALERT_REGION_FILTER))
    + "))"
)
"""On a column ``alert_id``, where the row does not say whose alert it is: every version of an alert has the partners of
those before. With all chosen it is true before the alerts are read."""
ALERT_FILTERS: Final = "\n  AND ".join(
    (EXERCISE_FILTER, LEVEL_FILTER, ALERT_PARTNER_FILTER, ALERT_FAMILY_FILTER, ALERT_REGION_FILTER)
)
"""All that the selectors say of rows of ``alerts``."""
ALERT_VARIABLES: Final = (EXERCISE, PARTNER, FAMILY, REGION, LEVEL)
"""The selectors that ``ALERT_FILTERS`` needs."""
