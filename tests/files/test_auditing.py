"""A store that lost or changed what it took is found by reads like any other; the scrub finds what rotted at home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.carers import Carer, carers
from tests.files.depots import Depot, Site, files_of, site

from worldos.depot.block_store import BlockStore
from worldos.files.stores import Store
from worldos.store.audit import Verdict


@pytest.fixture
def six() -> Iterator[Site]:
    with site(6) as made:
        yield made


@pytest.fixture
def carer(six: Site, tmp_path: Path) -> Iterator[Carer]:
    with files_of(six, tmp_path / "home") as files, carers(six) as made:
        for number in range(6):
            files.put(os.urandom(100_000), f"file{number}")
        yield made[0]


def store_of(carer: Carer, depot: Depot) -> Store:
    found = carer.stores.on(depot.node)
    assert found is not None
    return found


def test_an_honest_store_passes_every_time(carer: Carer, six: Site) -> None:
    found = carer.auditing.audit(store_of(carer, six.depots[2]), count=40)
    assert (found.good, found.bad) == (40, 0)
    assert carer.watch.reputation(six.depots[2].node).answers == 40


class Liar:
    """A depot that says it has what it threw away: answers with other bytes and the list that goes with them."""

    def __init__(self, store: BlockStore) -> None:
        self._get = store.get
        store.get = self.get  # type: ignore[method-assign]

    def get(self, share_id: bytes, offset: int = 0, length: int = -1, into: memoryview | None = None) -> memoryview:
        data = memoryview(bytearray(self._get(share_id, offset, length, None)))
        data[0] ^= 1
        if into is None:
            return data
        into[: len(data)] = data
        return into[: len(data)]


def test_a_store_that_lies_is_found_its_shares_count_no_more_and_are_made_anew(carer: Carer, six: Site) -> None:
    liar = six.depots[3]
    assert liar.store is not None
    Liar(liar.store)
    found = carer.auditing.audit(store_of(carer, liar), count=60)
    assert found.bad == 60
    assert not carer.watch.trusted(liar.node)
    assert liar.node not in {store.at.node for store in carer.watch.reachable()}
    carer.step(10)
    carer.step(10)
    assert carer.caring.missing > 0, "what it keeps is missing now; six devices leave no place to make it anew"


def test_the_first_bad_answer_already_counts_the_share_as_missing(carer: Carer, six: Site) -> None:
    liar = six.depots[3]
    assert liar.store is not None
    Liar(liar.store)
    carer.auditing.audit(store_of(carer, liar), count=1)
    assert carer.watch.trusted(liar.node)
    assert carer.watch.reputation(liar.node).lies == 1
    carer.step(10)
    assert carer.caring.missing == 1


def test_silence_is_no_answer(carer: Carer, six: Site) -> None:
    asleep = six.depots[4]
    store = store_of(carer, asleep)
    asleep.end()
    found = carer.auditing.audit(store, count=10)
    assert (found.good, found.bad) == (0, 0)
    assert carer.watch.reputation(asleep.node).answers == 0


def test_each_store_has_its_turn(carer: Carer, six: Site) -> None:
    now_ns = carer.now_ns
    carer.look_anew()
    for _ in range(20):
        now_ns = carer.auditing.step(now_ns)
    assert set(carer.watch.reputations()) == {depot.node for depot in six.depots[1:]}


def test_what_others_answered_survives_a_restart_of_the_keeper(six: Site, carer: Carer) -> None:
    carer.watch.judged("x", Verdict.WRONG)
    carer.watch.look(carer.now_ns)
    carer.watch.close()
    again = Carer(six, six.depots[0])
    assert again.watch.reputation("x").lies == 1
    again.end()
    carer.watch = Carer(six, six.depots[0]).watch


def test_a_scrub_reads_everything_and_tells_how_far_it_is(carer: Carer) -> None:
    told: list[tuple[int, int]] = []
    checked, checked_bytes, bad = carer.scrubbing.run_all(lambda at, of: told.append((at, of)))
    assert checked > 0
    assert checked_bytes > 100_000
    assert bad == 0
    assert told
    assert all(at <= of for at, of in told)
    due_ns = carer.scrubbing.step(carer.now_ns)
    assert due_ns > carer.now_ns
