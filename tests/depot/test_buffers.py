"""A pool lends, waits, and gets back what it lent."""

import threading

import pytest

from worldos.depot.buffers import Pool
from worldos.errors import Unreachable


def test_a_buffer_is_used_again() -> None:
    pool = Pool(5000, 2)
    with pool.take() as view:
        view[:3] = b"abc"
        assert len(view) == 5000
        assert pool.out == 1
    with pool.take() as again:
        assert bytes(again[:3]) == b"abc"
    assert pool.out == 0


def test_two_borrowers_have_two_buffers() -> None:
    pool = Pool(10, 2)
    with pool.take() as first, pool.take() as second:
        first[0], second[0] = 1, 2
        assert (first[0], second[0]) == (1, 2)
    assert pool.count == 2
    assert pool.held_bytes == 20


def test_who_finds_none_waits_until_one_comes_back() -> None:
    pool, got = Pool(10, 1), threading.Event()
    held = pool.take()

    def borrow() -> None:
        with pool.take():
            got.set()

    thread = threading.Thread(target=borrow)
    thread.start()
    assert not got.wait(0.05)
    held.release()
    assert got.wait(5)
    thread.join()
    assert pool.out == 0


def test_who_waits_too_long_is_told() -> None:
    pool = Pool(10, 1)
    with pool.take(), pytest.raises(Unreachable, match="all 1 buffers"):
        pool.take(timeout_s=0.01)


def test_to_give_back_twice_lends_nothing_twice() -> None:
    pool = Pool(10, 2)
    room = pool.take()
    room.release()
    room.release()
    assert pool.out == 0
    first, second = pool.take(), pool.take()
    assert first.view is not second.view


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        Pool(0, 1)
