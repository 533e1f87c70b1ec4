"""A desk and a laptop of one account, with real keys and keyrings, and five depots: the first two are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace
from tests.files.depots import Site, site
from tests.files.homes import Family

from worldos.agent.home import open_key
from worldos.files.files import Files
from worldos.files.roots import KeyringLoop, belonging_of, find_roots
from worldos.files.session import Session
from worldos.files.stores import Stores
from worldos.home import Home


class House:
    """Two devices and the depots of their account."""

    def __init__(self, folder: Path, five: Site) -> None:
        self.family = Family(folder)
        self.desk, self.laptop = self.family.homes[0], self.family.join()
        self.five = five
        find_roots(self.desk, five.stores(0))
        KeyringLoop(self.desk, five.stores(0)).step(1)
        find_roots(self.laptop, five.stores(1))

    def stores(self, home: Home) -> Stores:
        number, account = self.family.homes.index(home), belonging_of(self.desk).account
        return Stores(lambda: [replace(row, account=account) for row in self.five.rows(number)])

    def files(self, home: Home) -> Files:
        stores = self.stores(home)
        session = Session(
            home.path / "files",
            belonging_of(home).account,
            open_key(home),
            stores,
            lambda: {device: device.hex()[:4] for device in belonging_of(home).active},
            lambda: find_roots(home, stores),
            lambda count, share_bytes: self.five.place(stores, count, share_bytes),
        )
        session.follows = True
        return Files(session)


@contextmanager
def house_of(folder: Path) -> Iterator[House]:
    with site(5) as five:
        yield House(folder, five)
