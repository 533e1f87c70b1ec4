"""The demo's stage: three nodes on this machine, each with a home of its own, joined by tickets as a user would.

Where this user may make network namespaces (root with iproute2), each node lives in one of its own, on one bridge; else they
share the loopback. Everything that was made is taken away at the end, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import psutil

from worldos.agent import home as homes
from worldos.config import Home
from worldos.errors import WorldError
from worldos.lanes import leftovers

NAMES = ("desk", "attic", "laptop")
NETWORK = "10.77.{octet}"
COMMAND_TIMEOUT_S = 60
JOIN_TIMEOUT_S = 60
END_S = 20.0


class StageFailed(WorldError):
    """The demo's three nodes could not be set up."""


class Actor:
    """One node of the demo."""

    def __init__(self, name: str, home: Home, prefix: list[str], address: str) -> None:
        self.name = name
        self.home = home
        self.node = ""
        self._prefix = prefix
        self._address = address
        self._asleep: list[psutil.Process] = []

    def wos(self, *arguments: str) -> str:
        """Run a ``wos`` command on this node; return what it printed."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environ(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise StageFailed(f"wos {arguments[0]} on {self.name} failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a ``wos`` command on this node; its standard output is a pipe."""
        return subprocess.Popen(
            self._command(arguments),
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def up(self) -> None:
        """Start the node's agent."""
        status = json.loads(self.wos("up", "--name", self.name, "--listen", self._address, "--json"))["status"]
        self.node = status["node"]

    def join(self, ticket: str) -> None:
        """Join by a ticket."""
        self.wos("join", ticket, "--yes", "--name", self.name, "--listen", self._address, "--json")
        self.node = json.loads(self.wos("status", "--json"))["node"]

    def kill(self) -> None:
        """Kill the agent with SIGKILL, as a power cut would."""
        pid = homes.running_pid(self.home)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def sleep(self) -> None:
        """Stop the whole node with SIGSTOP, as a laptop that is closed."""
        pid = homes.running_pid(self.home)
        if pid is None:
            return
        agent = psutil.Process(pid)
        self._asleep = [agent, *agent.children(recursive=True)]
        for process in self._asleep:
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def wake(self) -> None:
        """Let a stopped node go on."""
        for process in self._asleep:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self._asleep = []

    def end(self) -> None:
        """Take the node away."""
        self.ask_to_end()
        end_all([self.home.path], END_S)

    def ask_to_end(self) -> None:
        """Let its agent stop in good order."""
        self.wake()
        pid = homes.running_pid(self.home)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [*self._prefix, sys.executable, "-m", "worldos.cli.main", *arguments]

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "WORLDOS_HOME": str(self.home.path), "COLUMNS": "200"}


class Stage:
    """Some nodes that exist while the ``with`` block runs. ``alone``: in network namespaces where this user may make them."""

    def __init__(self, names: tuple[str, ...] = NAMES, *, alone: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wos-demo-"))
        self.names = names
        self.namespaces = alone and _may_make_namespaces()
        self._tag = f"wos{os.getpid() % 100000}"
        self._made: list[list[str]] = []
        self.actors: list[Actor] = []
        self.end_s = END_S

    def __enter__(self) -> Self:
        """Set everything up."""
        try:
            if self.namespaces:
                self._lay_network()
            for number, name in enumerate(self.names):
                address = f"{self._network()}.{number + 1}:7370" if self.namespaces else "127.0.0.1:0"
                prefix = ["ip", "netns", "exec", f"{self._tag}{number}"] if self.namespaces else []
                self.actors.append(Actor(name, Home(self.folder / name), prefix, address))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away."""
        self.close()

    def join_all(self) -> None:
        """Start the first node, and let the others join it by tickets."""
        first, *others = self.actors
        first.up()
        for actor in others:
            inviting = first.start("invite", "--yes", "--plain")
            assert inviting.stdout is not None
            ticket = inviting.stdout.readline().strip()
            if not ticket:
                raise StageFailed("no ticket came", hint="try it by hand: wos up --reachable; wos invite")
            actor.join(ticket)
            inviting.wait(JOIN_TIMEOUT_S)

    def close(self) -> None:
        """Take everything away."""
        for actor in self.actors:
            with contextlib.suppress(OSError, psutil.Error):
                actor.ask_to_end()
        end_all([actor.home.path for actor in self.actors], self.end_s)
        leftovers.clear()  # a node that was killed could not remove its run folders
        for command in reversed(self._made):
            subprocess.run(command, capture_output=True, check=False)
        self._made = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lay_network(self) -> None:
        switch = f"{self._tag}sw"
        self._ip("netns", "add", switch, undo=["netns", "del", switch])
        self._ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self._ip("-n", switch, "link", "set", "br0", "up")
        for number in range(len(self.names)):
            host = f"{self._tag}{number}"
            self._ip("netns", "add", host, undo=["netns", "del", host])
            self._ip(
                "link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", f"p{number}", "netns", switch
            )
            self._ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            self._ip("-n", host, "link", "set", "lo", "up")
            self._ip("-n", host, "addr", "add", f"{self._network()}.{number + 1}/24", "dev", "eth0")
            self._ip("-n", host, "link", "set", "eth0", "up")

    def _network(self) -> str:
        return NETWORK.format(octet=os.getpid() % 250)

    def _ip(self, *arguments: str, undo: list[str] | None = None) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
        if undo is not None:
            self._made.append(["ip", *undo])


def end_all(homes_of: list[Path], within_s: float) -> None:
    """Wait until no process of these homes is left, then kill what is: none may write while its home is removed."""
    psutil.wait_procs(_processes_of(homes_of), within_s)
    while left := _processes_of(homes_of):  # again, for what was started meanwhile
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, within_s)


def _processes_of(homes_of: list[Path]) -> list[psutil.Process]:
    """Return the processes that were started with one of these homes; a killed agent's are nobody's children any more."""
    wanted = {str(path) for path in homes_of}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("WORLDOS_HOME") in wanted and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _may_make_namespaces() -> bool:
    """Try it: root may lack the right in a container."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"wosprobe{os.getpid() % 100000}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made
