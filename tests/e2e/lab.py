"""A lab: several hosts on one machine, each in a network namespace of its own, joined by switches and long lines.

A namespace here has no name: it lives as long as a process holds it, and its holder ends when the pipe from this process
closes. So nothing of a lab is left when a test ends, however it ends, and labs never collide. Root is not needed where
users may make user namespaces: then everything happens inside one, owned by the lab.

    with Lab() as lab:
        lab.site("home", "10.1.0", ["a", "b"])      # one switch; multicast works; a is 10.1.0.1
        agent = lab.run("a", ["wos", "up"], home=tmp_path / "a")
        lab.cut("b")                                # silent: packets vanish, the link stays up
        lab.heal()

Only private addresses inside namespaces made here are touched. ``tc netem`` is not everywhere, so long lines (``wan`` with a
delay) are TAP pairs served by a process (delay.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.cli.warm import Forked
from tests.cli.warming import Warm
from tests.e2e.delay import Line
from tests.patience import patient_s

NEEDED = ("ip", "nft", "nsenter", "unshare", "setpriv")
WOS = (sys.executable, "-P", "-m", "worldos.cli.main")
POLL_S = 0.01


class LabError(AssertionError):
    """A command of the lab failed, or what a test waited for did not come."""


def why_not() -> str:
    """Say what this machine or user lacks for a lab; nothing if it can be had."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"e2e lab: not installed: {', '.join(absent)}"
    tried = subprocess.run(
        [*_unshare(), "nft", "add", "table", "inet", "lab"], capture_output=True, text=True, check=False
    )
    return f"e2e lab: no network namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def _unshare() -> list[str]:
    return ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]


