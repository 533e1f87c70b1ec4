"""All loops of a keeper that need the others: put together, over one view of who is there.

They work only while the agent of this home runs, for it says which stores there are and lays the ways to them; a keeper
without an agent (a test, the moment before its end) just serves its depot. Each loop is a file of its own; here they meet.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from worldos.agent.home import open_key
from worldos.depot.block_store import BlockStore
from worldos.depot.records import Cared
from worldos.depot.wire import Append, Care, Who
from worldos.depot.wire import Cared as CaredThere
from worldos.errors import DiskFull, Unreachable, WorldError
from worldos.files.attending import Attending
from worldos.files.auditing import Auditing, Scrubbing
from worldos.files.caring import Caring
from worldos.files.following import FollowingLoop
from worldos.files.forgetting import ForgettingLoop
from worldos.files.placing import Placing
from worldos.files.receiving import SharingLoop
from worldos.files.roots import KeyringLoop
from worldos.files.session import Agent
from worldos.files.stores import Store, StoreAt, Stores
from worldos.files.syncing import Syncing
from worldos.files.watching import Watch
from worldos.home import Home

SECOND: Final = 1_000_000_000
ASK_EVERY_S: Final = 3.0  # the agent is asked which stores there are no more often than this
LEASES_IDLE_S: Final = 2.0  # room that no repair needed for so long is given back
NO_AGENT_NS: Final = 2 * SECOND
LEAVING_NS: Final = 30 * SECOND  # between two looks who left the account


class Loop(Protocol):
    """Work that comes again, as the keeper has it."""

    def step(self, now_ns: int) -> int:
        """Do a bounded piece of it; return when the next is due."""


class Neighbours:
    """The agent as a keeper asks it: seldom, and without noise while there is none."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._agent: Agent | None = None
        self._rows: list[StoreAt] = []
        self._asked_s = -ASK_EVERY_S
        self._lock = threading.Lock()
        self.answers = False

    def agent(self) -> Agent:
        """Return the conversation with the agent; Unreachable where none runs."""
        if self._agent is None:
            self._agent = Agent(self._home)
        return self._agent

    def rows(self) -> list[StoreAt]:
        """Return the stores that the agent knows; none while there is no agent."""
        with self._lock:
            if time.monotonic() < self._asked_s + ASK_EVERY_S:
                return self._rows
            self._asked_s = time.monotonic()
            try:
                self._rows = self.agent().stores()
                self.answers = True
            except (Unreachable, OSError):
                self._rows, self.answers = [], False
            return self._rows

    def left(self) -> list[str]:
        """Return the nodes that were devices of the account and are not any more."""
        try:
            return [row["node"] for row in self.agent().ask("devices") if row["status"] != "active"]
        except (WorldError, OSError):
            return []

    def close(self) -> None:
        """Hang up."""
        if self._agent is not None:
            self._agent.close()


class _WithAgent:
    """A loop that waits while there is no agent."""

    def __init__(self, loop: Loop, neighbours: Neighbours) -> None:
        self._loop = loop
        self._neighbours = neighbours

    def step(self, now_ns: int) -> int:
        self._neighbours.rows()
        if not self._neighbours.answers:
            return now_ns + NO_AGENT_NS
        try:
            return self._loop.step(now_ns)
        except sqlite3.Error as cause:  # what a carer remembers does not fit on the disk now
            raise DiskFull from cause


class Leasing:
    """Room for repairs: leased by the kernel's matcher when a repair needs it, given back when none did for a while."""

    def __init__(self, neighbours: Neighbours, stores: Stores) -> None:
        self._placing = Placing(lambda: neighbours.agent().connection(), stores)
        self._used_s = 0.0
        self._lock = threading.Lock()

    def places(self, count: int, share_bytes: int) -> Sequence[Store]:
        """Name stores with room."""
        with self._lock:
            self._used_s = time.monotonic()
            return self._placing.places(count, share_bytes)

    def step(self, now_ns: int) -> int:
        """Give back what is not needed."""
        with self._lock:
            if self._used_s and time.monotonic() > self._used_s + LEASES_IDLE_S:
                self._used_s = 0.0
                self._placing.close()
        return now_ns + round(LEASES_IDLE_S) * SECOND

    def close(self) -> None:
        """Give all back."""
        self._placing.close()


class Leaving:
    """Gives up devices that left the account: what they kept is made anew at once."""

    def __init__(self, neighbours: Neighbours, watch: Watch) -> None:
        self._neighbours = neighbours
        self._watch = watch
        self._known: set[str] = set()

    def step(self, now_ns: int) -> int:
        """Look who left."""
        for node in self._neighbours.left():
            if node not in self._known:
                self._known.add(node)
                self._watch.give_up(node)
        return now_ns + LEAVING_NS


class CareOfHome:
    """Everything that looks after the files of one home's account."""

    def __init__(self, home: Home, account: str, store: BlockStore, renewed: Callable[[], None] = lambda: None) -> None:
        folder = home.depot_folder
        self._renewed = renewed
        self._neighbours = Neighbours(home)
        self._home = home
        self._stores = Stores(self._neighbours.rows)
        self._syncing = Syncing(store, lambda: self.watch.peers(), self._found)  # noqa: PLW0108 - it is made below
        self.watch = Watch(folder, account, open_key(home), store, self._stores, self._syncing.heard)
        self._leasing = Leasing(self._neighbours, self._stores)
        self._caring = Caring(folder, store, self.watch, self._leasing.places)
        self._scrubbing = Scrubbing(store, lambda _: self._caring.look_again())
        self._sharing = SharingLoop(home, self._stores)
        self._following = FollowingLoop(home, self._stores)
        self._here = self.watch.me

    def heard(self, who: Who, request: Append | Care) -> None:
        """Take in what the depot was told: what to look after, and what a program of this machine wrote."""
        if isinstance(request, Care):
            self._found(request)
        elif who.node == self._here:
            self._syncing.heard(request.entries)

    def _found(self, care: Care | CaredThere) -> None:
        with contextlib.suppress(sqlite3.Error):  # not remembered: the next pass finds it
            self._caring.heard(Cared(locator=care.locator, verify=care.verify, owner=care.owner), time.time_ns())

    def loops(self) -> list[Loop]:
        """Return all loops."""
        attending = Attending(self._home.depot_folder, self.watch, self._caring, self._scrubbing)
        needy: list[Loop] = [
            self._syncing,
            self._caring,
            Auditing(self._caring, self.watch),
            attending,
            self._leasing,
            Leaving(self._neighbours, self.watch),
            KeyringLoop(self._home, self._stores, self._renewed),
            self._following,
            ForgettingLoop(self._home, self._stores),
            self._sharing,
        ]
        return [self._scrubbing, *(_WithAgent(loop, self._neighbours) for loop in needy)]

    def close(self) -> None:
        """End: give back what was leased, remember what was learnt."""
        self._sharing.close()
        self._following.close()
        self._leasing.close()
        self.watch.close()
        self._neighbours.close()


def open_care(
    home: Home, account: str, store: BlockStore, renewed: Callable[[], None] = lambda: None
) -> CareOfHome | None:
    """Begin to look after the files of a home; None where no agent was ever: it has no key yet.

    ``renewed`` is told when new things are to be written under another root: what is open here knows the old one.
    """
    return CareOfHome(home, account, store, renewed) if home.key_file.exists() else None
