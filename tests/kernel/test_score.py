"""The published score, term by term."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel import score
from worldos.kernel.score import Figures, Way, Weights, weigh
from worldos.model.need import Objective

IDLE = Figures(work_us=1_000_000, load_percent=0, capacity=4000, free=4000, carbon_g_kwh=400, loss_permille=0)
HERE = Way(rtt_us=0, doubt_permille=0)


def points(figures: Figures[int] = IDLE, way: Way[int] = HERE, *, objective: str = "fastest", price: int = 0) -> int:
    weights = score.weights_of(Objective(objective), near_home=False)
    return weigh(weights, figures, way, 1000, price, score.INTEGERS)


def test_the_example_of_the_documentation() -> None:
    busy = IDLE._replace(load_percent=90)
    # run 1 s + 1 s * 70 / 400 busy; idle 4000 - 40 * 70 = 1200 of 1000 asked: nothing short
    # 4 * 300 us + 1 175 000 us, then 870 for carbon, then (4000 - 1000) // 3 = 1000 for the fit
    assert points(busy, Way(rtt_us=300, doubt_permille=0)) == 1_176_200_000 + 870 + 1000


def test_a_machine_that_lacks_idle_cores_makes_the_work_wait() -> None:
    small = IDLE._replace(capacity=1000, free=1000, load_percent=70)
    # idle 1000 - 10 * 50 = 500, short 500 of 500: twice the time, and 50 / 400 for the busy machine
    assert points(small) // 1_000_000 == 1000 + 125 + 1000


def test_a_little_load_counts_as_none() -> None:
    assert points(IDLE._replace(load_percent=score.LOAD_IGNORED_PERCENT)) == points(IDLE)
    assert points(IDLE._replace(load_percent=score.LOAD_IGNORED_PERCENT + 1)) > points(IDLE)


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [
        ("fastest", {"work_us": 500_000, "carbon_g_kwh": 900}, {"work_us": 1_000_000}),
        ("greenest", {"work_us": 1_000_000, "carbon_g_kwh": 20}, {"work_us": 500_000}),
    ],
)
def test_the_objective_decides_between_fast_and_green(
    objective: str, better: dict[str, int], worse: dict[str, int]
) -> None:
    assert points(IDLE._replace(**better), objective=objective) < points(IDLE._replace(**worse), objective=objective)


def test_cheapest_takes_the_lower_price_and_among_equal_prices_the_faster() -> None:
    slow = IDLE._replace(work_us=5_000_000)
    assert points(slow, price=1000, objective="cheapest") < points(IDLE, price=1100, objective="cheapest")
    assert points(slow, price=1000, objective="cheapest") > points(IDLE, price=1000, objective="cheapest")


def test_nearest_takes_the_shorter_way_even_to_a_slower_machine() -> None:
    slow, near = IDLE._replace(work_us=9_000_000), Way(rtt_us=200, doubt_permille=0)
    assert points(slow, near, objective="nearest") < points(
        IDLE, Way(rtt_us=900, doubt_permille=0), objective="nearest"
    )


def test_a_doubted_node_costs_what_it_takes_to_do_the_work_again() -> None:
    doubted = points(IDLE, Way(rtt_us=0, doubt_permille=score.LOSS_DOUBTED_PERMILLE))
    assert doubted - points(IDLE) == (1_000_000 + score.REDO_US) * 500 // 1000 * 1000


def test_among_equals_the_tighter_fit_wins_and_never_against_a_microsecond_more() -> None:
    loose = IDLE._replace(capacity=64_000, free=64_000)
    assert 0 < points(loose) - points(IDLE._replace(free=1000)) <= 1024
    assert points(loose) < points(IDLE._replace(free=1000, work_us=1_000_002))


limits = {
    "work_us": st.integers(0, 10**9),
    "load_percent": st.integers(0, 100),
    "capacity": st.integers(0, 2**62 - 1),
    "free": st.integers(0, 2**62 - 1),
    "carbon_g_kwh": st.integers(0, score.CARBON_G_KWH_MAX),
    "loss_permille": st.sampled_from([0, score.LOSS_BATTERY_PERMILLE]),
}


@given(
    st.lists(
        st.tuples(
            st.builds(Figures, **limits),
            st.builds(Way, st.integers(0, score.RTT_US_MAX), st.integers(0, 800)),
            st.integers(0, 2**62 - 1),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(list(Objective)),
    st.integers(1, 2**62 - 1),
    st.booleans(),
)
def test_columns_and_integers_agree_up_to_the_bounds(
    rows: list[tuple[Figures[int], Way[int], int]], objective: Objective, amount: int, near: bool
) -> None:
    rows = [(f._replace(free=min(f.free, f.capacity)), way, price) for f, way, price in rows if f.capacity >= amount]
    if not rows:
        return
    columns = score.Operations(least=np.minimum, most=np.maximum)
    weights = score.weights_of(objective, near_home=near)
    parts = score.thousandths("CPU", amount)
    prices = [score.price_hour_uwos(price, parts, score.INTEGERS) for _, _, price in rows]
    alone = [weigh(weights, f, w, amount, p, score.INTEGERS) for (f, w, _), p in zip(rows, prices, strict=True)]
    figures = Figures(*(np.array(column, dtype=np.int64) for column in zip(*(f for f, _, _ in rows), strict=True)))
    way = Way(*(np.array(column, dtype=np.int64) for column in zip(*(w for _, w, _ in rows), strict=True)))
    price = score.price_hour_uwos(np.array([p for _, _, p in rows], dtype=np.int64), parts, columns)
    assert price.tolist() == prices
    assert weigh(weights, figures, way, amount, price, columns).tolist() == alone
    assert all(abs(points) < 2**62 for points in alone)


@given(st.integers(0, 10**12), st.integers(0, 10**7))
def test_a_price_is_by_the_thousandth_and_rounded_up(price: int, parts: int) -> None:
    exact = -(-price * parts // 1000)
    found = score.price_hour_uwos(price, parts, score.INTEGERS)
    assert found == min(exact, score.PRICE_HOUR_MAX_UWOS + 1)


def test_prices_are_for_a_core_a_gb_a_mbit_or_a_piece() -> None:
    assert score.thousandths("CPU", 1500) == 1500
    assert score.thousandths("Memory", 2 * 10**9) == 2000
    assert score.thousandths("Storage", 1) == 1
    assert score.thousandths("Network", 10**6) == 1000
    assert score.thousandths("Camera", 2) == 2000


def test_figures_a_peer_says_are_brought_within_their_bounds() -> None:
    wild = {"speed_mips": -5, "load_percent": 10**30, "carbon_g_kwh": "green", "battery": 1}
    found = score.figures_of("CPU", 1, 1, wild, {})
    assert found.work_us == score.REFERENCE_WORK_MI * 1_000_000 // score.SPEED_MIPS_MIN
    assert (found.load_percent, found.carbon_g_kwh, found.loss_permille) == (100, score.CARBON_G_KWH_DEFAULT, 0)
    assert score.figures_of("Memory", 1, 1, {"load_percent": 50}, {}).load_percent == 0


def test_a_resource_speaks_before_its_node() -> None:
    found = score.figures_of("GPU", 1, 1, {"load_percent": 90, "speed_mips": 1000}, {"load_percent": 5})
    assert (found.load_percent, found.work_us) == (5, 10_000_000)
    assert score.figures_of("Storage", 1, 1, {}, {"write_bytes_s": 10**9}).work_us == 100_000


def test_the_score_takes_figures_and_nothing_else() -> None:
    assert set(Figures._fields) == set(limits)
    assert not {"name", "owner", "node", "place"} & {*Figures._fields, *Way._fields, *Weights.__struct_fields__}


@pytest.mark.parametrize(("left_s", "permille"), [(0, 800), (600, 800), (1200, 400), (86_400, 5)])
def test_a_node_that_foresees_its_end_is_the_more_of_a_risk_the_sooner_it_comes(left_s: int, permille: int) -> None:
    told = score.figures_of("CPU", 4000, 4000, {"going_s": left_s}, {})
    assert told.loss_permille == permille
    assert score.figures_of("CPU", 4000, 4000, {"going_s": "soon"}, {}).loss_permille == 0
