"""Spans against Python's sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.line import spans
from worldos.model.work import Span

SETS = st.sets(st.integers(0, 40))


def edges_of(indices: set[int]) -> list[int]:
    edges: list[int] = []
    for index in sorted(indices):
        spans.add(edges, index)
    return edges


def held(edges: list[int]) -> set[int]:
    assert spans.are_sound(edges)
    return set(spans.within(edges, 0, 10**6))


@given(SETS, st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=40))
def test_adding_and_removing_is_that_of_a_set(first: set[int], steps: list[tuple[bool, int]]) -> None:
    edges = edges_of(first)
    model = set(first)
    for adds, index in steps:
        if adds:
            spans.add(edges, index)
            model.add(index)
        else:
            assert spans.remove(edges, index) == (index in model)
            model.discard(index)
        assert held(edges) == model
        assert spans.count(edges) == len(model)
        assert spans.has(edges, index) == (index in model)


@given(SETS, SETS)
def test_merge_and_subtract_are_union_and_difference(one: set[int], other: set[int]) -> None:
    apart = edges_of(other - one)
    joined = edges_of(one)
    spans.merge(joined, apart)
    assert joined == edges_of(one | other)
    less = edges_of(one)
    spans.subtract(less, edges_of(other))
    assert less == edges_of(one - other)


@given(SETS, st.integers(0, 40), st.integers(0, 40))
def test_the_first_and_a_range_are_those_of_the_sorted_set(one: set[int], first: int, end: int) -> None:
    edges = edges_of(one)
    assert spans.first_of(edges, end) == sorted(one)[:end]
    assert list(spans.within(edges, first, end)) == [index for index in sorted(one) if first <= index < end]


def test_a_million_neighbours_are_two_numbers() -> None:
    assert spans.edges_of((Span(0, 499_999), Span(500_000, 999_999))) == [0, 1_000_000]


def test_spans_that_do_not_rise_are_none() -> None:
    assert spans.edges_of((Span(5, 9), Span(9, 12))) is None
    assert spans.edges_of((Span(5, 4),)) is None
    assert spans.edges_of((Span(5, 9), Span(0, 1))) is None


def test_edges_that_are_no_set_are_not_sound() -> None:
    assert not any(map(spans.are_sound, ([1], [2, 1], [1, 1], [-1, 3], [0, 3, 3, 5])))
