"""Shares on their way: enough is kept, laggards hold up nobody for long, and no buffer is touched while a link may read it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.depots import ACCOUNT, Site, files_of, site

from worldos.errors import DiskFull, Unreachable
from worldos.files.shipment import Parcel, Shipment, assigned
from worldos.files.stores import Store, StoreAt
from worldos.store.erasure import Code
from worldos.store.leaves import leaf_digests

SIZE = 64 << 10
CODE = Code(k=3, n=6)


@pytest.fixture
def six() -> Iterator[Site]:
    with site(6, own_process=True) as made:
        yield made


def parcels(count: int = 6) -> list[Parcel]:
    made = []
    for _ in range(count):
        data = os.urandom(SIZE)
        made.append(Parcel(os.urandom(32), data, leaf_digests(data)))
    return made


def ship(stores: list[Store], sent: list[Parcel] | None = None) -> tuple[Shipment, threading.Event]:
    released = threading.Event()
    return Shipment(CODE, sent or parcels(), stores, ACCOUNT, released.set), released


def nowhere(number: int) -> Store:
    return Store(StoreAt(node=f"n{number}", path=f"/nowhere/{number}"))


def test_each_store_gets_one_share_and_few_stores_get_several() -> None:
    stores = [nowhere(number) for number in range(7)]
    assert [index for index, _ in assigned(CODE, stores)] == [0, 1, 2, 3, 4, 5]
    assert len({store.at.node for _, store in assigned(CODE, stores)}) == 6
    assert len(assigned(CODE, stores[:4])) == 4
    assert len(assigned(CODE, stores[:2])) == 6, "three each: either has all of it"
    assert len(assigned(CODE, stores[:1])) == 3, "as many as give it back, and no more"
    assert assigned(CODE, []) == []


@pytest.mark.slow
def test_all_arrive_and_the_buffers_come_back(six: Site) -> None:
    stores = six.stores()
    shipment, released = ship(stores.reachable())
    shipment.wait_kept()
    shipment.finish(5)
    late = sum(store.doubted for store in stores.reachable())  # on a machine that has much else to do
    assert shipment.debt <= late
    assert len(set(shipment.stored.values())) >= 6 - late
    assert released.wait(15)
    stores.close()


@pytest.mark.slow
def test_slow_disks_are_no_reason_to_keep_it_on_fewer_devices(six: Site) -> None:
    stores = six.stores().reachable()
    for depot in six.depots[1:]:
        depot.tell(signal.SIGSTOP)
    shipment, _ = ship(stores)
    waking = threading.Timer(0.5, lambda: [depot.tell(signal.SIGCONT) for depot in six.depots[1:]])
    waking.start()
    shipment.wait_kept()
    waking.join()
    assert len(set(shipment.stored.values())) >= CODE.k + 1


@pytest.mark.parametrize("asleep", [1, 2, 3])
@pytest.mark.slow
def test_sleeping_stores_cost_one_short_wait(six: Site, asleep: int) -> None:
    stores = six.stores()
    for _ in range(3):
        shipment, _ = ship(stores.reachable())
        shipment.wait_kept()
    shipment.finish(5)
    for depot in six.depots[-asleep:]:
        depot.tell(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        shipment, released = ship(stores.reachable())
        shipment.wait_kept()
        assert time.monotonic() - began_s < 15, "a bound for a busy machine; the bench says how long it takes"
        assert len(shipment.stored) >= CODE.k + 1
        shipment.finish(0.2)
        assert released.wait(15)
        asleep_nodes = {depot.node for depot in six.depots[-asleep:]}
        assert not asleep_nodes & {store.at.node for store in stores.reachable() if not store.doubted}
        shipment, released = ship(stores.reachable())
        shipment.wait_kept()
        assert not asleep_nodes & set(shipment.stored.values()), "who is doubted is not waited for again"
    finally:
        for depot in six.depots[-asleep:]:
            depot.tell(signal.SIGCONT)
    end_s = time.monotonic() + 30
    while any(store.doubted for store in stores.reachable()):
        assert time.monotonic() < end_s, "who answers again is trusted again"
        time.sleep(0.02)
    stores.close()


@pytest.mark.slow
def test_with_two_stores_left_either_has_all_of_it(six: Site) -> None:
    for depot in six.depots[2:]:
        depot.end()
    stores = six.stores()
    shipment, _ = ship(stores.reachable())
    shipment.wait_kept()
    shipment.finish(5)
    for depot in six.depots[:2]:
        assert sum(node == depot.node for node in shipment.stored.values()) >= CODE.k
    stores.close()


@pytest.mark.slow
def test_a_store_that_dies_on_the_way_is_replaced(six: Site) -> None:
    stores = six.stores()
    reachable = stores.reachable()
    six.depots[5].tell(signal.SIGSTOP)
    shipment, released = ship(reachable)
    six.depots[5].tell(signal.SIGKILL)
    shipment.wait_kept()
    assert len(set(shipment.stored.values())) >= CODE.k + 1
    shipment.finish(5)
    assert released.wait(15)
    stores.close()


def test_without_any_store_it_says_so() -> None:
    shipment, released = ship([nowhere(number) for number in range(6)])
    with pytest.raises(Unreachable):
        shipment.wait_kept()
    assert released.is_set()


def test_full_stores_are_named_as_the_reason(tmp_path: Path) -> None:
    with site(4, capacity_bytes=1 << 20) as small, files_of(small, tmp_path / "home") as files:
        with pytest.raises(DiskFull, match="room"):
            files.put(os.urandom(6 << 20), "big")
        assert files.list() == [], "nothing half-done"
        files.put(b"a note", "note")
        assert files.read("note") == b"a note"
