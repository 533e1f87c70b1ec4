"""A private network as a program has it, over two leases of one machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator

import pytest

from worldos.errors import BadRequest, LeaseEnded, NoCapacity
from worldos.lanes import net_space
from worldos.sdk.private_net import PrivateNet
from worldos.sdk.use import need, use

SERVER = """
import socket
with socket.create_server(("127.0.0.1", 5000)) as server:
    print("up", flush=True)
    while True:
        with server.accept()[0] as sock: sock.sendall(socket.gethostname().encode())
"""


@pytest.fixture(scope="module")
def net() -> Iterator[tuple[PrivateNet, list[object]]]:
    if why := net_space.why_not():
        pytest.skip(f"private networks: {why}")
    with use(need("CPU", 0.5), need("CPU", 0.5)) as cpus, PrivateNet.open(cpus) as opened:
        for member in range(2):
            assert cpus[member].submit(_serve, opened.prefix(member)).result(60) == "up"
        yield opened, list(cpus)


def _serve(prefix: list[str]) -> str:
    started = subprocess.Popen([*prefix, prefix[0], "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    return started.stdout.readline().strip()


def test_members_have_names_and_addresses_in_order(net: tuple[PrivateNet, list[object]]) -> None:
    opened, _ = net
    assert opened.names == ("n0", "n1")
    assert [opened.address(member).split(".")[-1] for member in range(len(opened))] == ["1", "2"]
    assert opened.address(0).startswith("10.")


def test_a_forward_leads_to_a_port_of_just_that_member(net: tuple[PrivateNet, list[object]]) -> None:
    opened, _ = net
    for member, name in enumerate(opened.names):
        port = opened.forward(member, 5000)
        assert opened.forward(member, 5000) == port
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                assert sock.recv(100) == name.encode()
        with socket.socket(socket.AF_UNIX) as unix:
            unix.connect(opened.forward_unix(member, 5000))
            assert unix.recv(100) == name.encode()


def test_a_port_without_a_service_hangs_up(net: tuple[PrivateNet, list[object]]) -> None:
    opened, _ = net
    with (
        socket.create_connection(("127.0.0.1", opened.forward(0, 4999)), 10) as sock,
        contextlib.suppress(ConnectionError),
    ):
        assert sock.recv(1) == b""


def test_who_comes_later_reaches_the_others_and_is_reached_and_may_go_again(
    net: tuple[PrivateNet, list[object]],
) -> None:
    opened, cpus = net
    with use("CPU", 0.5) as late:
        member = opened.admit(late)
        assert (member, len(opened), opened.names[-1]) == (2, 3, "n2")
        assert late.submit(_serve, opened.prefix(member)).result(60) == "up"
        with socket.create_connection(("127.0.0.1", opened.forward(member, 5000)), 10) as sock:
            assert sock.recv(100) == b"n2"
        refused = "import socket; socket.create_connection(('{}', 4999), 10)"  # whoever refuses was reached
        for cpu, at, to in ((late, 2, "n0"), (cpus[0], 0, "n2"), (cpus[1], 1, "n2")):
            assert (
                _said(cpu, opened, at, refused.format(to)) == "ConnectionRefusedError: [Errno 111] Connection refused"
            )
        opened.leave(member)
        opened.leave(member)
        assert "gaierror" in _said(cpus[0], opened, 0, refused.format("n2"))
        assert "has ended" in _said(late, opened, member, "")
        gone = refused.format(opened.address(member))  # who has left is answered for: nobody waits for it
        assert "Connection refused" in _said(cpus[0], opened, 0, gone)


def _said(cpu: object, opened: PrivateNet, member: int, code: str) -> str:
    prefix = opened.prefix(member)
    ran = cpu.submit(subprocess.run, [*prefix, prefix[0] or "true", "-c", code], capture_output=True).result(60)  # type: ignore[attr-defined]
    return str(ran.stderr.decode().strip().splitlines()[-1])


def test_nothing_is_no_network_and_a_handle_of_several_leases_no_member() -> None:
    with pytest.raises(BadRequest, match="1 to"):
        PrivateNet.open([])

    class Several:
        """A handle whose need was met by two leases."""

        leases = (1, 2)

        def activate(self) -> Several:
            return self

    with pytest.raises(NoCapacity, match="2") as caught:
        PrivateNet.open([Several()])  # type: ignore[list-item] # what it is asked, and no more
    assert "need" in caught.value.hint


def test_a_network_that_is_closed_has_no_forwards_and_nothing_inside() -> None:
    if why := net_space.why_not():
        pytest.skip(f"private networks: {why}")
    with use("CPU", 0.5) as cpu:
        net = PrivateNet.open([cpu])
        assert cpu.submit(_serve, net.prefix(0)).result(60) == "up"
        port = net.forward(0, 5000)
        net.close()
        net.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 5)
        with pytest.raises(LeaseEnded):
            net.forward(0, 5001)
        ended = cpu.submit(subprocess.run, [*net.prefix(0), "true"], capture_output=True).result(60)
        assert b"has ended" in ended.stderr
