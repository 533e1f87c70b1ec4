"""Ports: each has one implementation in the agent and one in the simulator, that can be called in the same way."""

from __future__ import annotations

import inspect

import pytest

from worldos import ports
from worldos.agent.journal import Journal
from worldos.agent.lanes import Lanes
from worldos.agent.network import Network
from worldos.agent.wal import Wal
from worldos.sim.disk import MemoryDisk
from worldos.sim.journal import MemoryJournal
from worldos.sim.lanes import MachineLanes
from worldos.sim.sessions import MachineWire

PAIRS = {
    ports.Wire: (Network, MachineWire),
    ports.Lanes: (Lanes, MachineLanes),
    ports.Journal: (Journal, MemoryJournal),
    ports.Disk: (Wal, MemoryDisk),
}


def methods(port: type) -> list[str]:
    return [name for name, member in vars(port).items() if inspect.isfunction(member) and not name.startswith("_")]


@pytest.mark.parametrize("port", PAIRS, ids=lambda port: port.__name__)
def test_both_implementations_of_a_port_take_the_same_arguments(port: type) -> None:
    assert methods(port)
    for made in PAIRS[port]:
        for name in methods(port):
            assert list(inspect.signature(getattr(made, name)).parameters) == list(
                inspect.signature(getattr(port, name)).parameters
            )


def test_every_port_has_its_pair() -> None:
    found = {
        each
        for each in vars(ports).values()
        if getattr(each, "_is_protocol", False) and each.__module__ == "worldos.ports"
    }
    assert found == set(PAIRS)
