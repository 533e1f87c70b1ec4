"""A private network of leases: what runs beside a lease's work so that it has addresses of its own, and nobody else reaches them.

The program that holds the leases calls ``begin`` in each lane. That starts a helper there, inside the lease's cage, which makes
namespaces with one TUN device and carries packets to the helpers of the other leases: directly between their nodes, by channels
that their agents open for whoever knows the net's secret (agent/nets.py). Loopback works inside; there is no other way out.

    helper ---- carrier: TUN <-> streams to the mates (net_carrier.py)
       |------- first: pid 1 of what runs inside; when it ends all of that ends
       `------- (itself) forwards from the program that holds the lease to ports inside

Commands come in by ``python -m worldos.lanes.private_net join TOKEN -- COMMAND...`` in the same lane: several of one lease meet
in one namespace. All of it ends with the helper, which ends with the worker that began it, and that with the lease.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worldos.lanes import net_space

if TYPE_CHECKING:  # who joins has to be quick: it loads what it needs alone
    from worldos.lanes.net_wire import Admit, Begin

PROGRAM: Final = "worldos.lanes.private_net"
READY: Final = "ready"
ISOLATION_NAME: Final = "WORLDOS_ISOLATION"  # as in worker.py, which who joins must not load
PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
BEGIN_BYTES_MAX: Final = 256 * 1024
LINKED_S: Final = 20.0  # until every helper has found every other
NEWS_BYTES_MAX: Final = 400
_helpers: Final[list[subprocess.Popen[bytes]]] = []  # that this worker began: they end with it


# -- in the worker --------------------------------------------------------------------------------------------------------


def begin(body: bytes) -> tuple[str, str]:
    """Start this lease's helper; return what ``join`` is to be told, and the interpreter of this node.

    ``body`` is a net_wire.Begin. Raises NotAllowed where this host cannot have private networks.
    """
    from worldos.errors import NotAllowed  # noqa: PLC0415 - see above
    from worldos.model.isolation import Isolation  # noqa: PLC0415

    hint = 'lease where it can be had: where="private_net == true"'
    if os.environ.get(ISOLATION_NAME, Isolation.PROCESS) != Isolation.PROCESS:
        raise NotAllowed("a lease in a sandbox has no private network", hint="private networks are of one's own nodes")
    if why := net_space.why_not():
        raise NotAllowed(f"no private network on this node: {why}", hint=hint)
    helper = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", PROGRAM, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert helper.stdin is not None
    assert helper.stdout is not None
    helper.stdin.write(len(body).to_bytes(4, "little") + body)
    helper.stdin.flush()  # and it stays open: its end is the helper's
    said = helper.stdout.readline().decode("utf-8", "replace").split(" ", 1)
    if said[0] != READY:
        helper.stdin.close()
        helper.wait()
        why = said[1].strip() if len(said) > 1 else "its helper ended at once"
        raise NotAllowed(f"no private network on this node: {why}", hint=hint)
    _helpers.append(helper)
    return said[1].strip(), sys.executable


def end(token: str) -> None:
    """End this lease's part of a network, and all that runs in it; from any worker of the lease. Ended before: nothing."""
    number, _, began = token.partition(":")
    with suppress(OSError):
        first = int(number)
        pidfd = os.pidfd_open(first)
        if net_space.started_at(first) == began:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # its helper sees that, and ends
        os.close(pidfd)
    for helper in [each for each in _helpers if each.poll() is not None]:
        _helpers.remove(helper)


# -- the helper -----------------------------------------------------------------------------------------------------------


def serve() -> None:
    """Be the helper: read what net it is, say that it stands, and serve until standard input ends."""
    from worldos.errors import WorldError  # noqa: PLC0415 - see above
    from worldos.lanes import net_wire  # noqa: PLC0415

    net_space.end_with_parent()
    try:
        size = int.from_bytes(_read(4), "little")
        told = net_wire.decode_begin(_read(min(size, BEGIN_BYTES_MAX)))
        first, carrier, news, hosts = _make(told)
        _until_linked(told, news)
    except (OSError, WorldError) as error:
        _say(1, f"failed {error}")
        return
    _say(1, f"{READY} {first}:{net_space.started_at(first)}")
    _quiet()
    import asyncio  # noqa: PLC0415 - who only joins does without

    from msgspec.structs import replace  # noqa: PLC0415

    from worldos.lanes.net_forward import Forwards  # noqa: PLC0415

    door, key = _door()

    def admit(wish: Admit) -> None:
        members = wish.members
        if len(members) >= len(told.members):
            hosts.write_text(hosts_of(replace(told, members=members)))  # the file stays the one that covers /etc/hosts
            with suppress(OSError):  # the carrier is gone, and this helper ends
                news.send(net_wire.encode(wish))

    forwards = Forwards(door, key, told.members[told.me].lease, told.address(told.me), admit)
    try:
        asyncio.run(forwards.serve(0, os.pidfd_open(carrier), os.pidfd_open(first)))
    finally:
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        os._exit(0)  # the carrier ends with us


