"""Real cities and real distances."""

from __future__ import annotations

import numpy as np
import pytest

from worldos.planet.cities import CONTINENTS, cities, distance_km, one_way_ms


def place(name: str) -> tuple[np.ndarray, np.ndarray]:
    world = cities()
    row = world.names.index(name)
    return world.latitude[row : row + 1], world.longitude[row : row + 1]


def test_there_are_many_and_all_continents_have_some() -> None:
    world = cities()
    assert len(world.names) > 500
    assert len(world.nations) > 150
    assert set(world.continent) == set(range(len(CONTINENTS)))
    assert 1.5e9 < world.people.sum() < 3e9
    assert (abs(world.latitude) <= 90).all()
    assert (abs(world.longitude) <= 180).all()


@pytest.mark.parametrize(
    ("one", "other", "km"), [("Berlin", "Munich", 504), ("London", "New York", 5570), ("Tokyo", "Sydney", 7820)]
)
def test_distances_are_those_of_the_atlas(one: str, other: str, km: float) -> None:
    assert distance_km(*place(one), *place(other))[0] == pytest.approx(km, rel=0.02)


def test_light_in_glass_needs_some_forty_milliseconds_over_the_atlantic() -> None:
    assert one_way_ms(distance_km(*place("London"), *place("New York")))[0] == pytest.approx(45, abs=4)
