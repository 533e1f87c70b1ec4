"""What is learned of functions and ways, what follows from it for nodes that were not tried, and what is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.kernel.profile import FUNCTIONS_MAX, NODES_MAX, WORK_DEFAULT_US, Mean, Profiles, Ran, Took, Way
from worldos.model.ids import NodeId

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def ran(node: NodeId, wall_us: int, cpu_us: int = 0, size: int = 100, away_us: int = -1) -> Ran:
    return Ran(node=node, took=Took(wall_us, cpu_us), in_bytes=size, out_bytes=0, away_us=away_us)


def test_a_mean_follows_what_changes_and_says_how_much_it_varies() -> None:
    mean = Mean()
    for _ in range(20):
        mean.learn(1000)
    assert (mean.mean, mean.deviation, mean.count) == (1000, 0, 20)
    for _ in range(40):
        mean.learn(3000)
    assert 2900 <= mean.mean <= 3000
    assert mean.deviation < 200


def test_what_was_never_run_is_guessed_and_what_ran_once_is_known() -> None:
    profiles = Profiles()
    assert profiles.work_us("f", A) == WORK_DEFAULT_US
    profiles.learn("f", ran(A, 5000, 5000))
    assert (profiles.work_us("f", A), profiles.work_us("f", B)) == (5000, 5000)


def test_a_node_that_was_not_tried_is_judged_by_what_computes_and_not_by_what_waits() -> None:
    profiles = Profiles()
    for _ in range(9):
        profiles.learn("f", ran(A, 4000, 4000))
        profiles.learn("f", ran(B, 1000, 1000))
        profiles.learn("computes", ran(A, 8000, 8000))
        profiles.learn("waits", ran(A, 8000, 80))
        profiles.learn("half", ran(A, 8000, 4000))
    assert 1800 <= profiles.work_us("computes", B) <= 2200
    assert profiles.work_us("waits", B) >= 7900
    assert 4800 <= profiles.work_us("half", B) <= 5200
    assert profiles.functions["waits"].cpu_permille == 10


def test_a_way_is_known_by_what_it_carried_and_small_calls_say_how_long_the_trip_is() -> None:
    profiles = Profiles()
    assert profiles.estimate_us("f", B, 1_000_000, far=True) > profiles.estimate_us("f", B, 1_000_000, far=False)
    assert not profiles.is_measured(B)
    profiles.learn("f", ran(B, 1000, 0, 100, away_us=2_000))
    profiles.learn("f", ran(B, 1000, 0, 1_000_000, away_us=1_002_000))
    assert profiles.is_measured(B)
    assert profiles.ways[B].trip_us == 2_000
    assert 990_000 <= profiles.ways[B].rate_bytes_s <= 1_010_000
    assert 2_000_000 <= profiles.way_us("f", B, 2_000_000) <= 2_600_000, "what comes back is on the way too"
    profiles.learn("g", ran(B, 1000, 0, 1_000_000, away_us=3_000))
    assert profiles.ways[B].rate_bytes_s > 100_000_000, "it is quick to believe that a way is better"


def test_what_was_not_used_for_the_longest_time_is_forgotten_first() -> None:
    profiles = Profiles()
    for number in range(FUNCTIONS_MAX):
        profiles.learn(f"{number}", ran(A, 10))
    profiles.learn("0", ran(A, 10))
    profiles.learn("new", ran(A, 10))
    assert len(profiles.functions) == FUNCTIONS_MAX
    assert "0" in profiles.functions
    assert "1" not in profiles.functions
    for number in range(3 * NODES_MAX):
        profiles.learn("new", ran(NodeId(f"n{number}"), 10, 10, 10**6, away_us=5))
    known = profiles.functions["new"]
    assert max(len(known.on), len(known.cpu_on), len(profiles.ways), len(profiles.slowness)) <= NODES_MAX


def test_it_survives_being_kept_and_merged() -> None:
    profiles = Profiles()
    profiles.function("f", "area")
    profiles.learn("f", ran(A, 5000, 4000, away_us=7))
    again = Profiles.restore(profiles.snapshot())
    assert again == profiles
    clock = again.clock
    again.learn("g", ran(B, 70))
    fresh = again.since(clock, 10)
    assert set(fresh.functions) == {"g"}
    profiles.merge(Profiles.restore(fresh.snapshot()))
    assert set(profiles.functions) == {"f", "g"}
    assert profiles.work_us("g", B) == 70


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x93\x01", b"x" * 5_000_000])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(PeerBroke):
        Profiles.restore(garbage)


def test_a_table_with_too_many_nodes_is_refused() -> None:
    with pytest.raises(PeerBroke):
        Profiles.restore(Profiles(ways={NodeId(str(n)): Way() for n in range(NODES_MAX + 1)}).snapshot())


numbers = st.integers(-(1 << 62), 1 << 62)


@given(
    st.lists(
        st.tuples(st.sampled_from("fgh"), st.sampled_from([A, B, C]), numbers, numbers, numbers, numbers), max_size=30
    )
)
def test_whatever_is_said_all_figures_stay_within_their_bounds(
    said: list[tuple[str, NodeId, int, int, int, int]],
) -> None:
    profiles = Profiles()
    for digest, node, wall_us, cpu_us, size, away_us in said:
        profiles.learn(digest, ran(node, wall_us, cpu_us, size, away_us))
    assert Profiles.restore(profiles.snapshot()) == profiles
    for node in (A, B, C):
        for digest in "fgh":
            assert profiles.estimate_us(digest, node, 10**9, far=True) >= profiles.work_us(digest, node) > 0


def took(node: NodeId, wall_us: int, cpu_us: int, size: int = 0) -> Ran:
    return Ran(node=node, took=Took(wall_us, cpu_us), in_bytes=size, out_bytes=size)


def test_the_most_memory_is_believed_at_once_and_forgotten_slowly() -> None:
    profiles = Profiles()
    for memory_bytes in (100, 0, 900):
        profiles.learn("f", Ran(node=A, took=Took(5, 5, memory_bytes, 7, 8), in_bytes=0, out_bytes=0))
    assert profiles.memory_bytes("f") == 900
    assert profiles.memory_bytes("g") == 0
    profiles.learn("f", Ran(node=A, took=Took(5, 5, 100), in_bytes=0, out_bytes=0))
    assert profiles.memory_bytes("f") == 800
    profiles.exceeded("f", 5000)
    assert profiles.memory_bytes("f") == 5000
    profiles.learn("f", Ran(node=A, took=Took(5, 5, 300), in_bytes=0, out_bytes=0))
    assert profiles.memory_bytes("f") == 300, "a guess holds until one was seen"
    profiles.exceeded("f", 200)
    assert profiles.memory_bytes("f") == 300
    assert (profiles.functions["f"].read_bytes.count, profiles.functions["f"].written_bytes.count) == (5, 5)


def test_a_call_that_was_too_short_teaches_its_way_and_nothing_else() -> None:
    profiles = Profiles()
    profiles.learn("f", Ran(node=B, took=Took(), in_bytes=10, out_bytes=0, away_us=700))
    assert profiles.ways[B].trip_us == 700
    assert profiles.functions == {}


def test_a_round_is_as_much_as_takes_a_second_where_it_ran_most() -> None:
    profiles = Profiles()
    profiles.learn("f", took(A, 10_000, 5_000, size=1000))
    work = profiles.work("f", {A: 4000})
    assert work is not None
    assert (work.cpu_mi, work.wait_us, work.move_bytes) == (2000, 500_000, 200_000)
    assert profiles.work("g", {}) is None
    assert [known.run_us for known in work.known] == [1_000_000]


def test_of_nodes_that_were_measured_it_is_said_how_long_a_round_takes_there_and_what_their_way_carries() -> None:
    profiles = Profiles()
    for _ in range(9):
        profiles.learn("g", took(A, 4000, 4000))
        profiles.learn("g", took(B, 1000, 1000))
        profiles.learn("f", took(A, 8000, 8000))
    profiles.learn("x", Ran(node=C, took=Took(), in_bytes=10**6, out_bytes=0, away_us=10**6))
    work = profiles.work("f", {})
    assert work is not None
    known = {each.node: each for each in work.known}
    assert known[A].run_us == 1_000_000
    assert 200_000 < known[B].run_us < 300_000, "as much faster as it was with another function"
    assert known[C].run_us == 0
    assert 900_000 < known[C].bytes_s < 1_100_000


def test_a_function_that_ran_in_chunks_is_known_by_them() -> None:
    profiles = Profiles()
    profiles.learn("f*8", took(A, 80, 80))
    assert profiles.known_as("f") == "f*8"
    profiles.learn("f", took(A, 10, 10))
    assert (profiles.known_as("f"), profiles.known_as("f*")) == ("f", "")
