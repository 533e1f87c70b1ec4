"""Machines of one account that keep files for each other: real agents and keepers, each on a home of its own, on the loopback.

Everything that may happen to a machine is one call: its power goes, its disk is wiped, its bytes rot, it sleeps.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blake3
import psutil
from tests.agent.agents import RunningAgent, same_account
from tests.patience import patient_s

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.errors import WorldError
from worldos.files.files import Files
from worldos.home import Home
from worldos.store.pack import HEADER_BYTES

MIB = 1 << 20
WAIT_S = 60.0
PUTTER = """
import sys
from pathlib import Path
from worldos.files.files import Files
from worldos.home import Home
with Files.open(Home(Path(sys.argv[1]))) as files:
    print("open", flush=True)
    files.put(Path(sys.argv[2]), sys.argv[3])
    print("acknowledged", flush=True)
"""


def until(condition: Callable[[], Any], what: str, within_s: float = WAIT_S) -> Any:
    """Wait until something is true, whatever is refused meanwhile; return it."""
    deadline = time.monotonic() + patient_s(within_s)
    last: object = None
    while True:
        try:
            if found := condition():
                return found
            last = found
        except WorldError as error:
            last = error
        assert time.monotonic() < deadline, f"not within {patient_s(within_s):.0f} s: {what} ({last!r})"
        time.sleep(0.1)


class Machine:
    """One machine: its home, and its agent while it runs."""

    def __init__(self, home: Home, number: int) -> None:
        self.home = home
        self.number = number
        self.agent: RunningAgent | None = None

    def start(self) -> None:
        """Switch it on."""
        self.agent = RunningAgent(self.home)
        assert self.agent.ready, self.agent.line

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Switch it off, or take its power (SIGKILL): its keeper goes with it."""
        if self.agent is None:
            return
        keeper = self.keeper()
        if number == signal.SIGKILL and keeper is not None:
            keeper.kill()
        self.agent.end(number)
        self.agent = None
        if keeper is not None:
            psutil.wait_procs([keeper], timeout=patient_s(15))

    def keeper(self) -> psutil.Process | None:
        """Return the process that keeps its depot."""
        assert self.agent is not None
        for child in psutil.Process(self.agent.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "worldos.files.keeper" in child.cmdline():
                    return child
        return None

    def processes(self) -> list[psutil.Process]:
        """Return its agent and all that this started."""
        assert self.agent is not None
        agent = psutil.Process(self.agent.process.pid)
        return [agent, *agent.children(recursive=True)]

    def sleep(self) -> None:
        """Close its lid: everything on it stands still."""
        for process in self.processes():
            process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Open its lid."""
        for process in reversed(self.processes()):
            process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose its disk, and come back with an empty one."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.home.depot_folder, ignore_errors=True)
        self.start()

    def rot(self, seed: int) -> int:
        """Spoil one percent of the bytes of its packs, a hundred in a row; return how many."""
        dice = random.Random(seed)
        flipped = 0
        for pack in sorted((self.home.depot_folder / "packs").glob("*.wpk")):
            with pack.open("r+b") as file:
                size = pack.stat().st_size
                for _ in range(size // 10_000 + 1):
                    at = dice.randrange(HEADER_BYTES, max(HEADER_BYTES + 1, size - 100))
                    file.seek(at)
                    data = file.read(100)
                    file.seek(at)
                    file.write(bytes(byte ^ 0x11 for byte in data))
                    flipped += len(data)
        return flipped

    def files(self) -> Files:
        """Open the account's files on this machine."""
        return Files.open(self.home)


class Site:
    """All machines."""

    def __init__(self, folder: Path, count: int, lent_bytes: dict[int, int]) -> None:
        self.folder = folder
        self.machines = [Machine(Home(folder / f"m{number}"), number) for number in range(count)]
        for machine in self.machines:
            machine.home.path.mkdir(mode=0o700)
        first, *others = [machine.home for machine in self.machines]
        words = make_account(first, "m0")
        for home in others:
            same_account(first, home, words)
        for home in others:
            homes.write_keylog(home, homes.read_keylog(first))
        for number, size in lent_bytes.items():
            self.machines[number].home.config_file.write_text(f"store_bytes = {size}\n")
        self.machines[0].start()
        agent = self.machines[0].agent
        assert agent is not None
        status = agent.ask("status")
        for machine in self.machines[1:]:
            known = homes.Remembered(peers={status["node"]: tuple(status["listens"])})
            homes.write_remembered(machine.home, known)
            machine.start()
        self.wait_for_links()

    def running(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.agent is not None]

    def wait_for_links(self) -> None:
        """Wait until each running machine sees all others."""
        running = self.running()
        for machine in running:
            agent = machine.agent
            assert agent is not None
            until(lambda agent=agent: agent.ask("status")["nodes_linked"] >= len(running) - 1, "all are linked")

    def close(self) -> None:
        for machine in self.machines:
            if machine.agent is not None:
                with contextlib.suppress(psutil.Error):
                    machine.wake()
                machine.stop()


@contextlib.contextmanager
def site(count: int, lent_bytes: dict[int, int] | None = None) -> Iterator[Site]:
    """So many machines for the length of a block; some may lend no more than so many bytes."""
    with tempfile.TemporaryDirectory(prefix="wos-s-") as folder:
        made = Site(Path(folder), count, lent_bytes or {})
        try:
            yield made
        finally:
            made.close()


class FileSet:
    """Files whose bytes are known, and which of them were acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._dice = random.Random(seed)
        self.digests: dict[str, bytes] = {}

    def make(self, name: str, size: int) -> Path:
        """Write a file of so many random bytes here; it is not in the set before ``acknowledged``."""
        path = self.folder / name.replace("/", "_")
        path.write_bytes(self._dice.randbytes(size))
        return path

    def put(self, files: Files, name: str, size: int) -> None:
        """Put a new file and remember it."""
        path = self.make(name, size)
        files.put(path, name)
        self.acknowledged(name, path)

    def acknowledged(self, name: str, path: Path) -> None:
        self.digests[name] = blake3.blake3(path.read_bytes()).digest()

    def wrong(self, files: Files) -> list[str]:
        """Read all; return the names whose bytes are not what was acknowledged, or that are not there."""
        said = []
        for name, digest in self.digests.items():
            try:
                if blake3.blake3(files.read(name)).digest() != digest:
                    said.append(f"{name}: wrong bytes")
            except WorldError as error:
                said.append(f"{name}: {error!r}")
        return said


def whole(files: Files) -> bool:
    """Whether every file is as safe as its code makes it."""
    files.refresh()
    standing = files.status()
    return bool(standing) and all(not each.debt and each.survives >= min(3, each.n - each.k) for each in standing)


def unsafe(files: Files) -> str:
    """Say what is not whole."""
    return ", ".join(
        f"{each.name} {each.code} debt {each.debt} survives {each.survives}" for each in files.status() if each.debt
    )


def start_put(home: Home, source: Path, name: str) -> subprocess.Popen[str]:
    """Put a file from a program of its own; wait until it is at work."""
    program = subprocess.Popen(
        [sys.executable, "-c", PUTTER, str(home.path), str(source), name], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "open\n"
    return program


def kill(process: subprocess.Popen[str]) -> bool:
    """End a program by SIGKILL; return whether it had said that its put was acknowledged."""
    os.kill(process.pid, signal.SIGKILL)
    said = process.stdout.read() if process.stdout else ""
    process.wait()
    if process.stdout:
        process.stdout.close()
    return "acknowledged" in said
