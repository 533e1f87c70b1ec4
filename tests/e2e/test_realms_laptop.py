"""A laptop between its office and its home: another address, another center, the same leases and calls."""

from __future__ import annotations

import os
import time

import pytest
from tests.e2e.lab import until
from tests.e2e.realms import SECOND, Program, Tree
from tests.e2e.realms_laptop import Laptop, laptop_tree

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

LONG = bool(os.environ.get("REALMS_LONG"))  # REALMS_LONG=1: there, back, and there again
MOVES = (("h", "home/laptop"), ("o", "office/laptop"), ("h", "home/laptop"))[: 3 if LONG else 1]
MOVED_S = 15.0  # the aim is 5


def test_a_laptop_that_goes_home_changes_its_center_and_keeps_what_it_has() -> None:
    with laptop_tree() as (laptop, tree):
        go_home(laptop, tree)


def go_home(moving: Laptop, tree: Tree) -> None:
    machine, office = moving.machine, moving.homes["o"].machines[0]
    holding = Program(machine, {"mode": "hold", "amount": 1, "realm": "office/o"})
    tree.programs.append(holding)
    first = holding.granted()
    assert first["nodes"] == [office.node]
    running = Program(machine, {"mode": "hold", "amount": 1, "realm": "office/o", "seconds": 6.0, "timeout": 30})
    tree.programs.append(running)
    running.granted()
    time.sleep(1)
    for there, path in MOVES:
        at_ns = moving.go(there)
        until(lambda path=path: moving.way() == path, MOVED_S, f"the laptop is at {path}")  # type: ignore[misc]
        print(f"{path} {(time.monotonic_ns() - at_ns) / SECOND:.2f} s after it moved")
        print(f"a call under the old lease {holding.wait_served(at_ns, MOVED_S):.2f} s after it moved")
        assert machine.ask("realm", "tree")
        time.sleep(2)
    until(lambda: len(running.asks()) >= 1, 20, "the call that ran meanwhile ends")
    assert not holding.errors()
    assert not running.errors()
    assert holding.leases() == [tuple(first["leases"])]
    assert {row["node"] for row in (*holding.asks(), *running.asks())} == {office.node}
