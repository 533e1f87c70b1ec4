"""The direct way between two machines is cut while a third reaches both: work goes on through it, and it learns nothing."""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.lab import until
from tests.e2e.realm import Machine, Program, Realm, no_leases, realm_of
from tests.patience import patient_s

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CALLS = 300
MARKER = "the-secret-of-the-argument-" + "0123456789abcdef" * 8

# Writes every frame that an interface carries into a file.
SNIFF = """
import socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
raw.bind((sys.argv[1], 0))
raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
print("ready", flush=True)
with open(sys.argv[2], "wb", buffering=0) as out:
    while True: out.write(raw.recv(1 << 16))
"""
SEND = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 9))"


@pytest.fixture(scope="module")
def built() -> Iterator[Realm]:
    with realm_of(["a", "b", "c"]) as realm:
        yield realm


@pytest.fixture
def realm(built: Realm) -> Iterator[Realm]:
    yield built
    built.lab.heal()
    built.linked()
    until(lambda: built.machines[0].nodes()["b"]["via"] == "direct", 10, "direct again")
    no_leases(built.machines, 15)


def on_b(realm: Realm, calls: int = CALLS, seconds: float = 0.02) -> Program:
    """Start a program on a whose workers are all on b."""
    a, b, _ = realm.machines
    program = realm.program(a, amount=2.0, calls=calls, seconds=seconds, on=b.node, marker=MARKER)
    assert program.run.expect(r"^granted (.*)$", 20)[1].split() == [b.node]
    program.wait_for(30)
    return program


def way(here: Machine, there: Machine) -> str:
    return str(here.nodes()[there.name]["via"])


def exactly_once(program: Program, calls: int = CALLS) -> None:
    """Check the results, and that no call was begun twice."""
    said = program.end()
    assert program.results() == [(index, index * index) for index in range(calls)]
    assert sorted(call.index for call in program.calls()) == list(range(calls))
    assert said["reruns"] == 0


def gap_ms(program: Program, after_ns: int) -> float:
    """Return the longest time without a result that ended after a moment."""
    came = program.came_ns()
    return max((later - sooner) / 1e6 for sooner, later in itertools.pairwise(came) if later > after_ns)


def test_calls_go_on_through_a_third_and_return_when_the_way_is_healed(realm: Realm) -> None:
    a, b, c = realm.machines
    program = on_b(realm, 600)
    cut_ns = time.monotonic_ns()
    realm.lab.cut_between("a", "b")
    until(lambda: way(a, b) == c.node, 5, "a reaches b through c")
    cut_took_ms = (time.monotonic_ns() - cut_ns) / 1e6
    program.wait_for(150)
    realm.lab.heal()
    until(lambda: way(a, b) == "direct", 10, "direct again")
    exactly_once(program, 600)
    print(
        f"a cut of the direct way: {gap_ms(program, cut_ns):.0f} ms without a result; known after {cut_took_ms:.0f} ms"
    )
    assert gap_ms(program, cut_ns) <= patient_s(1500)  # ms; 500 on an idle machine


def test_a_third_that_carries_the_calls_sees_none_of_what_they_say(realm: Realm) -> None:
    a, b, c = realm.machines
    capture = realm.lab.folder / "capture"
    sniffing = realm.lab.run("c", [sys.executable, "-c", SNIFF, "home", capture])
    sniffing.expect("ready")
    realm.lab.cut_between("a", "b")
    program = on_b(realm)
    assert way(a, b) == c.node
    until(lambda: len(program.results()) > 150, 20, "half is done")
    assert found_in(program.run.pid, MARKER)  # this way of looking sees it where it is
    assert not found_in(c.pid, MARKER), "the relay's memory holds what was said"
    exactly_once(program)
    realm.lab.run("a", [sys.executable, "-c", SEND, realm.lab.host("c").address, "in the clear"]).wait()
    until(lambda: b"in the clear" in capture.read_bytes(), 5, "the capture sees what is sent in the clear")
    data = capture.read_bytes()
    sniffing.process.kill()
    print(f"captured {len(data)} bytes at the relay")
    assert len(data) > CALLS * len(MARKER)
    assert MARKER.encode()[:40] not in data
    assert b"began" not in data


def found_in(pid: int, text: str) -> bool:
    """Whether the memory of a process holds a text now."""
    wanted = text.encode()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            low, high, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()  # type: ignore[union-attr]
            if not rights.startswith("rw"):
                continue
            try:
                memory.seek(int(low, 16))
                if wanted in memory.read(int(high, 16) - int(low, 16)):
                    return True
            except (OSError, ValueError):
                continue
    return False


def test_who_does_not_want_to_relay_does_not(realm: Realm) -> None:
    a, b, c = realm.machines
    c.down()
    config = c.home.config_file
    config.write_text(config.read_text() + "relay = false\n")
    c.wos("up")
    realm.linked()
    program = realm.program(a, calls=120, seconds=0.1)
    program.busy_on(b.node)
    realm.lab.cut_between("a", "b")
    until(lambda: a.nodes()["b"]["status"] != "alive", 5, "a cannot reach b")
    said = program.end()  # it goes on elsewhere
    assert way(a, b) == ""
    assert program.results() == [(index, index * index) for index in range(120)]
    assert said["reruns"] >= 1
    assert c.nodes()["b"]["status"] == c.nodes()["a"]["status"] == "alive"

    program = realm.program(a, amount=1.0, calls=10, on=b.node)  # and nothing else will do
    assert program.run.wait(20) == 3
    program.run.expect("^failed NoCapacity", 1)
    realm.lab.heal()
    until(lambda: way(a, b) == "direct", 10, "direct again")
    c.down()
    config.write_text(config.read_text().replace("relay = false\n", ""))
    c.wos("up")
