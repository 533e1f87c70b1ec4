"""Logs in stores: kept at two, read from whoever has them, and only what is signed by whom it must be."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from tests.files.depots import Site

from worldos.errors import Unreachable
from worldos.files import logs
from worldos.store.entry import Entry, sign_entry
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(bytes(32))


def entries(log: bytes, count: int, key: DeviceKey = KEY) -> list[Entry]:
    return [sign_entry(key, log, number, os.urandom(300)) for number in range(1, count + 1)]


def read(five: Site, log: bytes, numbers: Sequence[int], after: int = 0) -> list[int]:
    stores = five.stores()
    those = [store for number in numbers if (store := stores.on(five.depots[number].node)) is not None]
    found = logs.read_new(those, {(log, KEY.public): after}, patience_s=5)
    stores.close()
    return [entry.seq for entry in found.get(log, [])]


def test_an_entry_lies_on_two_devices_before_it_counts(five: Site) -> None:
    log, stores = os.urandom(32), five.stores()
    assert logs.append(stores.reachable(), entries(log, 3)) >= 2
    assert read(five, log, [0]) == [1, 2, 3], "this machine's own has it first"
    assert sum(read(five, log, [number]) == [1, 2, 3] for number in range(5)) >= 2
    assert read(five, log, [0], after=2) == [3]
    stores.close()


def test_with_one_store_left_one_will_do_and_with_none_it_says_so(five: Site) -> None:
    for depot in five.depots[1:]:
        depot.end()
    log, stores = os.urandom(32), five.stores()
    told: list[str] = []
    assert logs.append(stores.reachable(), entries(log, 1), before_others=lambda: told.append("x")) == 1
    assert told == [], "it is in this machine's store: nothing need lie in the home"
    five.depots[0].end()
    stores.refresh(at_once=True)
    with pytest.raises(Unreachable):
        logs.append(stores.reachable(), entries(log, 1))
    stores.close()


def test_before_it_leaves_without_our_own_store_we_are_told(five: Site) -> None:
    five.depots[0].end()
    log, stores, told = os.urandom(32), five.stores(), []
    logs.append(stores.reachable(), entries(log, 1), before_others=lambda: told.append("x"))
    assert told == ["x"]
    stores.close()


def test_what_another_signed_is_not_read(five: Site) -> None:
    log, stores = os.urandom(32), five.stores()
    logs.append(stores.reachable(), entries(log, 2, DeviceKey.from_seed(bytes([9]) * 32)))
    assert read(five, log, range(5)) == []
    stores.close()


def test_the_union_of_what_stores_have_is_read(five: Site) -> None:
    log, made, stores = os.urandom(32), [], five.stores()
    made = entries(log, 6)
    for number, entry in enumerate(made):
        store = stores.on(five.depots[number % 3].node)
        assert store is not None
        store.ask(lambda link, entry=entry: link.append([entry])).result(15)  # type: ignore[misc]
    assert read(five, log, range(5)) == [1, 2, 3, 4, 5, 6]
    last = logs.last(stores.reachable(), [log], thorough=True)
    assert last[log].seq == 6
    stores.close()


def test_a_long_log_comes_in_several_answers(five: Site) -> None:
    log, stores = os.urandom(32), five.stores()
    for first in range(6):
        logs.append(stores.reachable(), [sign_entry(KEY, log, first + 1, os.urandom(1 << 20))])
    assert read(five, log, [0]) == [1, 2, 3, 4, 5, 6]
    stores.close()
