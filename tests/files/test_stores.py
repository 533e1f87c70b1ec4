"""Stores as one can reach them: links that come and go, late answers, and whom to ask first."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from tests.files.depots import Site, site

from worldos.errors import Unreachable
from worldos.files.limits import HEDGE_MIN_S, REOPEN_AFTER_S
from worldos.files.stores import Delay, Store, StoreAt, answers


def until(condition: Callable[[], object], bound_s: float = 30.0) -> None:
    end_s = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.005)


def test_what_is_late_follows_what_is_usual() -> None:
    delay = Delay(0.0, 0.0)
    assert delay.late_s == HEDGE_MIN_S
    for _ in range(50):
        delay.took(0.2)
    assert 0.19 < delay.mean_s < 0.21
    assert 0.2 <= delay.late_s < 0.35
    for _ in range(200):
        delay.took(0.001)
    assert delay.late_s == HEDGE_MIN_S


def test_this_machines_store_comes_first(five: Site) -> None:
    stores = five.stores(3)
    assert stores.reachable()[0].at.node == five.depots[3].node
    here = stores.here()
    assert here is not None
    assert here.at.node == five.depots[3].node
    stores.reachable()[0].doubt()
    assert stores.on(five.depots[3].node) is here
    stores.close()


def test_a_store_that_ended_and_came_back_is_reached_again(five: Site) -> None:
    stores = five.stores()
    assert len(stores.reachable()) == 5
    five.depots[2].end()
    stores.refresh(at_once=True)
    assert len(stores.reachable()) == 4
    five.depots[2].start()
    stores.refresh(at_once=True)
    until(lambda: len(stores.reachable()) == 5, REOPEN_AFTER_S + 5)
    stores.close()


def test_a_store_without_a_way_to_it_answers_with_an_error() -> None:
    store = Store(StoreAt(node="n", name="shed"))
    with pytest.raises(Unreachable, match="shed"):
        store.ask(lambda link: link.have(())).result()
    assert not store.doubted


def test_a_sleeper_is_doubted_passed_over_and_trusted_when_it_wakes() -> None:
    with site(3, own_process=True) as made:
        stores = made.stores()
        assert len(answers(stores.reachable(), lambda link: link.have(()), within_s=10, patience_s=5)) == 3
        made.depots[1].tell(signal.SIGSTOP)
        told = answers(stores.reachable(), lambda link: link.have(()), within_s=10)
        sleeper = stores.on(made.depots[1].node)
        assert sleeper is not None
        assert sleeper.doubted
        assert made.depots[1].node not in told
        assert stores.reachable()[-1].doubted, "it is asked last"
        made.depots[1].tell(signal.SIGCONT)
        until(lambda: not sleeper.doubted)
        stores.close()


def test_late_stores_are_waited_for_where_the_others_do_not_do() -> None:
    with site(2, own_process=True) as made:
        stores = made.stores()
        here = made.depots[0].node
        made.depots[1].tell(signal.SIGSTOP)
        begun_s = time.monotonic()
        told = answers(
            stores.reachable(), lambda link: link.have(()), within_s=0.3, will_do=lambda told: len(told) == 2
        )
        assert time.monotonic() - begun_s >= 0.3
        assert set(told) == {here}
        made.depots[1].tell(signal.SIGCONT)
        stores.close()


def test_breaking_a_link_fails_what_was_open_on_it() -> None:
    with site(1, own_process=True) as made:
        stores = made.stores()
        store = stores.reachable()[0]
        made.depots[0].tell(signal.SIGSTOP)
        future: Future[tuple[int, ...]] = store.ask(lambda link: link.have(()))
        store.hang_up()
        with pytest.raises(Unreachable):
            future.result(15)
        made.depots[0].tell(signal.SIGCONT)
        until(lambda: store.ask(lambda link: link.have(())).exception() is None)
        assert not store.doubted
        stores.close()


def test_a_slow_store_is_spared_for_a_while() -> None:
    store = Store(StoreAt(node="n"))
    assert not store.behind
    store.spare()
    assert store.behind
