"""Machines die, sleep and fall silent under a running program: each result comes once, right and in order."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from tests.e2e.lab import Lab, until
from tests.e2e.realm import Machine, Program, Realm, all_linked, end, invite_and_join, no_leases, realm_of
from tests.patience import patient_s

from worldos.agent.journal import newest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CALLS = 60
FEW, LONG_S = 24, 0.6  # calls that are still there when a signal comes late


@pytest.fixture(scope="module")
def built() -> Iterator[Realm]:
    with realm_of(["a", "b", "c"]) as realm:
        yield realm


@pytest.fixture
def realm(built: Realm) -> Iterator[Realm]:
    """Three machines that are well; and whatever a test did to them, they are well again after it."""
    yield built
    built.lab.heal()
    for machine in built.machines:
        machine.wake()
        if not machine.running:
            machine.wos("up")
    built.linked()
    no_leases(built.machines, 15)


def right(program: Program, calls: int = CALLS) -> dict[str, int]:
    """Wait for its end: every result once, right, and in order."""
    said = program.end()
    assert program.results() == [(index, index * index) for index in range(calls)]
    assert said["delivered"] == calls
    return said


def gap_ms(program: Program) -> float:
    """Return the longest silence between two results."""
    came = program.came_ns()
    return max((later - sooner) / 1e6 for sooner, later in itertools.pairwise(came))


def shown(times_ms: list[float]) -> str:
    return ", ".join(f"{ms:.0f}" for ms in times_ms) + " ms"


def test_a_killed_node(realm: Realm) -> None:
    a, b, _ = realm.machines
    program = realm.program(a, calls=FEW, seconds=LONG_S)
    program.busy_on(b.node)
    workers = b.processes()
    at_ns = b.kill()
    said = right(program, FEW)
    times_ms = program.rerun_ms(at_ns, b.node)
    assert times_ms
    assert said["reruns"] >= len(times_ms)
    print(f"a killed node's calls ran elsewhere after {shown(times_ms)}")
    _, alive = psutil.wait_procs(workers, 3)
    assert not alive, "what a killed agent had started ends with it"


def test_a_node_put_to_sleep(realm: Realm) -> None:
    a, _, c = realm.machines
    program = realm.program(a, calls=FEW, seconds=LONG_S)
    program.busy_on(c.node)
    at_ns = c.sleep()
    right(program, FEW)
    print(f"a sleeping node's calls ran elsewhere after {shown(program.rerun_ms(at_ns, c.node))}")
    assert program.rerun_ms(at_ns, c.node)[0] <= patient_s(3000)  # ms


def test_a_node_that_is_cut_off_and_healed(realm: Realm) -> None:
    a, _, c = realm.machines
    program = realm.program(a, calls=FEW, seconds=LONG_S)
    program.busy_on(c.node)
    at_ns = time.monotonic_ns()
    realm.lab.cut("c")
    right(program, FEW)
    print(f"a cut node's calls ran elsewhere after {shown(program.rerun_ms(at_ns, c.node))}")
    until(lambda: a.nodes()["c"]["status"] != "alive", 5, "a sees that c is gone")
    realm.lab.heal()
    realm.linked()
    no_leases(realm.machines, 1)  # what the cut node had granted comes back with the first word, not by time
    again = realm.program(a, calls=20, seconds=0.05)
    right(again, 20)
    assert c.node in {call.node for call in again.calls()}


def test_a_node_that_is_cut_off_for_a_moment_costs_a_moment(realm: Realm) -> None:
    a, _, c = realm.machines
    program = realm.program(a, calls=CALLS, seconds=0.1)
    program.busy_on(c.node)
    realm.lab.cut("c")
    time.sleep(0.4)
    realm.lab.heal()
    right(program)
    print(f"a cut of 400 ms: the longest silence was {gap_ms(program):.0f} ms")


def test_a_killed_worker(realm: Realm) -> None:
    a, b, _ = realm.machines
    program = realm.program(a, calls=FEW, seconds=LONG_S)
    victim = program.busy_on(b.node)[0]
    at_ns = time.monotonic_ns()
    os.kill(victim.pid, signal.SIGKILL)
    said = right(program, FEW)
    again = [call for call in program.calls() if call.index == victim.index]
    assert len(again) == 2
    assert said["reruns"] >= 1
    print(f"a killed worker's call ran elsewhere after {(again[1].began_ns - at_ns) / 1e6:.0f} ms")


@pytest.mark.parametrize("loss", ["worker", "node"])
def test_what_must_not_run_twice_fails_with_the_reason(realm: Realm, loss: str) -> None:
    a, b, _ = realm.machines
    program = realm.program(a, calls=30, seconds=1.0, retries=0)
    call = program.busy_on(b.node)[0]
    if loss == "worker":
        os.kill(call.pid, signal.SIGKILL)
    else:
        b.kill()
    assert program.run.wait(30) == 3, program.run.said()
    words = program.run.expect(r"^failed (\w+) (.*)$", 1)
    print(f"retries=0: {words[1]}: {words[2]}")
    assert words[1] == ("WorkerLost" if loss == "worker" else "NodeGone")
    assert words[2].startswith(
        "the worker that ran work was ended by SIGKILL" if loss == "worker" else "the node that ran work is lost"
    )
    assert max(sum(c.index == i for c in program.calls()) for i in range(30)) == 1


def test_a_gang_is_all_or_none(realm: Realm) -> None:
    a, b, c = realm.machines
    whole = realm.program(a, gang=3, amount=2.0)
    assert whole.end() == {"parts": 3}
    assert set(whole.run.expect(r"^granted (.*)$", 1)[1].split()) == {a.node, b.node, c.node}
    no_leases(realm.machines)

    much = realm.program(a, gang=4, amount=2.0)
    assert much.run.wait(20) == 3
    much.run.expect(r"^failed NoCapacity", 1)
    no_leases(realm.machines, 1)

    c.sleep()
    silent = realm.program(a, gang=3, amount=2.0)
    assert silent.run.wait(20) == 3
    silent.run.expect(r"^failed NoCapacity", 1)
    no_leases([a, b], 1)
    c.wake()
    no_leases([c], 5)  # what it answers now comes too late, and goes back


def test_leases_come_back_when_the_program_is_killed(realm: Realm) -> None:
    program = realm.program(realm.machines[0], calls=600, seconds=0.2)
    for machine in realm.machines:
        program.busy_on(machine.node)
    workers = {psutil.Process(call.pid) for call in program.calls() if not call.ended_ns}
    at = time.monotonic()
    program.run.signal(signal.SIGKILL)
    no_leases(realm.machines, 5)
    print(f"a killed program's leases were back after {1000 * (time.monotonic() - at):.0f} ms")
    _, alive = psutil.wait_procs(workers, 3)
    assert not alive


def test_leases_come_back_when_the_holders_agent_is_killed(realm: Realm) -> None:
    a, b, c = realm.machines
    program = realm.program(a, calls=600, seconds=0.2)
    for machine in (b, c):
        program.busy_on(machine.node)
    at = time.monotonic()
    a.kill()
    assert program.run.wait(20) == 3, program.run.said()
    program.run.expect("^failed NoAgent", 1)
    no_leases([b, c], 13)
    print(f"the leases of a killed holder were back after {time.monotonic() - at:.1f} s")


def test_leases_come_back_when_the_holders_agent_begins_a_new_life(realm: Realm) -> None:
    a, b, c = realm.machines
    program = realm.program(a, calls=600, seconds=0.2)
    for machine in (b, c):
        program.busy_on(machine.node)
    a.kill()
    a.wos("up")
    at = time.monotonic()
    no_leases([b, c], 3)
    print(f"after the holder's new start its old leases were back within {1000 * (time.monotonic() - at):.0f} ms")
    program.run.wait(20)
    right(realm.program(a, calls=20, seconds=0.02), 20)


def test_an_agent_killed_at_any_moment_forgets_nothing_it_acknowledged() -> None:
    with Lab() as lab:
        lab.site("home", "10.1.0", ["a", "b"])
        a, b = Machine(lab, "a"), Machine(lab, "b")
        a.up()
        invite_and_join(a, b)
        a.kill()  # the admission was acknowledged a moment ago
        journal = newest(a.home.journal_folder)
        keylog = a.home.keylog_file.read_bytes()
        life = 1
        for _ in range(2):
            status = a.ask("up")["status"]
            assert status["devices"] == 2
            assert status["life"] == life + 1
            life += 1
            a.kill()
        a.wos("up")
        assert a.home.keylog_file.read_bytes() == keylog
        assert {row["node"] for row in a.tell("devices")} == {a.node, b.node}
        all_linked([a, b])
        assert journal is not None
        a.wos("replay", str(journal))  # the killed life can be lived again: its journal is whole
        end(lab, [a, b])


@pytest.mark.slow
def test_five_nodes_of_which_one_is_killed_one_sleeps_and_one_is_cut_off() -> None:
    with realm_of(["a", "b", "c", "d", "e"]) as realm:
        a, b, c, d, e = realm.machines
        program = realm.program(a, amount=10.0, calls=150, seconds=0.15)
        for machine in realm.machines:
            program.busy_on(machine.node)
        program.wait_for(20)
        b.kill()
        program.wait_for(40)
        c.sleep()
        realm.lab.cut("d")
        right(program, 150)
        print(f"three of five nodes lost: the longest silence was {gap_ms(program):.0f} ms")
        realm.lab.heal()
        c.wake()
        b.wos("up")
        realm.linked()
        no_leases(realm.machines, 15)
        last = realm.program(e, amount=10.0, calls=60, seconds=0.05)
        right(last, 60)
        assert {call.node for call in last.calls()} == {machine.node for machine in realm.machines}
        assert d.node in {call.node for call in last.calls()}