def until(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Wait until ``condition`` is true; fail, saying ``what`` did not happen, after what ``within_s`` is on a busy machine."""
    end = time.monotonic() + patient_s(within_s)
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"not within {patient_s(within_s):.0f} s: {what}")
        time.sleep(POLL_S)


class Holder:
    """A network namespace, alive until ``close`` or until this process ends."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen([*command, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._write(b"here\n")
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"here\n":  # cat answers: the namespaces are made
            raise LabError(f"no namespace: {' '.join(command)}")
        self.inode = os.stat(f"/proc/{self.process.pid}/ns/net").st_ino
        self.prefix = ["nsenter", "-t", str(self.process.pid), "-n"]
        if os.geteuid() != 0:
            self.prefix += ["-U", "--preserve-credentials"]

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def do(self, *lines: str) -> str:
        """Run shell lines in the namespace, stop at the first that fails, and return what they print."""
        done = subprocess.run(
            [*self.prefix, "sh", "-e"], input="\n".join(lines), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{lines}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(patient_s(5))


@dataclass
class Host:
    """One machine of the lab. ``addresses`` and ``macs`` by device."""

    name: str
    holder: Holder
    addresses: dict[str, str] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)  # the other ends of its cables, at the switches
    lines: list[Line] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)  # commands that set them, to be repeated when a link comes back
    deaf: bool = False
    unplugged: bool = False
    no_ears_for: list[Host] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The first address it was given."""
        return next(iter(self.addresses.values()))


class Run:
    """A program on a host; what it writes lies in two files."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, out: Path, err: Path) -> None:
        self.process, self.out, self.err = process, out, err

    @property
    def pid(self) -> int:
        """The process itself, not a wrapper: signals go where they should."""
        return self.process.pid

    def text(self) -> str:
        """Return what it wrote to stdout so far."""
        return self.out.read_text(errors="replace")

    def said(self) -> str:
        """Return all it wrote, for a failure's message."""
        return f"{self.text()}\n--- stderr\n{self.err.read_text(errors='replace')}"

    def expect(self, pattern: str, within_s: float = 10.0) -> re.Match[str]:
        """Wait until stdout has ``pattern``; fail when it does not come, or when the program ends without it."""
        end = time.monotonic() + patient_s(within_s)
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.text(), re.MULTILINE)
            if found:
                return found
            if ended or time.monotonic() > end:
                raise LabError(
                    f"no {pattern!r} within {patient_s(within_s):.0f} s, exit {self.process.poll()}:\n{self.said()}"
                )
            time.sleep(POLL_S)

    def wait(self, within_s: float = 30.0) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self.process.wait(patient_s(within_s))
        except subprocess.TimeoutExpired:
            raise LabError(f"still running after {patient_s(within_s):.0f} s:\n{self.said()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process only."""
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to this process and to its children that share its process group."""
        os.killpg(self.process.pid, number)


class Lab:
    """Hosts, switches and lines; everything ends with the ``with`` block."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.lines: list[Line] = []
        self._runs: list[Run] = []
        self._holders: list[Holder] = []
        self._bridges = 0
        self._devices = 0
        self._nets = 0

    def __enter__(self) -> Lab:
        reason = why_not()
        if reason:
            pytest.skip(reason)
        self.folder = Path(tempfile.mkdtemp(prefix="wos-lab-"))
        self.floor = self._hold(_unshare())  # where the switches are; no address, so nothing is routed
        self.floor.do("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        return self

    def __exit__(self, *_: object) -> None:
        with _no_interrupt():
            inodes = {holder.inode for holder in self._holders}
            holders = {holder.process.pid for holder in self._holders}
            for line in self.lines:
                line.close()
            for run in self._runs:
                run.process.kill()
            while left := _inside(inodes) - holders:  # again, for what was forked meanwhile
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(POLL_S)
            for run in self._runs:
                run.process.wait(patient_s(5))
            for holder in reversed(self._holders):
                holder.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _hold(self, command: list[str]) -> Holder:
        holder = Holder(command)
        self._holders.append(holder)
        return holder

    # -- building -------------------------------------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """Return the host of that name; make it if it is new."""
        if name not in self.hosts:
            enter = self.floor.prefix if os.geteuid() != 0 else []
            holder = self._hold([*enter, "unshare", "-n"])
            holder.do(
                "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad",  # link-local addresses are usable at once
                "echo 0 > /proc/sys/net/ipv6/conf/default/dad_transmits",
                "ip link set lo up",
            )
            self.hosts[name] = Host(name=name, holder=holder)
        return self.hosts[name]

    def site(self, name: str, subnet: str, hosts: Sequence[str]) -> None:
        """Join hosts by a switch; ``subnet`` is three numbers, and the first host gets ``subnet.1``."""
        self._bridges += 1
        bridge = f"br{self._bridges}"
        self.floor.do(f"ip link add {bridge} type bridge mcast_snooping 0", f"ip link set {bridge} up")
        for number, each in enumerate(hosts, 1):
            host = self.host(each)
            port, device = self._new_device(), name[:10]
            self.floor.do(
                f"ip link add {port} type veth peer name {device} netns {host.holder.process.pid}",
                f"ip link set {port} master {bridge} up",
            )
            host.ports.append(port)
            self._address(host, device, f"{subnet}.{number}/24")

    def wan(self, a: str, b: str, *, delay_ms: float = 0, jitter_ms: float = 0, loss_percent: float = 0) -> Line:
        """Join two hosts by a line with an address at each end; what it does to packets can be changed live."""
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            pytest.skip("e2e lab: this user may not open /dev/net/tun")
        one, other = self.host(a), self.host(b)
        devices = (self._new_device(), self._new_device())
        line = Line([*self.floor.prefix, sys.executable, "-P"], devices)
        self.lines.append(line)
        line.set(delay_ms=delay_ms, jitter_ms=jitter_ms, loss_percent=loss_percent)
        self._nets += 1
        for host, device, number in ((one, devices[0], 1), (other, devices[1], 2)):
            self.floor.do(f"ip link set {device} netns {host.holder.process.pid}")
            self._address(host, device, f"10.255.{self._nets}.{number}/30")
            host.lines.append(line)
        return line

    def gateway(self, host: str, *, site: str, to: str, via: str) -> None:
        """Let ``host`` pass on packets of its ``site`` to the subnet ``to`` (as 10.2.0.0/24) by its neighbour ``via``."""
        router = self.host(host)
        device = site[:10]
        router.holder.do("echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._route(router, f"{to} via {via}")
        for other in self.hosts.values():
            if other is not router and device in other.addresses:
                self._route(other, f"{to} via {router.addresses[device]}")

    def _route(self, host: Host, route: str) -> None:
        host.routes.append(f"ip route replace {route}")
        host.holder.do(host.routes[-1])

    def _new_device(self) -> str:
        self._devices += 1
        return f"p{self._devices}"

    def _address(self, host: Host, device: str, address: str) -> None:
        mac = host.holder.do(
            f"ip addr add {address} dev {device}",
            f"ip link set {device} up",
            f"ip -br link show {device}",
        )
        host.addresses[device] = address.partition("/")[0]
        if len(host.addresses) == 1:
            self._route(host, f"224.0.0.0/4 dev {device}")  # who belongs to several: its first
        host.macs[device] = re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", mac)[-1]

    # -- breaking -------------------------------------------------------------------------------------------------------

    def cut(self, host: str) -> None:
        """Let every packet to and from a host vanish; its links stay up, and nobody is told.

        Dropped is always what comes in, here and at the switch: a sender whose own packet is dropped gets an error.
        """
        each = self.host(host)
        each.deaf = True
        for line in each.lines:
            line.set(cut=True)
        self._filter(each)

    def cut_between(self, a: str, b: str) -> None:
        """Let what these two send each other vanish; both still reach the others."""
        for host, other in ((self.host(a), self.host(b)), (self.host(b), self.host(a))):
            host.no_ears_for.append(other)
            self._filter(host)

    def link_down(self, host: str) -> None:
        """Pull every cable of a host: it is told at once."""
        each = self.host(host)
        each.unplugged = True
        each.holder.do(*[f"ip link set {device} down" for device in each.addresses])

    def heal(self) -> None:
        """Mend everything that was cut or pulled."""
        for host in self.hosts.values():
            if host.deaf or host.no_ears_for:
                if host.deaf:
                    for line in host.lines:
                        line.set(cut=False)
                host.deaf, host.no_ears_for = False, []
                self._filter(host)
            if host.unplugged:
                host.unplugged = False
                host.holder.do(*[f"ip link set {device} up" for device in host.addresses], *host.routes)

    def _filter(self, host: Host) -> None:
        """Put the rules of a host, and of its ports at the switches, in place of those it had."""
        deafness: list[str] = []
        silence: list[str] = []
        grudges: list[str] = []
        if host.deaf:
            deafness = _drop_all("deaf", [*host.addresses])
            silence = _drop_all(f"mute_{host.name}", host.ports)
        if host.no_ears_for:
            macs = ", ".join(mac for other in host.no_ears_for for mac in other.macs.values())
            addresses = ", ".join(address for other in host.no_ears_for for address in other.addresses.values())
            drops = [f"ether saddr {{ {macs} }} drop", f"ip saddr {{ {addresses} }} drop"]
            grudges = _table("inet grudge", [("in", "hook input priority -300; policy accept", drops)])
        here = [*_anew("netdev deaf"), *deafness, *_anew("inet grudge"), *grudges]
        host.holder.do("nft -f - <<'END'", *here, "END")
        self.floor.do("nft -f - <<'END'", *_anew(f"netdev mute_{host.name}"), *silence, "END")

    # -- running --------------------------------------------------------------------------------------------------------

    def run(
        self,
        host: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        home: Path | None = None,
        cwd: Path | None = None,
        stdin: int | None = None,
    ) -> Run:
        """Start a program on a host, in a session of its own; ``home`` becomes its WORLDOS_HOME.

        It is killed when the lab ends, and when who started it does.
        """
        number = len(self._runs)
        out, err = self.folder / f"{host}-{number}.out", self.folder / f"{host}-{number}.err"
        whole_env = {**os.environ, **({"WORLDOS_HOME": str(home)} if home else {}), **(env or {})}
        with out.open("wb") as out_file, err.open("wb") as err_file:
            begin = self._fork if stdin != subprocess.PIPE and self._is_warm(argv, whole_env) else self._start
            process = begin(host, [*map(str, argv)], whole_env, cwd, stdin, (out_file.fileno(), err_file.fileno()))
        run = Run(process, out, err)
        self._runs.append(run)
        return run

    def _start(
        self,
        host: str,
        argv: list[str],
        env: dict[str, str],
        cwd: Path | None,
        stdin: int | None,
        outs: tuple[int, int],
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.host(host).holder.prefix, "setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=outs[0],
            stderr=outs[1],
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def _fork(
        self,
        host: str,
        argv: list[str],
        env: dict[str, str],
        cwd: Path | None,
        stdin: int | None,
        outs: tuple[int, int],
    ) -> Forked:
        """Start the same with no start of Python."""
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno() if stdin is None else stdin, *outs]
            where = {"net": self.host(host).holder.process.pid, "session": True, "tied": True}
            return Warm.of_this_process().begin(argv[len(WOS) :], env, cwd, streams, **where)

    def _is_warm(self, argv: Sequence[str | Path], env: dict[str, str]) -> bool:
        return os.geteuid() == 0 and tuple(argv[: len(WOS)]) == WOS and Warm.of_this_process().fits(env)


def inside(lab: Lab) -> set[int]:
    """Return every process that runs in the lab now, but for those that hold it and its lines."""
    holding = {holder.process.pid for holder in lab._holders} | {line.process.pid for line in lab.lines}
    return _inside({holder.inode for holder in lab._holders}) - holding


def _anew(table: str) -> list[str]:
    """Return the lines that end a table, there or not; with what follows they are one transaction."""
    return [f"table {table}", f"delete table {table}"]


def _drop_all(table: str, devices: list[str]) -> list[str]:
    return _table(
        f"netdev {table}",
        [(device, f"hook ingress device {device} priority 0; policy drop", []) for device in devices],
    )


def _table(table: str, chains: list[tuple[str, str, list[str]]]) -> list[str]:
    """Return a table in nft's words; it wants an end of line after each brace."""
    lines = [f"table {table} {{"]
    for name, hook, rules in chains:
        lines += [f"chain {name} {{", f"type filter {hook}", *rules, "}"]
    return [*lines, "}"]


def _inside(inodes: set[int]) -> set[int]:
    """Return every process in these network namespaces; they were all started by the lab."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/net").stat().st_ino in inodes:
                    found.add(int(entry.name))
    return found


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Keep a second Ctrl-C from stopping the clean-up half way."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread: no signal comes here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
