"""Depots for tests: real stores on temporary folders behind real sockets, in threads or in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from worldos.depot.block_store import BlockStore
from worldos.depot.server import DepotServer
from worldos.files.files import Files
from worldos.files.session import Session
from worldos.files.stores import Store, StoreAt, Stores
from worldos.trust.keys import DeviceKey

ACCOUNT = "a" * 52
GIB = 1 << 30
PROGRAM = """
import signal, sys
from pathlib import Path
from worldos.depot.block_store import BlockStore
from worldos.depot.server import DepotServer
store = BlockStore(Path(sys.argv[1]), capacity_bytes=int(sys.argv[3]))
server = DepotServer(store, Path(sys.argv[2]))
server.start()
print("ready", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
server.close()
store.close()
"""


class Depot:
    """One depot: where it lies, and how it is started and ended. In this process, or in one of its own."""

    def __init__(self, folder: Path, number: int, *, own_process: bool, capacity_bytes: int = 64 * GIB) -> None:
        self.folder = folder / f"d{number}"
        self.path = folder / f"{number}.sock"
        self.node = DeviceKey.from_seed(bytes([number + 1]) * 32).node_id
        self.number = number
        self.own_process = own_process
        self.capacity_bytes = capacity_bytes
        self.elsewhere = False
        self.process: subprocess.Popen[str] | None = None
        self.store: BlockStore | None = None
        self.server: DepotServer | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if self.own_process:
            command = [sys.executable, "-c", PROGRAM, str(self.folder), str(self.path), str(self.capacity_bytes)]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "ready\n"
        else:
            self.store = BlockStore(self.folder, capacity_bytes=self.capacity_bytes)
            self.open_door(self.store)

    def open_door(self, store: BlockStore) -> None:
        """Serve a store at this depot's socket."""
        self.server = DepotServer(store, self.path)
        self.server.start()

    def tell(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)
        while number == signal.SIGSTOP and not self._stands_still():
            time.sleep(0.001)

    def _stands_still(self) -> bool:
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in tasks)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.tell(signal.SIGCONT)
                self.tell(number)
            self.process.wait(45)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None
            self.path.unlink(missing_ok=True)
        if self.server is not None and self.store is not None:
            self.server.close()
            self.store.close()
            self.server = self.store = None

    @property
    def running(self) -> bool:
        return self.elsewhere or self.process is not None or self.server is not None

    def row(self, here: int = 0) -> StoreAt:
        return StoreAt(
            node=self.node,
            name=f"machine {self.number}",
            here=self.number == here,
            linked=self.running,
            account=ACCOUNT,
            capacity=self.capacity_bytes,
            free=self.capacity_bytes,
            path=str(self.path) if self.running else "",
            direct=True,
        )


class Site:
    """Some depots of one account."""

    def __init__(self, folder: Path, count: int, *, own_process: bool, capacity_bytes: int = 64 * GIB) -> None:
        self.folder = folder
        self.depots = [
            Depot(folder, number, own_process=own_process, capacity_bytes=capacity_bytes) for number in range(count)
        ]
        for depot in self.depots:
            depot.start()

    @classmethod
    def there(cls, folder: Path, count: int) -> Site:
        """A site whose depots another process serves."""
        made = cls(folder, 0, own_process=False)
        made.depots = [Depot(folder, number, own_process=False) for number in range(count)]
        for depot in made.depots:
            depot.elsewhere = True
        return made

    def rows(self, here: int = 0) -> Sequence[StoreAt]:
        return [depot.row(here) for depot in self.depots]

    def stores(self, here: int = 0) -> Stores:
        return Stores(lambda: self.rows(here))

    def place(self, stores: Stores, count: int, share_bytes: int) -> list[Store]:
        del share_bytes
        return [store for store in stores.reachable() if not store.refused_room][:count]

    def end(self) -> None:
        for depot in self.depots:
            depot.end()


@contextlib.contextmanager
def site(count: int, *, own_process: bool = False, capacity_bytes: int = 64 * GIB) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="wos-d-") as folder:
        made = Site(Path(folder), count, own_process=own_process, capacity_bytes=capacity_bytes)
        try:
            yield made
        finally:
            made.end()


class RootsForTests:
    """Root keys without a keyring."""

    directory_keys = (bytes(range(32)),)


def files_of(site: Site, home: Path, number: int = 0) -> Files:
    """The files of an account as one of its devices sees them: no agent, no leases."""
    home.mkdir(exist_ok=True)
    keys = {depot.number: DeviceKey.from_seed(bytes([depot.number + 1]) * 32) for depot in site.depots}
    stores = site.stores(number)
    session = Session(
        home / "files",
        ACCOUNT,
        keys[number],
        stores,
        lambda: {key.public: f"machine {at}" for at, key in keys.items()},
        RootsForTests,
        lambda count, share_bytes: site.place(stores, count, share_bytes),
    )
    return Files(session)


def all_there(site: Site, files: Files) -> None:
    """Wait until this session has a link to every depot that runs."""
    files.session.stores.refresh(at_once=True)
    end_s = time.monotonic() + 30
    while len(files.session.stores.reachable()) < sum(depot.running for depot in site.depots):
        assert time.monotonic() < end_s, "the links come back"
        time.sleep(0.01)
