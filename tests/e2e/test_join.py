"""Machines join by tickets and find each other; every ticket that is not good is refused with what to do."""

from __future__ import annotations

import os
import pty
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.lab import Lab, until
from tests.e2e.realm import WOS, Machine, all_linked, end, invite_and_join, no_leases, ticket_of
from tests.patience import patient_s

from worldos.agent import home as homes
from worldos.errors import WorldError
from worldos.sdk.asking import Asking

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def machines(lab: Lab, *names: str) -> list[Machine]:
    lab.site("home", "10.1.0", names)
    return [Machine(lab, name) for name in names]


def ways(machine: Machine) -> set[str]:
    """By which ways a machine reaches the others."""
    return {row["via"] for row in machine.nodes().values() if not row["here"]}


class Inviting:
    """An invitation by the local API, where a test answers in a person's place."""

    def __init__(self, machine: Machine, *, life_s: int = 60, yes: bool = True) -> None:
        self.ticket = ""
        self.ended: WorldError | dict[str, Any] | None = None
        self._machine, self._life_s, self._yes = machine, life_s, yes
        self._asking: Asking | None = None
        self._thread = threading.Thread(target=self._invite)
        self._thread.start()
        until(lambda: self.ticket, 10, "a ticket")

    def end(self) -> WorldError | dict[str, Any] | None:
        """Wait for its end; return the device that joined or why none did."""
        self._thread.join(patient_s(30))
        return self.ended

    def take_back(self) -> None:
        """Hang up: who invites no more lets nobody in."""
        assert self._asking is not None
        self._asking.close()
        self.end()

    def _invite(self) -> None:
        def progress(value: dict[str, Any]) -> None:
            self.ticket = value.get("ticket", self.ticket)
            if "code" in value:
                self._machine.tell("confirm", confirm=value["confirm"], yes=self._yes)

        try:
            with Asking(self._machine.home) as agent:
                self._asking = agent
                self.ended = agent.ask("invite", progress=progress, timeout_s=60, life_s=self._life_s)
        except WorldError as error:
            self.ended = error


def test_three_machines_joined_by_tickets_see_each_other(lab: Lab) -> None:
    a, b, c = machines(lab, "a", "b", "c")
    found = a.up()
    assert len(found["recovery_words"].split()) == 24
    assert {"CPU", "Memory", "Storage", "Network"} <= {resource["kind"] for resource in found["resources"]}
    invite_and_join(a, b)
    invite_and_join(b, c)  # whoever is a member may invite
    all_linked([a, b, c])
    for machine in (a, b, c):
        rows = machine.nodes()
        assert rows.keys() == {"a", "b", "c"}
        assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(rows, "alive")
        until(lambda machine=machine: ways(machine) == {"direct"}, 10, f"{machine.name} reaches all directly")  # type: ignore[misc]
        assert [row["status"] for row in machine.tell("devices")] == ["active"] * 3
        assert {r["node_name"] for r in machine.tell("resources", kind="CPU")} == {"a", "b", "c"}
        assert machine.tell("status")["account"] == found["status"]["account"]
        assert homes.open_key(machine.home).node_id == machine.node
        assert machine.home.key_file.stat().st_mode & 0o777 == 0o600
    assert {row["name"] for row in c.ask("nodes")} == {"a", "b", "c"}
    assert {row["node_name"] for row in c.ask("resources", "--type", "CPU")} == {"a", "b", "c"}
    assert "alive" in c.wos("nodes")
    end(lab, [a, b, c])


def test_bad_tickets_are_refused_with_what_to_do(lab: Lab) -> None:
    a, b, c = machines(lab, "a", "b", "c")
    a.up()
    inviting = a.start("invite", "--yes", "--plain")
    ticket = ticket_of(inviting)

    code, said = c.refused("join", ticket[:-3] + ("aaa" if not ticket.endswith("aaa") else "bbb"), "--yes")
    assert code == 2
    assert "damaged" in said
    assert "copy it whole" in said
    code, said = c.refused("join", "hello", "--yes")
    assert code == 2
    assert "not a ticket" in said

    b.joined(b.joining(ticket))
    inviting.wait(10)
    code, said = c.refused("join", ticket, "--yes")
    assert code == 3, said
    assert "used" in said
    assert "wos invite" in said

    short = Inviting(a, life_s=1)
    assert isinstance(short.end(), WorldError)
    code, said = c.refused("join", short.ticket, "--yes")
    assert code == 3, said
    assert "too old" in said
    assert not c.running
    assert not c.home.keylog_file.exists()
    invite_and_join(a, c)  # what was refused left nothing in the way
    all_linked([a, b, c])
    end(lab, [a, b, c])


def test_a_ticket_whose_maker_is_not_there_says_so(lab: Lab) -> None:
    a, b = machines(lab, "a", "b")
    a.up()
    inviting = a.start("invite", "--yes", "--plain")
    ticket = ticket_of(inviting)
    a.down()
    code, said = b.refused("join", ticket, "--yes")
    assert code == 4
    assert "does not answer" in said
    assert "wos invite" in said
    end(lab, [a, b])


