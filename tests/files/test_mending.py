"""Shares made again out of real depots, also where some of these lie, and never anything that its root does not prove."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.files.depots import ACCOUNT, Site, site

from worldos.depot.codec import best_codec
from worldos.errors import Damaged, Unreachable
from worldos.files.mending import Gathered, Mender
from worldos.files.stores import Store
from worldos.store.audit import Verdict
from worldos.store.erasure import Code, data_shares, encode, share_bytes
from worldos.store.health import Reason, Repair
from worldos.store.leaves import leaf_digests, root_of
from worldos.store.manifest import Segment, share_ids

CODE = Code(3, 6)
SIZE = 64 << 10
VERIFY = b"v" * 32


@pytest.fixture
def six() -> Iterator[Site]:
    with site(8) as made:
        yield made


class Kept:
    """One segment of random bytes, its shares on the first six of eight depots."""

    def __init__(self, six: Site) -> None:
        size = share_bytes(SIZE, CODE.k)
        room = memoryview(bytearray(size * CODE.k))
        room[:SIZE] = os.urandom(SIZE)
        self.shares = list(data_shares(room, SIZE, CODE.k))
        parity = [memoryview(bytearray(size)) for _ in range(3)]
        encode(best_codec(), CODE, self.shares, parity)
        self.shares += parity
        self.digests = [leaf_digests(share) for share in self.shares]
        roots = tuple(root_of(each, size) for each in self.digests)
        self.segment = Segment(id=b"i" * 16, k=3, n=6, size_bytes=SIZE, roots=roots)
        self.ids = share_ids(self.segment, VERIFY)
        self.stores: dict[str, Store] = {store.at.node: store for store in six.stores().reachable()}
        self.nodes = [depot.node for depot in six.depots]
        self.six = six
        for index in range(6):
            self.keep(index, index)

    def keep(self, index: int, at: int, share: memoryview | None = None) -> None:
        depot = self.six.depots[at]
        assert depot.store is not None
        data = self.shares[index] if share is None else share
        depot.store.put(self.ids[index], data, digests=leaf_digests(data), owner=ACCOUNT)

    def drop(self, index: int, at: int) -> None:
        depot = self.six.depots[at]
        assert depot.store is not None
        depot.store.drop([self.ids[index]])

    def repair(self, indices: tuple[int, ...], sources: tuple[int, ...], targets: tuple[int, ...]) -> Repair:
        return Repair(
            segment=self.segment.id,
            code=CODE,
            reason=Reason.LOST,
            indices=indices,
            sources=tuple((index, (self.nodes[index],)) for index in sources),
            targets=tuple(self.nodes[at] for at in targets),
            survives=0,
        )


@pytest.fixture
def kept(six: Site) -> Iterator[Kept]:
    made = Kept(six)
    yield made
    for store in made.stores.values():
        store.close()


class Told:
    def __init__(self) -> None:
        self.all: list[tuple[str, Verdict]] = []

    def __call__(self, node: str, share: bytes, verdict: Verdict) -> None:
        self.all.append((node, verdict))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def mender(tmp_path: Path, told: Told) -> Mender:
    return Mender(best_codec(), Gathered(tmp_path / "gathered"), ACCOUNT, told)


def test_two_shares_are_made_of_three_others_bit_for_bit(kept: Kept, mender: Mender, told: Told) -> None:
    placed = mender.mend(kept.segment, kept.ids, kept.repair((0, 5), (1, 2, 3, 4), (6, 7)), kept.stores)
    assert placed == {0: kept.nodes[6], 5: kept.nodes[7]}
    for index, at in ((0, 6), (5, 7)):
        store = kept.six.depots[at].store
        assert store is not None
        assert bytes(store.get(kept.ids[index])) == bytes(kept.shares[index])
    assert told.all == []


def test_a_store_that_gives_other_bytes_is_reported_and_another_asked(kept: Kept, mender: Mender, told: Told) -> None:
    kept.keep(1, 7, memoryview(os.urandom(len(kept.shares[1]))))
    repair = kept.repair((0,), (1, 2, 3, 4), (6,))
    lying = replace(repair, sources=((1, (kept.nodes[7],)), *repair.sources[1:]))
    placed = mender.mend(kept.segment, kept.ids, lying, kept.stores)
    assert placed == {0: kept.nodes[6]}
    assert told.all == [(kept.nodes[7], Verdict.WRONG)]


def test_a_store_that_has_not_what_it_said_is_reported(kept: Kept, mender: Mender, told: Told) -> None:
    kept.drop(1, 1)
    mender.mend(kept.segment, kept.ids, kept.repair((0,), (1, 2, 3, 4), (6,)), kept.stores)
    assert told.all == [(kept.nodes[1], Verdict.MISSING)]


def test_with_too_few_it_says_so_and_puts_nothing(kept: Kept, mender: Mender) -> None:
    with pytest.raises(Unreachable, match="2 of the 3"):
        mender.mend(kept.segment, kept.ids, kept.repair((0,), (1, 2), (6,)), kept.stores)


def test_what_is_not_what_the_manifest_names_never_leaves(kept: Kept, mender: Mender) -> None:
    forged = replace(kept.segment, roots=(b"?" * 32, *kept.segment.roots[1:]))
    with pytest.raises(Damaged):
        mender.mend(forged, kept.ids, kept.repair((0,), (1, 2, 3), (6,)), kept.stores)
    store = kept.six.depots[6].store
    assert store is not None
    assert store.have([kept.ids[0]]) == [-1]


def test_shares_that_are_never_there_together_are_gathered(kept: Kept, mender: Mender, tmp_path: Path) -> None:
    assert mender.mend(kept.segment, kept.ids, kept.repair((), (1,), ()), kept.stores) == {}
    assert mender.mend(kept.segment, kept.ids, kept.repair((), (2,), ()), kept.stores) == {}
    assert Gathered(tmp_path / "gathered").which(kept.ids) == {1, 2}
    placed = mender.mend(kept.segment, kept.ids, kept.repair((0,), (3,), (6,)), kept.stores)
    assert placed == {0: kept.nodes[6]}
    assert Gathered(tmp_path / "gathered").which(kept.ids) == frozenset()


def test_what_is_gathered_has_a_bound(tmp_path: Path) -> None:
    gathered = Gathered(tmp_path / "gathered", bytes_max=100)
    assert gathered.put(b"a" * 32, b"x" * 60)
    assert not gathered.put(b"b" * 32, b"x" * 60)
    gathered.drop([b"a" * 32])
    assert gathered.put(b"b" * 32, b"x" * 60)


def test_a_full_store_is_passed_over(kept: Kept, mender: Mender, six: Site) -> None:
    store = six.depots[6].store
    assert store is not None
    store.set_capacity(1)
    placed = mender.mend(kept.segment, kept.ids, kept.repair((0,), (1, 2, 3), (6, 7)), kept.stores)
    assert placed == {0: kept.nodes[7]}
