"""A private network over three machines: every port between its members, nobody else, through cuts, and without remains."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.lab import LabError, Run, until
from tests.e2e.realm import Machine, Realm, no_leases, realm_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

HOLDER = Path(__file__).with_name("net_holder.py")
FIRST_PORT, PORTS = 7000, 40
MARK = "wos-net-mark"
CUT_S = 1.5
PYTHON = [sys.executable, "-P", "-c"]

SERVE = f"""
import selectors, socket, sys
name, ready = socket.gethostname().encode(), selectors.DefaultSelector()
for port in range({FIRST_PORT}, {FIRST_PORT + PORTS}):
    ready.register(socket.create_server(("", port)), selectors.EVENT_READ)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("", {FIRST_PORT})); ready.register(udp, selectors.EVENT_READ)
print("up {MARK}", flush=True)
while True:
    for key, _ in ready.select():
        if key.fileobj is udp:
            data, there = udp.recvfrom(65_507); udp.sendto(name + data, there)
        else:
            sock, _ = key.fileobj.accept(); sock.sendall(name + b" %d" % key.fileobj.getsockname()[1]); sock.close()
"""
ASK = f"""
import json, socket, sys
said = []
for host in sys.argv[1:]:
    for port in range({FIRST_PORT}, {FIRST_PORT + PORTS}):
        with socket.create_connection((host, port), 10) as sock: said.append(sock.recv(100).decode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        for size in (10, 1400, 60_000):
            udp.sendto(bytes(size), (host, {FIRST_PORT})); said.append(len(udp.recv(65_507)))
print(json.dumps(said))
"""
REACH = """
import socket, sys
for where in sys.argv[2:]:
    host, port = where.split(":")
    try:
        with socket.create_connection((host, int(port)), float(sys.argv[1])) as sock: print(where, "reached", sock.recv(100))
    except OSError as error:
        print(where, "not reached", error)
"""
TALK = f"""
import socket, sys, time  # {MARK}
server = socket.create_server(("", 6000))
print("up", flush=True)
sock, _ = server.accept()
while data := sock.recv(100): sock.sendall(data)
"""
TALKER = """
import os, socket, sys, time
sock = socket.create_connection((sys.argv[1], 6000), 10)
print("talks", flush=True)
worst, last = 0.0, time.monotonic()
sock.settimeout(30)
while not os.path.exists("enough"):
    sock.sendall(b"x"); assert sock.recv(1) == b"x"
    worst, last = max(worst, time.monotonic() - last), time.monotonic()
    time.sleep(0.01)
print("worst_s", worst)
"""


_holders: list[Holder] = []


class Holder:
    """The program that holds the network, on the first machine."""

    def __init__(self, realm: Realm, members: Sequence[Machine]) -> None:
        self.machine = realm.machines[0]
        _holders.append(self)
        source, sink = os.pipe()
        argv = [sys.executable, "-P", str(HOLDER), *(each.node for each in members)]
        env = {"TMPDIR": str(self.machine.scratch)}
        self.run = realm.lab.run(self.machine.name, argv, home=self.machine.home.path, env=env, stdin=source)
        os.close(source)
        self.sink = os.fdopen(sink, "wb", buffering=0)
        self.read = 0
        self.addresses: list[str] = self.heard("open", 20)

    def heard(self, order: str, within_s: float = 30.0) -> Any:
        lines: list[str] = []

        def came() -> bool:
            lines[:] = self.run.text().splitlines()
            return len(lines) > self.read or self.run.process.poll() is not None

        until(came, within_s, f"the holder answers {order}: {self.run.said()}")
        if len(lines) <= self.read:
            raise LabError(f"the holder has ended\n{self.run.said()}")
        what, *rest = json.loads(lines[self.read])
        self.read += 1
        assert what == order, (what, rest)
        return rest[0]

    def tell(self, order: str, *words: Any) -> None:
        self.sink.write(json.dumps({order: words}).encode() + b"\n")

    def ask(self, order: str, *words: Any) -> Any:
        self.tell(order, *words)
        return self.heard(order)

    def inside(self, member: int, code: str, *words: str) -> str:
        status, said = self.ask("run", member, *PYTHON, code, *words)
        assert status == 0, said
        return str(said)

    def kill(self) -> None:
        self.run.signal(signal.SIGKILL)
        self.sink.close()

    def end(self) -> None:
        self.sink.close()
        assert self.run.wait(20) == 0, self.run.said()


def marked() -> list[int]:
    """Every process that a test here started inside a network."""
    running = psutil.process_iter(["cmdline"])
    return [each.pid for each in running if any(MARK in word for word in each.info["cmdline"] or ())]


def unreached(said: str) -> None:
    assert "not reached" in said, said
    assert " reached b" not in said, said


def from_host(realm: Realm, machine: Machine, code: str, *words: str, uid: int = 0) -> str:
    """Run Python on a host, outside of every lease; as another user if so said."""
    other = (
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "/usr/bin/python3"]
        if uid
        else [sys.executable]
    )
    run: Run = realm.lab.run(machine.name, [*other, "-c", code, *words])
    run.wait(20)
    return run.said()


@pytest.fixture(scope="module")
def built() -> Iterator[Realm]:
    with realm_of(["a", "b", "c"]) as realm:
        yield realm


@pytest.fixture
def realm(built: Realm) -> Iterator[Realm]:
    yield built
    while _holders:  # those that a failed test left
        _holders.pop().kill()
    built.lab.heal()
    built.linked()
    no_leases(built.machines, 15)
    until(lambda: not marked(), 5, f"nothing runs inside any more: {marked()}")


def test_every_member_reaches_every_port_of_the_others_by_name(realm: Realm) -> None:
    holder = Holder(realm, realm.machines)
    for member in range(3):
        assert holder.ask("start", member, *PYTHON, SERVE) == f"up {MARK}"
    for member, others in ((0, (1, 2)), (1, (2, 0)), (2, (0, 1))):
        expected: list[Any] = []
        for other in others:
            expected += [f"n{other} {port}" for port in range(FIRST_PORT, FIRST_PORT + PORTS)]
            expected += [size + 2 for size in (10, 1400, 60_000)]
        assert json.loads(holder.inside(member, ASK, *(f"n{other}" for other in others))) == expected
    holder.end()


def test_a_stranger_reaches_nothing_inside_and_nobody_inside_reaches_out(realm: Realm) -> None:
    a, b, _c = realm.machines
    holder, another = Holder(realm, [a, b]), Holder(realm, [a, b])
    assert holder.ask("start", 1, *PYTHON, SERVE) == f"up {MARK}"
    there, agent = f"{holder.addresses[1]}:{FIRST_PORT}", realm.lab.host("b").address
    assert "reached b'n1 7000'" in holder.inside(0, REACH, "10", there)  # the control: a member does
    unreached(another.inside(0, REACH, "0.5", there))  # another network of the same owner
    for member in range(2):  # the same leases' own lanes, outside of the network
        unreached(holder.ask("outside", member, *PYTHON, REACH, "0.5", there)[1])
    for host in (a, b):
        unreached(from_host(realm, host, REACH, "0.5", there, f"127.0.0.1:{FIRST_PORT}", f"{agent}:{FIRST_PORT}"))
    unreached(holder.inside(0, REACH, "0.5", f"{agent}:7370", "127.0.0.1:7370", "192.0.2.1:80"))
    holder.end()
    another.end()


def test_a_forward_lets_its_own_user_in_and_no_other(realm: Realm) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    a, b, _c = realm.machines
    holder = Holder(realm, [a, b])
    assert holder.ask("start", 1, *PYTHON, SERVE) == f"up {MARK}"
    port = holder.ask("forward", 1, FIRST_PORT + 3)
    here, from_afar = f"127.0.0.1:{port}", f"{realm.lab.host('a').address}:{port}"
    assert "reached b'n1 7003'" in from_host(realm, a, REACH, "10", here)
    assert "n1" not in from_host(realm, a, REACH, "10", here, uid=65534)
    unreached(from_host(realm, a, REACH, "0.5", from_afar))
    unreached(from_host(realm, b, REACH, "0.5", from_afar))
    holder.end()
    unreached(from_host(realm, a, REACH, "0.5", here))


def test_what_talks_goes_on_after_a_cut(realm: Realm) -> None:
    holder = Holder(realm, realm.machines)
    assert holder.ask("start", 2, *PYTHON, TALK) == "up"
    assert holder.ask("start", 1, *PYTHON, TALKER, "n2") == "talks"
    realm.lab.cut_between("b", "c")  # there is a way around, by a
    assert "refused" in holder.inside(0, REACH, "5", "n1:1", "n2:1")
    realm.lab.heal()
    realm.lab.cut("c")  # and now there is none
    time.sleep(CUT_S)
    realm.lab.heal()
    assert holder.ask("outside", 1, "touch", "enough") == [0, ""]
    code, said = holder.ask("finish", 1)
    assert code == 0, said
    assert float(said.split()[-1]) > CUT_S / 2, "it was never cut"
    holder.end()


def test_a_killed_program_leaves_nothing_inside(realm: Realm) -> None:
    holder = Holder(realm, realm.machines)
    for member in range(3):
        holder.ask("start", member, *PYTHON, SERVE)
    assert len(marked()) >= 3
    holder.kill()
    until(lambda: not marked(), 10, "what ran inside has ended")


def test_a_killed_agent_takes_its_member_along_and_no_other(realm: Realm) -> None:
    holder = Holder(realm, realm.machines)
    for member in range(3):
        holder.ask("start", member, *PYTHON, SERVE)
    c, before = realm.machines[2], len(marked())
    c.kill()
    until(lambda: len(marked()) < before, 10, "what ran on c has ended")
    assert "reached b'n1 7000'" in holder.inside(0, REACH, "10", f"n1:{FIRST_PORT}")
    holder.end()  # it closes the network of what is left
    c.wos("up")
    c.node = c.tell("status")["node"]
