"""The keeper: the process that keeps a node's depot, and the loops that look after what lies in it.

``python -m worldos.files.keeper HOME NODE ACCOUNT``, started by the agent of that home (agent/depots.py). It says ``ready`` on
standard output when the door is open, or ``failed SENTENCE``. Each line on standard input is what the owner lends from now on,
in bytes; its end is the end of the keeper, so none outlives its agent. Each loop has a thread of its own: ``step`` does a bounded
piece of work and says when the next is due, in ns since 1970 like the depot's own moments.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import msgspec

from worldos.config import read_settings
from worldos.depot.block_store import BlockStore
from worldos.depot.desk import Heard, nobody
from worldos.depot.server import DepotServer
from worldos.depot.wire import Append, Care, Who
from worldos.drivers import store as lending
from worldos.drivers.machine import Machine
from worldos.errors import AlreadyRunning, WorldError
from worldos.home import Home

SECOND: Final = 1_000_000_000
USAGE_NS: Final = 2 * SECOND
TIDY_NS: Final = 3600 * SECOND
TIDY_MORE_NS: Final = 5 * SECOND
STEP_WAIT_S_MAX: Final = 60.0  # a clock that jumps back holds nothing up for longer
PREDECESSOR_S: Final = 10.0  # the keeper of an agent that was killed sees its end as soon as we began
STACK_BYTES: Final = 512 * 1024
END_S: Final = 5.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a keeper keeps, and for whom: all that its loops work on."""

    home: Home
    node: str
    account: str
    store: BlockStore


class Loop(Protocol):
    """Work that comes again."""

    def step(self, now_ns: int) -> int:
        """Do a bounded piece of it; return when the next is due, in ns since 1970."""


class Lending:
    """Follows what is lent: tells the depot how large it may be, and the node's driver how much of that is used."""

    def __init__(self, kept: Kept, size_bytes: int) -> None:
        self._kept = kept
        self._folder = str(kept.home.depot_folder)
        self._machine = Machine()
        self._told = -1
        self.size_bytes = size_bytes

    def step(self, now_ns: int) -> int:
        """Compare, and tell what changed."""
        used = self._kept.store.disk_bytes
        _, free = self._machine.space(self._folder)
        self._kept.store.set_capacity(lending.lent_bytes(self.size_bytes, used, free))
        if used != self._told:
            lending.write_usage(self._folder, lending.Usage(used_bytes=used))
            self._told = used
        return now_ns + USAGE_NS


class Tidying:
    """Empties the trash of what is old, and closes up what was dropped."""

    def __init__(self, kept: Kept) -> None:
        self._store = kept.store

    def step(self, now_ns: int) -> int:
        """Compact one pack at most."""
        return now_ns + (TIDY_MORE_NS if self._store.tidy() else TIDY_NS)


class Rounds:
    """Threads that walk the loops until they are stopped."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._walk, args=(loop,), name=type(loop).__name__, daemon=True) for loop in loops
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the steps that are under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(END_S)

    def _walk(self, loop: Loop) -> None:
        while not self._stopped.is_set():
            try:
                due_ns = loop.step(time.time_ns())
            except (WorldError, OSError) as error:
                sys.stderr.write(f"{type(loop).__name__}: {error}\n")
                due_ns = time.time_ns() + round(STEP_WAIT_S_MAX) * SECOND
            except Exception as bug:  # noqa: BLE001 - a mistake of ours in one loop ends neither the others nor the depot
                traceback.print_exception(bug)  # standard error is the agent's, and so its log
                due_ns = time.time_ns() + round(STEP_WAIT_S_MAX) * SECOND
            wait_s = (due_ns - time.time_ns()) / SECOND
            self._stopped.wait(min(max(0.0, wait_s), STEP_WAIT_S_MAX))


def main() -> int:
    """Keep a depot until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m worldos.files.keeper")
    parser.add_argument("home", type=Path)
    parser.add_argument("node")
    parser.add_argument("account")
    options = parser.parse_args()
    threading.stack_size(STACK_BYTES)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, which tells us
    try:
        keep(Home(options.home), options.node, options.account)
    except (WorldError, OSError) as error:
        _say(f"failed {error}")
        return error.exit_code if isinstance(error, WorldError) else 1
    return 0


def keep(home: Home, node: str, account: str) -> None:
    """Open the depot and its door, walk the loops, and close all of it in order."""
    settings = read_settings(home)
    home.depot_folder.mkdir(mode=0o700, exist_ok=True)
    store = _open(home)
    try:
        kept = Kept(home=home, node=node, account=account, store=store)
        lent = Lending(kept, settings.store_bytes)
        lent.step(time.time_ns())
        later = Later()
        server = DepotServer(store, home.depot_socket, later)
        server.start()
        try:
            if _say("ready"):
                _look_after(kept, lent, later)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already
            server.close()
    finally:
        store.close()


class Later:
    """Who hears what the depot takes in: nobody until there is somebody. What came before, the first look at all finds."""

    def __init__(self) -> None:
        self.heard: Heard = nobody

    def __call__(self, who: Who, request: Append | Care) -> None:
        """Pass it on."""
        self.heard(who, request)


def _look_after(kept: Kept, lent: Lending, later: Later) -> None:
    """Walk the loops until the agent is gone. Those that look after files are loaded when the door is open already."""
    from worldos.files.care import open_care  # noqa: PLC0415 - two thirds of all that a keeper loads

    care = open_care(kept.home, kept.account, kept.store, _begin_anew)
    rounds = Rounds([*loops(kept, lent), *(care.loops() if care is not None else ())])
    if care is not None:
        later.heard = care.heard
    rounds.start()
    gc.freeze()
    try:
        _listen(lent)
    finally:
        later.heard = nobody
        rounds.stop()
        if care is not None:
            care.close()


def loops(kept: Kept, lent: Lending) -> list[Loop]:
    """Return what comes again in every keeper."""
    return [lent, Tidying(kept)]


def _open(home: Home) -> BlockStore:
    """Open the depot, once the keeper before this one has let it go."""
    until_s = time.monotonic() + PREDECESSOR_S
    while True:
        try:
            return BlockStore(home.depot_folder, capacity_bytes=0)
        except AlreadyRunning:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def _listen(lent: Lending) -> None:
    """Hear what the owner lends, until the agent is gone."""
    for line in sys.stdin:
        text = line.strip()
        if text.removeprefix("-").isdecimal():
            lent.size_bytes = int(text)
            lent.step(time.time_ns())


def _begin_anew() -> None:
    """End this keeper, from whichever thread: the agent starts the next one, which opens everything under the new root."""
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(0)


def _say(line: str) -> bool:
    """Tell the agent; return whether it is still there."""
    try:
        os.write(sys.stdout.fileno(), line.replace("\n", " ").encode() + b"\n")
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
