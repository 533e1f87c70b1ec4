"""A session: what one program has in hand while it works with files: the agent, the stores, the directory, the keys.

Everything large or slow to make is made when it is first wanted: a listing needs no codec and no lease. When the agent
restarts the session goes on with the new one. Invariant: ``close`` gives back leases, ends threads, and lets shares that are
still on their way arrive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from worldos.agent.home import make_folder, open_key
from worldos.depot.codec import best_codec
from worldos.files.catalog import Catalog
from worldos.files.limits import DEVICES_EVERY_S
from worldos.files.memory import Memory
from worldos.files.placing import Placing
from worldos.files.reader import Shelf
from worldos.files.stores import Store, StoreAt, Stores
from worldos.files.uses import Uses
from worldos.files.writer import Uploads
from worldos.home import Home
from worldos.sdk.connection import Connection
from worldos.store.durability import Profile, choose_code
from worldos.store.erasure import Code, Codec
from worldos.trust.keys import DeviceKey, public_of

Place = Callable[[int, int], Sequence[Store]]


class Roots(Protocol):
    """The account's root keys, as far as the directory is concerned."""

    @property
    def directory_keys(self) -> tuple[bytes, ...]:
        """The keys of its directories, that for what is written now first."""
        ...


class Session:
    """What files stand on. Made by ``open_session`` from an agent, or by a test from depots alone."""

    def __init__(
        self,
        folder: Path,
        owner: str,
        key: DeviceKey,
        stores: Stores,
        devices: Callable[[], Mapping[bytes, str]],
        roots: Callable[[], Roots],
        place: Place,
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self.owner = owner
        self.key = key
        self.stores = stores
        self.devices = devices
        self.place = place
        self.follows = (
            False  # whether what is read is kept near, and counted; programs do so, whoever measures does not
        )
        self.look_far: Callable[[], Sequence[StoreAt]] | None = None  # the stores of other accounts too, for codes
        self._roots = roots
        self._making = threading.RLock()
        self._made: list[Callable[[], None]] = []

    @cached_property
    def roots(self) -> Roots:
        """The account's root keys."""
        return self._roots()

    @cached_property
    def codec(self) -> Codec:
        """Who codes."""
        return best_codec()

    @property
    def catalog(self) -> Catalog:
        """The directory."""
        with self._making:
            return self._catalog

    @property
    def uploads(self) -> Uploads:
        """What writes."""
        with self._making:
            return self._uploads

    @property
    def shelf(self) -> Shelf:
        """What reads."""
        with self._making:
            return self._shelf

    def code(self) -> Code:
        """Return the code that new files get: by the devices that lend space, those that sleep too."""
        return choose_code(self.profiles())

    def profiles(self) -> list[Profile]:
        """Return the devices that may keep shares."""
        rows = [store.at for store in self.stores.known() if store.at.capacity or store.at.path]
        return [
            Profile(node=row.node, place=row.place, owner=row.account, stranger=row.account != self.owner)
            for row in rows
        ]

    def close(self) -> None:
        """End all of it; what is on its way arrives first, as far as it moves."""
        with self._making:
            made, self._made = self._made, []
        for end in reversed(made):
            end()
        self.stores.close()

    @cached_property
    def _catalog(self) -> Catalog:
        catalog = Catalog(self.folder, self.roots.directory_keys, self.key, self.stores, self.devices)
        self._made.append(catalog.close)
        catalog.refresh(thorough=True)
        return catalog

    @cached_property
    def _uploads(self) -> Uploads:
        uploads = Uploads(self.place, self.code, self.codec, self.owner)
        self._made.append(uploads.close)
        return uploads

    @cached_property
    def _shelf(self) -> Shelf:
        if not self.follows:
            shelf = Shelf(self.stores, self.codec)
        else:
            memory, uses = Memory(self.folder, self.stores, self.owner), Uses(self.folder, self.key.node_id)
            self._made += [uses.write, memory.close]
            shelf = Shelf(self.stores, self.codec, memory=memory, uses=uses)
        self._made.append(shelf.close)
        return shelf


class Agent:
    """The conversation with the agent of a home; begun again when the agent was."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._connection = Connection(home.socket_file)
        self._devices: dict[bytes, str] = {}
        self._devices_at_s = -DEVICES_EVERY_S

    def connection(self) -> Connection:
        """Return an open conversation."""
        with self._lock:
            if self._connection.ended is not None:
                self._connection = Connection(self._home.socket_file)
            return self._connection

    def ask(self, name: str, **arguments: Any) -> Any:
        """Put a question to the agent."""
        return self.connection().ask(name, arguments)

    def stores(self, *, others: bool = False) -> list[StoreAt]:
        """Ask which stores there are; those of ``others`` that are linked too, which answer to who has a code."""
        rows = msgspec.convert(self.ask("stores", others=others), list[StoreAt])
        return [msgspec.structs.replace(row, direct=row.here) for row in rows]

    def devices(self) -> dict[bytes, str]:
        """Return the name of each device that ever was of the account, by its public key."""
        if time.monotonic() > self._devices_at_s + DEVICES_EVERY_S:
            rows = self.ask("devices")
            self._devices = {public_of(row["node"]): row["name"] for row in rows}
            self._devices_at_s = time.monotonic()
        return self._devices

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._connection.close()


def open_session(home: Home) -> Session:
    """Begin to work with the files of the account that this home belongs to; ``NoAgent`` where none runs."""
    from worldos.files.roots import find_roots  # noqa: PLC0415 - it brings what wraps keys, which tests of depots do without

    agent = Agent(home)
    try:
        status = agent.ask("status")
        stores = Stores(agent.stores)
        placing = Placing(agent.connection, stores)

        session = Session(
            home.path / "files",
            str(status["account"]),
            open_key(home),
            stores,
            agent.devices,
            lambda: find_roots(home, stores),
            placing.places,
        )
    except BaseException:
        agent.close()
        raise
    session.follows = True
    session.look_far = lambda: agent.stores(others=True)
    session._made += [agent.close, placing.close]  # ended last, in this order
    return session
