"""The helper of a private network, by itself: what it begins, how commands join it, and that all of it ends with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_net_space import namespaces

from worldos.errors import NotAllowed, Unreachable
from worldos.lanes import net_space, net_wire, private_net, worker
from worldos.lanes.net_wire import Begin, Mate
from worldos.model.ids import LeaseId, NodeId

BEGIN = Begin(
    net=b"n" * 16,
    prefix=bytes((10, 9, 8)),
    members=(Mate(node=NodeId("a"), lease=LeaseId("la"), name="desk top"),),
    me=0,
)
THREE = Begin(
    net=BEGIN.net, prefix=BEGIN.prefix, members=tuple(replace(BEGIN.members[0], name=n) for n in ("a", "b", "")), me=1
)
Joined = tuple[str, str]


@pytest.fixture(scope="module")
def _lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment of a lane whose agent is not there: what is inside does not need it."""
    namespaces()
    folder = tmp_path_factory.mktemp("lane")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(net_wire.DOOR_NAME, str(folder / "no-door"))
        patch.setenv(net_wire.KEY_NAME, "00" * 32)
        patch.setenv("TMPDIR", str(folder))
        yield


@pytest.fixture(scope="module")
def net(_lane: None) -> Iterator[Joined]:
    """A network of one member."""
    yield from begun()


@pytest.fixture
def own(_lane: None) -> Iterator[Joined]:
    """One that the test may end."""
    yield from begun()


def begun() -> Iterator[Joined]:
    joined = private_net.begin(net_wire.encode(BEGIN))
    yield joined
    private_net.end(joined[0])
    until(lambda: not alive(int(joined[0].partition(":")[0])), "it has ended")


def inside(net: Joined, *command: str) -> list[str]:
    token, python = net
    return [python, "-P", "-m", private_net.PROGRAM, "join", token, "--", *command]


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_command_has_its_input_output_exit_code_and_names(net: Joined) -> None:
    script = "cat; hostname; grep desk /etc/hosts; exit 7"
    done = subprocess.run(inside(net, "sh", "-c", script), input="said\n", capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["said", "n0", "10.9.8.1 n0 desk-top"]


def test_members_are_known_by_number_and_by_the_name_of_their_node() -> None:
    assert private_net.hosts_of(THREE).splitlines()[2:] == ["10.9.8.1 n0 a", "10.9.8.2 n1 b", "10.9.8.3 n2"]


def test_it_stands_when_every_other_was_found() -> None:
    news, carrier = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with news, carrier:
        for said in (b"\0no link yet", b"\2", b"\0", b"\2 lost again"):
            carrier.send(said)
        private_net._until_linked(THREE, news)


@pytest.mark.parametrize(
    ("said", "why"), [(b"\2no link to c", "n2 .*: no link to c"), (b"\2", "n0 .a.: it does not answer")]
)
def test_a_member_to_whom_there_is_no_way_is_named_with_why(
    said: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_net, "LINKED_S", 0.05)
    news, carrier = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with news, carrier:
        if why.startswith("n2"):
            carrier.send(b"\0")
        carrier.send(said)
        with pytest.raises(Unreachable, match=why):
            private_net._until_linked(THREE, news)
        carrier.close()
        with pytest.raises(Unreachable, match="has ended"):
            private_net._until_linked(THREE, news)


def test_several_commands_meet_in_one_network(net: Joined) -> None:
    code = "import socket; s = socket.create_server(('10.9.8.1', 80)); print('up', flush=True); s.accept()[0].sendall(b'met')"
    with subprocess.Popen(inside(net, sys.executable, "-c", code), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        ask = "import socket; print(socket.create_connection(('n0', 80)).recv(9))"
        assert b"met" in subprocess.run(inside(net, sys.executable, "-c", ask), capture_output=True, check=True).stdout


def test_signals_reach_the_command_and_its_end_is_told_as_a_shell_does(net: Joined) -> None:
    with subprocess.Popen(inside(net, "sh", "-c", "echo up; exec sleep 100"), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 128 + signal.SIGTERM


def test_a_command_ends_with_whoever_brought_it_in(net: Joined) -> None:
    with subprocess.Popen(inside(net, "sh", "-c", "echo up; exec sleep 100"), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        first = int(net[0].partition(":")[0])
        running.kill()
        assert running.stdout.read() == b""  # nobody holds its other end any more
    until(
        lambda: (
            len([pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _same_space(pid, first)]) <= 2
        ),
        "gone",
    )


def test_a_command_that_is_not_there_is_said_to_be_so(net: Joined) -> None:
    done = subprocess.run(inside(net, "no-such-program"), capture_output=True, text=True, check=False)
    assert (done.returncode, "no-such-program" in done.stderr) == (127, True)


@pytest.mark.parametrize("ending", ["end", "kill the helper", "kill the first process"])
def test_all_that_runs_inside_ends_with_the_network(own: Joined, ending: str) -> None:
    net = own
    with subprocess.Popen(
        inside(net, "sh", "-c", "setsid sleep 100 & echo $!; wait"), stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        first = int(net[0].partition(":")[0])
        sleeping = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _same_space(pid, first)]
        assert len(sleeping) >= 3
        if ending == "end":
            private_net.end(net[0])
        elif ending == "kill the helper":
            private_net._helpers[-1].kill()
        else:
            os.kill(first, signal.SIGKILL)
        until(
            lambda: not any(alive(pid) for pid in sleeping), f"still there: {[pid for pid in sleeping if alive(pid)]}"
        )
    again = subprocess.run(inside(net, "true"), capture_output=True, text=True, check=False)
    assert (again.returncode, "has ended" in again.stderr) == (126, True)
    private_net.end(net[0])
    private_net.end(f"{os.getpid()}:0")  # a number that is another's by now


def _same_space(pid: int, first: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino == os.stat(f"/proc/{first}/ns/pid").st_ino
    except OSError:
        return False


def test_a_host_without_the_device_refuses_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(net_space, "TUN", str(tmp_path / "none"))
    with pytest.raises(NotAllowed, match="no private network on this node") as caught:
        private_net.begin(net_wire.encode(BEGIN))
    assert "private_net" in caught.value.hint


def test_a_lease_in_a_sandbox_is_told_that_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(worker.ISOLATION_NAME, "sandbox")
    assert private_net.ISOLATION_NAME == worker.ISOLATION_NAME
    with pytest.raises(NotAllowed, match="sandbox"):
        private_net.begin(net_wire.encode(BEGIN))


@pytest.mark.parametrize("body", [b"", b"\x80", b"x" * 300])
def test_a_helper_that_is_told_nonsense_says_so_and_ends(body: bytes) -> None:
    namespaces()
    with pytest.raises(NotAllowed, match="private network"):
        private_net.begin(body)


def test_it_is_nothing_by_itself() -> None:
    assert private_net.main([]) == 2
    assert private_net.main(["join", "1:2", "--", "true"]) == 126