def _make(told: Begin) -> tuple[int, int, socket.socket, Path]:
    """Make the namespaces and what lives in them.

    Return the pids of the first process inside and of the carrier, the socket of its news (it ends when that is closed, and hears
    by it who the members are), and the file of host names.
    """
    net_space.make(f"n{told.me}")
    hosts = tempfile.NamedTemporaryFile("w", prefix="hosts-", delete=False)  # noqa: SIM115 - it stays with the lease
    with hosts:
        hosts.write(hosts_of(told))
    Path(hosts.name).chmod(0o644)
    net_space.cover("/etc/hosts", hosts.name)
    first = net_space.own_pids()
    tun = net_space.open_tun()
    net_space.set_address(told.address(told.me))
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    carrier = os.fork()
    if carrier == 0:
        ours.close()
        _carry(told, tun, its)
    its.close()
    os.close(tun)
    return first, carrier, ours, Path(hosts.name)


def _until_linked(told: Begin, news: socket.socket) -> None:
    """Wait until there is a way to each of the others. Raises Unreachable, saying to whom there is none and why."""
    from worldos.errors import Unreachable  # noqa: PLC0415 - see above

    missing = {
        member: "it does not answer" for member, mate in enumerate(told.members) if member != told.me and not mate.left
    }
    end_s = time.monotonic() + LINKED_S
    while missing:
        news.settimeout(max(0.001, end_s - time.monotonic()))
        try:
            heard = news.recv(NEWS_BYTES_MAX)
        except TimeoutError:
            member, why = min(missing.items())
            mate = told.members[member]
            raise Unreachable(f"there is no way to n{member} ({mate.name or mate.node[:8]}): {why}") from None
        if not heard:
            raise Unreachable("what carries its packets has ended")
        if heard[1:]:
            missing[heard[0]] = heard[1:].decode("utf-8", "replace")
        else:
            missing.pop(heard[0], None)
    news.settimeout(None)


def _carry(told: Begin, tun: int, parent: socket.socket) -> None:
    from worldos.lanes.net_carrier import Carrier  # noqa: PLC0415 - see above

    code = 1
    try:
        net_space.end_with_parent()
        _quiet()
        door, key = _door()
        parent.setblocking(False)  # noqa: FBT003

        def tell(member: int, why: str) -> None:
            with suppress(OSError):  # nobody listens any more
                parent.send(bytes((member,)) + why.encode()[: NEWS_BYTES_MAX - 1])

        Carrier(told, door, key, tun, tell).run(parent)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def hosts_of(told: Begin) -> str:
    """Return what /etc/hosts says inside: each member by its number, and by its node's name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for member, mate in enumerate(told.members):
        if mate.left:
            continue
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in mate.name if c.isascii())
        lines.append(f"{told.address(member)} n{member} {name}".rstrip())
    return "\n".join(lines) + "\n"


def _door() -> tuple[str, bytes]:
    from worldos.errors import NotAllowed  # noqa: PLC0415 - see above
    from worldos.lanes import net_wire  # noqa: PLC0415

    try:
        return os.environ[net_wire.DOOR_NAME], bytes.fromhex(os.environ[net_wire.KEY_NAME])
    except (KeyError, ValueError):
        raise NotAllowed("this lane has no way to its agent's door of networks") from None


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            raise OSError("nobody says which network")
        data += piece
    return data


def _say(stream: int, text: str) -> None:
    os.write(stream, f"{text}\n".encode())


def _quiet() -> None:
    """Hold the worker's pipe open no longer: it has read what it wanted."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


# -- a command inside -----------------------------------------------------------------------------------------------------


def join(token: str, command: list[str]) -> int:
    """Run a command in the network that ``token`` names: its input, output, signals and exit code are this process's own."""
    number, _, began = token.partition(":")
    try:
        first = int(number)
        pidfd = os.pidfd_open(first)
        if net_space.started_at(first) != began:
            raise ProcessLookupError
        users = os.stat(f"/proc/{first}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
        net_space.join(pidfd, users=users)
    except (OSError, ValueError) as error:
        _say(2, f"wos: the private network of this lease has ended ({error})")
        return 126
    os.close(pidfd)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _execute(command, parent)
    for each in PASSED_ON:
        signal.signal(each, lambda number, _frame: _pass_on(child, number))
    while True:
        with suppress(InterruptedError):
            _pid, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _execute(command: list[str], parent: int) -> None:
    net_space.end_with_parent()
    del parent  # in another pid namespace it has no number: if it is gone, so is the lane that both are of
    try:
        os.execvp(command[0], command)  # noqa: S606 - the holder runs what it likes: that is the lease
    except OSError as error:
        _say(2, f"wos: {command[0]}: {error.strerror}")
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _pass_on(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def main(arguments: list[str]) -> int:
    """Be the helper (``serve``), or run a command inside (``join TOKEN -- COMMAND...``)."""
    if arguments == ["serve"]:
        serve()
        return 0
    if len(arguments) > 3 and arguments[0] == "join" and arguments[2] == "--":
        return join(arguments[1], arguments[3:])
    _say(2, "this is a part of a lease's private network, and nothing by itself")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
