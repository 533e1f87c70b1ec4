"""An engine: something known that already does much at many machines, started on leases and used by its own client.

A driver for one is one file with one class: it says what software it needs, which processes run on which seat, and how its
client is made; leases, environments, network, ports and the end are done here. It is found by an entry point of the group
``worldos.engines`` (docs/guides/write-an-engine.md). What ``use`` returns is *engaged*: ``with`` gives the client itself.
"""

from __future__ import annotations

import importlib
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar

from worldos.engines.cluster import Cluster
from worldos.engines.keeping import Keeper, Load
from worldos.engines.leasing import LEASE_WORDS, Leasing
from worldos.engines.plan import Process, Seat
from worldos.engines.software import Software
from worldos.errors import BadRequest
from worldos.sdk import connection as agent
from worldos.sdk.compute import Compute

SIZE_WORDS = frozenset({"cpus", "gpus", "memory", "nodes"})
USE_WORDS = frozenset({"ttl", "timeout", "told"})
RETIRE_S = 30.0  # for a seat to bring what it does to an end

Words = Mapping[str, Any]


class Engine(ABC):
    """What World OS must know of an engine. One object of it serves all uses: it keeps nothing between them."""

    name: ClassVar[str]
    summary: ClassVar[str]
    words: ClassVar[frozenset[str]] = frozenset()  # what ``use`` takes for this engine beside size and place
    ports: ClassVar[int] = 1  # so many free ports of each seat
    nodes_max: ClassVar[int] = 0  # 0: as many as it likes
    head_first: ClassVar[bool] = True  # the others cannot wait for the head by themselves
    client_module: ClassVar[str] = ""  # what ``client`` imports
    grows: ClassVar[bool] = False  # its seats may come and go while it runs: it has ``another``
    loopback: ClassVar[bool] = True  # it keeps strangers out by itself, where a host can have no private network

    def check(self, words: Words) -> None:  # noqa: B027 - most have nothing to check
        """Refuse what can be known to be wrong before anything is leased."""

    @abstractmethod
    def software(self, words: Words) -> Software:
        """Return what must be installed on each node."""

    @abstractmethod
    def plan(self, seats: Sequence[Seat], words: Words) -> Mapping[int, Sequence[Process]]:
        """Return the processes of each seat, by its index; the first seat's are begun before the others'."""

    @abstractmethod
    def client(self, engaged: Engaged) -> Any:
        """Return the client, when all processes are ready."""

    def another(self, engaged: Engaged, seat: Seat) -> Sequence[Process]:
        """Return the processes of a seat that comes later. Only asked of what ``grows``."""
        raise NotImplementedError

    def load(self, engaged: Engaged) -> Load | None:
        """Return what there is to do now, where that is known: an engine follows it if ``cpus`` is a range."""
        return None

    def let_go(self, engaged: Engaged, seat: Seat) -> None:  # noqa: B027 - most have nothing to move
        """See that others have what a seat has: it is given back then."""

    def leave(self, engaged: Engaged) -> None:  # noqa: B027 - most have nothing to save
        """Close the client, and save what must be kept. Called once, before the processes end."""

    def told(self, engaged: Engaged) -> dict[str, str]:
        """Return what a person needs to use it from other programs of theirs: labels and values."""
        return {"client": str(engaged.client)}

    def use(self, amount: Any = None, words: dict[str, Any] | None = None) -> Engaged:
        """Lease, install, start, connect: what ``worldos.use`` does for this kind."""
        said = dict(words or {})
        if amount is not None:
            said.setdefault("cpus", amount)
        known = SIZE_WORDS | LEASE_WORDS | USE_WORDS | self.words
        if unknown := sorted(said.keys() - known):
            raise BadRequest(
                f"{self.name} knows no word {unknown[0]}=", hint=f"there are: {', '.join(sorted(known - {'told'}))}"
            )
        return Engaged(self, said)


class Engaged:
    """An engine that runs for this program: its client in a ``with`` block, or ``close`` it."""

    def __init__(self, engine: Engine, words: Words) -> None:
        self.engine = engine
        self.words = words
        self._told: Callable[[str], None] = words.get("told") or _Shown(engine.name)
        self._closing = threading.Lock()
        self._closed = False
        self.plan: Mapping[int, Sequence[Process]] = {}
        self.dashboard = ""
        self.state: Any = None  # the engine's own
        engine.check(words)
        threading.Thread(target=_load, args=(engine.client_module,), daemon=True).start()  # while the nodes are busy
        self._software = engine.software(words)
        connection = agent.connection()
        self.leasing = Leasing(words, connection)
        least, most = self.leasing.cores
        if most > least and not engine.grows:
            raise BadRequest(f"{engine.name} does not grow", hint=f"say how many cores it is to have: cpus={least}")
        handles = self.leasing.all(nodes_max=engine.nodes_max, loopback=engine.loopback)
        self.cluster = Cluster(handles, connection.node(), self._told)
        self._keeper = Keeper(self, least, most)
        try:
            self.cluster.prepare(self._software)
            self.cluster.connect(engine.ports, loopback=engine.loopback)
            self.plan = engine.plan(self.cluster.seats, words)
            self.cluster.begin(self.plan, head_first=engine.head_first)
            self._told("connecting its client")
            self.client = engine.client(self)
        except BaseException:
            self._closed = True
            self.cluster.end()
            raise
        finally:
            self._told("")
        if engine.grows and self.cluster.net is not None and self.cluster.net.private:
            self._keeper.start()

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The places where its processes run, and those where they ran: by number."""
        return self.cluster.seats

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes it runs on, the head first."""
        return tuple(seat.node for seat in self.cluster.live)

    def address(self, index: int, port: int) -> str:
        """Return where this program reaches a port of a seat: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.cluster.forward(index, self.seats[index].ports[port])}"

    def check(self) -> tuple[str, ...]:
        """Return the nodes it runs on now; raise why it runs no more, if its first node or one of its processes is gone."""
        self._keeper.check()
        return self.nodes

    def add(self, handle: Compute) -> Seat:
        """Let one more lease be a seat."""
        return self.cluster.add(handle, self._software, self.engine.ports, lambda seat: self.engine.another(self, seat))

    def retire(self, seat: Seat, within_s: float = RETIRE_S) -> None:
        """Give a seat back, when others have what it has."""
        self.engine.let_go(self, seat)
        self.cluster.retire(seat.index, within_s)

    def close(self) -> None:
        """Let the client go, end all processes and give the leases back."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._keeper.stop()
        try:
            self.engine.leave(self)
        finally:
            self.cluster.end()

    def __enter__(self) -> Any:
        """Return the engine's own client."""
        return self.client

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"on {len(self.nodes)} nodes"
        return f"<{self.engine.name} {state}>"


def _load(module: str) -> None:
    """Import a client ahead of time; where it cannot be imported, ``client`` says so."""
    with suppress(ImportError):
        importlib.import_module(module or __name__)


class _Shown:
    """Says on the terminal how far it is, on one line that goes away again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._width = 0

    def __call__(self, doing: str) -> None:
        if not sys.stderr.isatty():
            return
        text = f"{self._name}: {doing}" if doing else ""
        sys.stderr.write(f"\r{text:<{self._width}}" + ("" if text else "\r"))
        sys.stderr.flush()
        self._width = len(text)
