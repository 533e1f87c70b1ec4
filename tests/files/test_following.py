"""Following: what was used on the desk is near on the laptop before it is asked for there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.files.house import House, house_of
from tests.files.test_memory import see

from worldos.agent.home import open_key
from worldos.files import following, logs
from worldos.files.files import Files
from worldos.files.following import FollowingLoop, told_by, wishes_of
from worldos.files.roots import find_roots
from worldos.home import Home
from worldos.store.entry import NONCE_BYTES, seal_body, sign_entry
from worldos.store.heat import Heats

DATA = os.urandom(2_000_000)
SECOND = 1_000_000_000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_of(tmp_path) as made:
        yield made


def keeper(house: House, home: Home) -> FollowingLoop:
    return FollowingLoop(home, house.stores(home))


def walk(loop: FollowingLoop, now_ns: int) -> int:
    """Let a keeper do all that is due now; return when it looks again."""
    for _ in range(1000):
        due_ns = loop.step(now_ns)
        if due_ns > now_ns:
            return due_ns
    raise AssertionError("it never rests")


def far_bytes(files: Files) -> int:
    return sum(store.fetched_bytes for store in files.session.stores.known() if not store.at.here)


def use(files: Files, name: str, times: int) -> None:
    for _ in range(times):
        assert files.read(name) == DATA


def test_what_was_used_on_the_desk_is_near_on_the_laptop_before_it_is_asked_for(house: House) -> None:
    with house.files(house.desk) as desk:
        desk.put(DATA, "plan.bin")
        desk.put(os.urandom(500_000), "other.bin")
        use(desk, "plan.bin", 3)
    at_desk = keeper(house, house.desk)
    now_ns = time.time_ns()
    walk(at_desk, now_ns)
    with house.files(house.laptop) as laptop:
        see(laptop, "other.bin")
        laptop.read("other.bin")
    at_laptop = keeper(house, house.laptop)
    walk(at_laptop, now_ns + SECOND)
    at_laptop.close()
    with house.files(house.laptop) as laptop:
        see(laptop, "plan.bin")
        use(laptop, "plan.bin", 1)
        assert far_bytes(laptop) == 0
        assert laptop.status("plan.bin")[0].near
    at_desk.close()


def test_where_nobody_is_nothing_is_fetched(house: House) -> None:
    with house.files(house.desk) as desk:
        desk.put(DATA, "plan.bin")
        use(desk, "plan.bin", 3)
        now_ns = time.time_ns()
    at_desk, at_laptop = keeper(house, house.desk), keeper(house, house.laptop)
    walk(at_desk, now_ns)
    assert at_laptop.step(now_ns) > now_ns
    with house.files(house.laptop) as laptop:
        see(laptop, "plan.bin")
        assert not laptop.status("plan.bin")[0].near
    at_desk.close()
    at_laptop.close()


def test_what_is_hot_here_is_wished_for_and_what_was_looked_into_once_is_not() -> None:
    now_ns = 1_700_000_000 * SECOND
    heats = Heats()
    for file, place, times in (
        (b"h" * 32, "here", 4),
        (b"o" * 32, "here", 1),
        (b"b" * 32, "here", 1),
        (b"b" * 32, "desk", 1),
    ):
        for _ in range(times):
            heats.use(file, place, 1000, now_ns)
    warm = [each for each in heats.snapshot() if each.place == "here"]
    elsewhere = [each for each in heats.snapshot() if each.place == "desk"]
    assert list(wishes_of(warm, elsewhere, "here", now_ns, 1 << 30)) == [b"h" * 32, b"b" * 32]
    assert list(wishes_of(warm, elsewhere, "here", now_ns, 999)) == []


def test_what_others_write_into_a_register_is_not_believed(house: House) -> None:
    stores = house.five.stores(0)
    (directory_key,) = find_roots(house.desk, stores).directory_keys
    desk, laptop = open_key(house.desk), open_key(house.laptop)
    good = following.Told(version=1, used=(following.Used(file=b"f" * 32, heat=1000, step=1, size_bytes=1),))
    for device, signer, plain in (
        (desk, laptop, msgspec.msgpack.encode(good)),
        (laptop, laptop, b"\xc1" * 9),
        (laptop, laptop, msgspec.msgpack.encode([1, [[b"short", 1, 1, 1]]])),
    ):
        log = following.register_of(directory_key, device.public)
        body = seal_body(following._body_key(directory_key), plain, os.urandom(NONCE_BYTES), about=log)
        seq = stores.reachable()[0].ask(lambda link, log=log: link.last([log])).result(15)  # type: ignore[misc]
        entry = sign_entry(signer, log, 1 + max((each.seq for each in seq), default=0), body, register=True)
        logs.append(stores.reachable(), [entry])
        assert told_by(stores, [directory_key], [device.public]) == []
    following.tell(stores, directory_key, laptop, [])
    assert told_by(stores, [directory_key], [laptop.public]) == []
