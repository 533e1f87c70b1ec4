"""Machines: keys and key logs that are the same in every world."""

from __future__ import annotations

from worldos.sim import machine as machines
from worldos.sim.clock import Clock
from worldos.trust.keylog import KeyLog, SignedEntry


def log_of(entries: dict[str, SignedEntry]) -> KeyLog:
    log = KeyLog()
    log.merge(entries.values())
    return log


def test_the_machines_of_a_world_are_members_of_one_account() -> None:
    log = log_of(machines.account_of(3))
    assert [log.is_member(machines.device_key(n).node_id) for n in range(4)] == [True, True, True, False]


def test_another_is_admitted_by_a_member_and_put_out_by_the_words() -> None:
    log = log_of(machines.account_of(2))
    log.merge([machines.admission(log, 7, signer=0)])
    newcomer = machines.device_key(7).node_id
    assert log.is_member(newcomer)
    log.merge([machines.removal(log, newcomer)])
    assert not log.is_member(newcomer)


def test_a_machine_runs_when_it_is_on_and_not_stopped() -> None:
    machine = machines.Machine(0, machines.device_key(0), Clock(), machines.Site(0, machines.Place()))
    states = []
    for up, paused in ((True, False), (True, True), (False, False)):
        machine.switch(up=up, paused=paused)
        states.append(machine.running)
    assert states == [True, False, False]
