"""Fill a small disk with a depot, and see that it still answers: run by ``test_writer`` in a mount namespace of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.depot.load import KEY, log_id, share_id

from worldos.depot.block_store import BlockStore
from worldos.errors import DiskFull
from worldos.store.entry import sign_entry

MIB = 1 << 20


def fill(store: BlockStore, first: int) -> int:
    """Put until it is full; return how many fitted."""
    number = first
    while number < first + 1000:
        try:
            store.put(share_id(number), bytes([number % 256]) * MIB)
        except DiskFull as error:
            if "full" not in str(error):
                raise
            return number - first
        number += 1
    raise AssertionError("a small disk took a gigabyte")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="wos-full-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=True)
    depot = folder / "depot"
    with BlockStore(depot, capacity_bytes=1 << 40, pack_bytes=8 * MIB) as store:
        count = fill(store, 0)
        assert count > 12, count
        assert store.get(share_id(count - 1)) == bytes([count - 1]) * MIB
        assert store.have([share_id(count)]) == [-1], "half a share"
        assert store.usage().free_bytes < 3 * MIB
        assert store.drop([share_id(number) for number in range(5)]) == 5
        more = fill(store, 100)
        assert more >= 4, more
    with BlockStore(depot, capacity_bytes=1 << 40, pack_bytes=8 * MIB) as store:
        kept = [*range(5, count), *range(100, 100 + more)]
        assert all(store.get(share_id(number)) == bytes([number % 256]) * MIB for number in kept)
        assert store.have([share_id(number) for number in range(5)]) == [-1] * 5
        (folder / "filler").write_bytes(bytes(1000))
        store.drop([share_id(number) for number in kept[:4]])
        assert store.append(sign_entry(KEY, log_id(0), 1, b"room again"))
        assert store.scrub(budget_bytes=1 << 40).bad == ()
    print(f"{count} and {more} shares of 1 MiB on 24 MiB")


if __name__ == "__main__":
    sys.exit(main())