def test_a_wrong_code_admits_nobody(lab: Lab) -> None:
    a, b, c = machines(lab, "a", "b", "c")
    a.up()
    told_no = Inviting(a, yes=False)
    code, said = b.refused("join", told_no.ticket, "--yes")
    assert code == 3
    assert "other machine" in said or "there" in said, said
    assert isinstance(told_no.end(), WorldError)

    good, bad = Inviting(a), Inviting(a, yes=False)  # at one time: each caller is shown to who made its ticket
    rejected, taken = b.start("join", bad.ticket, "--yes"), c.joining(good.ticket)
    assert rejected.wait(20) == 3, rejected.said()
    c.joined(taken)
    assert isinstance(bad.end(), WorldError)
    assert good.end() == {"node": c.node, "name": "c"}

    saying_no = Inviting(a)
    person, terminal = pty.openpty()
    os.write(person, b"n\n")
    run = lab.run("b", [*WOS, "join", saying_no.ticket], home=b.home.path, stdin=terminal)
    assert run.wait(20) == 3, run.said()
    assert "code" in run.said()
    os.close(person)
    os.close(terminal)
    assert isinstance(saying_no.end(), WorldError)

    nobody = Inviting(a)
    code, said = b.refused("join", nobody.ticket)  # no terminal: nobody compares
    assert code == 2
    assert "--yes" in said
    assert {row["name"] for row in a.tell("devices")} == {"a", "c"}
    nobody.take_back()
    end(lab, [a, b, c])


def test_a_machine_of_another_account_with_other_devices_stays_where_it_is(lab: Lab) -> None:
    a, c, d = machines(lab, "a", "c", "d")
    a.up()
    c.up()
    invite_and_join(c, d)
    all_linked([c, d])
    inviting = Inviting(a, life_s=30)
    code, said = d.refused("join", inviting.ticket, "--yes")
    assert code == 3
    assert "another" in said or "already" in said
    assert "wos leave" in said
    all_linked([c, d])
    end(lab, [a, c, d])
    inviting.end()


def test_a_failed_join_does_not_stop_what_runs(lab: Lab) -> None:
    """A machine alone in an account of its own may change; but only when the new one has taken it."""
    a, b = machines(lab, "a", "b")
    a.up()
    b.up()
    gone = Inviting(a, life_s=1)
    gone.end()
    code, said = b.refused("join", gone.ticket, "--yes")
    assert code == 3, said
    assert b.running
    assert b.ask("status")["devices"] == 1
    invite_and_join(a, b)
    all_linked([a, b])
    end(lab, [a, b])


def test_two_machines_of_one_account_find_each_other_without_an_address(lab: Lab) -> None:
    a, b = machines(lab, "a", "b")
    a.up()
    invite_and_join(a, b)
    all_linked([a, b])
    a.down()
    b.down()
    times_ms: list[float] = []
    for _ in range(2):
        for machine in (a, b):  # a memory without addresses: only the beacon is left
            remembered = homes.read_remembered(machine.home)
            assert remembered.boot
            remembered.peers = {}
            homes.write_remembered(machine.home, remembered)
        starting = [machine.start("up") for machine in (a, b)]
        up_ns = 0
        for run in starting:
            assert run.wait(20) == 0, run.said()
        up_ns = max(_ready_ns(machine) for machine in (a, b))
        until(lambda: all(_usable(x, y) for x, y in ((a, b), (b, a))), 5, "both can use each other")
        times_ms.append((time.monotonic_ns() - up_ns) / 1e6)
        no_leases([a, b])
        a.down()
        b.down()
    times_ms.sort()
    print(f"usable by each other {[round(t) for t in times_ms]} ms after the later start")
    assert times_ms[0] <= patient_s(1) * 1000
    assert times_ms[-1] <= patient_s(5) * 1000
    end(lab, [a, b])


def _ready_ns(machine: Machine) -> int:
    """When its agent began to listen: its local socket was made then."""
    return time.monotonic_ns() - (time.time_ns() - machine.home.socket_file.stat().st_mtime_ns)


def _usable(machine: Machine, other: Machine) -> bool:
    row = machine.nodes()["ab".replace(machine.name, "")]
    return bool(row["status"] == "alive" and row["node"] == other.node and row["cpu_free"])


def test_a_port_that_is_taken_and_a_second_agent_are_refused(lab: Lab) -> None:
    a, b = machines(lab, "a", "b")
    a.up()
    second = Machine(lab, "a")
    second.home = b.home  # another home on the same host
    code, said = second.refused("up", "--listen", a.listen)
    assert code == 2, said
    assert "cannot listen" in said
    assert "another port" in said
    run = a.run([sys.executable, "-P", "-m", "worldos.agent", "--home", a.home.path])
    assert run.wait(10) == 3, run.said()
    assert "runs on" in run.said()
    assert a.ask("status")["node"] == a.node
    end(lab, [a])
