"""Spans: a set of indices as the edges of its runs, so that a million neighbours are two numbers.

``[0, 100, 200, 201]`` holds 0 to 99 and 200: the edges rise strictly, and a number is held if an odd count of edges is not
above it. Plain lists, so that they lie in a snapshot as they are. Adding and removing cost a bisection and a shift of the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from worldos.model.work import Span

Edges: TypeAlias = list[int]


def edges_of(spans: Sequence[Span]) -> Edges | None:
    """Return the edges of these spans, or None unless they rise and lie apart; neighbours are joined."""
    edges: Edges = []
    for span in spans:
        if span.last < span.first or (edges and span.first < edges[-1]):
            return None
        if edges and span.first == edges[-1]:
            edges[-1] = span.last + 1
        else:
            edges += (span.first, span.last + 1)
    return edges


def are_sound(edges: Edges) -> bool:
    """Tell whether these are the edges of a set: an even count, rising, from 0 on."""
    if len(edges) % 2 or (edges and edges[0] < 0):
        return False
    return all(edges[at] < edges[at + 1] for at in range(len(edges) - 1))


def count(edges: Edges) -> int:
    """Return how many are held; O(runs)."""
    return sum(edges[1::2]) - sum(edges[::2])


def has(edges: Edges, index: int) -> bool:
    """Tell whether an index is held."""
    return bisect_right(edges, index) % 2 == 1


def add(edges: Edges, index: int) -> None:
    """Hold one more index, if it is not held yet."""
    at = bisect_right(edges, index)
    if at % 2:
        return
    joins_left = at > 0 and edges[at - 1] == index
    joins_right = at < len(edges) and edges[at] == index + 1
    if joins_left and joins_right:
        del edges[at - 1 : at + 1]
    elif joins_left:
        edges[at - 1] = index + 1
    elif joins_right:
        edges[at] = index
    else:
        edges[at:at] = (index, index + 1)


def remove(edges: Edges, index: int) -> bool:
    """Hold an index no more; False if it was not held."""
    at = bisect_right(edges, index)
    if not at % 2:
        return False
    first, end = edges[at - 1], edges[at]
    if first == index and end == index + 1:
        del edges[at - 1 : at + 1]
    elif first == index:
        edges[at - 1] = index + 1
    elif end == index + 1:
        edges[at] = index
    else:
        edges[at:at] = (index, index + 1)
    return True


def merge(edges: Edges, other: Edges) -> None:
    """Hold what ``other`` holds, too; the two must have nothing in common."""
    if not other:
        return
    if not edges:
        edges[:] = other
        return
    merged: Edges = []
    runs = sorted([*zip(edges[::2], edges[1::2], strict=True), *zip(other[::2], other[1::2], strict=True)])
    for first, end in runs:
        if merged and merged[-1] == first:
            merged[-1] = end
        else:
            merged += (first, end)
    edges[:] = merged


def subtract(edges: Edges, other: Edges) -> None:
    """Hold no more what ``other`` holds."""
    left: Edges = []
    at = 0
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        begin = first
        while at < len(other) and other[at + 1] <= begin:
            at += 2
        run = at
        while run < len(other) and other[run] < end:
            if begin < other[run]:
                left += (begin, other[run])
            begin = other[run + 1]
            run += 2
        if begin < end:
            left += (begin, end)
    edges[:] = left


def first_of(edges: Edges, most: int) -> list[int]:
    """Return the least ``most`` indices that are held."""
    found: list[int] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        found += range(first, min(end, first + most - len(found)))
        if len(found) >= most:
            break
    return found


def within(edges: Edges, first: int, end: int) -> Iterator[int]:
    """Give the held indices from ``first`` up to before ``end``, rising."""
    at = bisect_right(edges, first)
    if at % 2:
        at -= 1
    for left in range(at, len(edges), 2):
        if edges[left] >= end:
            return
        yield from range(max(first, edges[left]), min(end, edges[left + 1]))
