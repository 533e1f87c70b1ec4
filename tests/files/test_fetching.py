"""Fetching: any k shares do, in any mixture of late, lost and wrong ones."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import Unreachable
from worldos.files.fetching import Fetch, Holders, holders_of
from worldos.files.files import Files
from worldos.store.erasure import coded_bytes
from worldos.store.manifest import share_ids

MIB = 1 << 20


@pytest.fixture
def fetched(files: Files) -> tuple[Files, Fetch, Holders, bytes]:
    files.put(os.urandom(MIB), "big")
    opened = files.session.shelf.opened(files.ref("big"))
    segment = opened.made.segments[0]
    stores = files.session.stores.reachable()
    (holders,) = holders_of(stores, [segment], opened.verify, patience_s=5)
    assert sorted(holders) == list(range(segment.n))
    whole = bytes(again(files, holders).whole())
    return files, again(files, holders), holders, whole


def again(files: Files, holders: Holders) -> Fetch:
    opened = files.session.shelf.opened(files.ref("big"))
    segment = opened.made.segments[0]
    buffer = memoryview(bytearray(coded_bytes(segment.size_bytes, segment.k)))
    return Fetch(segment, opened.verify, holders, files.session.codec, buffer)


def test_any_k_shares_give_the_segment_and_any_part_of_it(fetched: tuple[Files, Fetch, Holders, bytes]) -> None:
    files, fetch, holders, whole = fetched
    segment = fetch.segment
    size = len(whole) // segment.k
    for some in itertools.combinations(range(segment.n), segment.k):
        left = {index: holders[index] for index in some}
        assert again(files, left).whole() == whole
        assert again(files, left).part(1, 1000, 3000) == whole[size + 1000 : size + 4000]


def test_too_few_shares_are_counted(fetched: tuple[Files, Fetch, Holders, bytes]) -> None:
    files, fetch, holders, _ = fetched
    with pytest.raises(Unreachable, match=f"1 of the {fetch.segment.k}"):
        again(files, {4: holders[4]}).whole()


def test_a_store_that_says_it_has_a_share_and_has_not_is_passed_over(
    fetched: tuple[Files, Fetch, Holders, bytes], five: Site
) -> None:
    files, fetch, holders, whole = fetched
    opened = files.session.shelf.opened(files.ref("big"))
    for depot in five.depots[:3]:
        assert depot.store is not None
        depot.store.drop(share_ids(fetch.segment, opened.verify))
    assert again(files, holders).whole() == whole


def test_what_was_not_written_is_found_by_its_leaves(
    fetched: tuple[Files, Fetch, Holders, bytes], tmp_path: Path, five: Site
) -> None:
    files, _, holders, _ = fetched
    fetch = again(files, holders)
    whole = fetch.whole()
    assert fetch.suspects() == []
    whole[5] ^= 1
    bad = fetch.suspects()
    assert len(bad) == 1
    fetch.without(bad)
    assert bad[0][1] not in fetch.holders[bad[0][0]]
    with files_of(five, tmp_path / "other", 1) as other:
        other.refresh()
        assert len(other.read("big")) == MIB
