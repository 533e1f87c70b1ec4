"""Two accounts over the same stores: one gives away, the other has nothing but the code."""

from __future__ import annotations

from pathlib import Path

from tests.files.depots import Site

from worldos.files.files import Files
from worldos.files.session import Session
from worldos.trust.keys import DeviceKey


class OtherRoots:
    """Root keys of somebody else."""

    directory_keys = (b"other" * 6 + b"xx",)


def files_of_another(site: Site, home: Path) -> Files:
    """The files of another account, whose device reaches the same stores."""
    home.mkdir(exist_ok=True)
    key, stores = DeviceKey.from_seed(b"o" * 32), site.stores(1)
    session = Session(
        home / "files",
        "o" * 52,
        key,
        stores,
        lambda: {key.public: "theirs"},
        OtherRoots,
        lambda count, share_bytes: site.place(stores, count, share_bytes),
    )
    return Files(session)
