"""Uploads: memory that does not grow with the file, errors that come out, and nothing left where one was given up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.files.depots import Site, all_there, files_of, site

from worldos.depot.block_store import BlockStore
from worldos.errors import DiskFull, Unreachable
from worldos.files.files import Files
from worldos.store import keys
from worldos.store.manifest import open_map

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
LARGE = """
import sys
from pathlib import Path
from tests.files.depots import Site, files_of
site = Site.there(Path(sys.argv[1]), 6)
source = Path(sys.argv[3])
with files_of(site, Path(sys.argv[2])) as files:
    files.put(source, "large")
    status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM:")))
"""


def shares(made: Site) -> int:
    return sum(_count(depot.store) for depot in made.depots)


def _count(store: BlockStore | None) -> int:
    assert store is not None
    return sum(owned.count for owned in store.usage().owned)


def test_an_upload_that_is_given_up_leaves_no_shares(five: Site, files: Files) -> None:
    upload = files.session.uploads.begin()
    upload.write(os.urandom(12 * MIB))
    upload.abandon()
    upload.abandon()
    end_s = time.monotonic() + 30
    while shares(five):
        assert time.monotonic() < end_s, "what was sent is dropped again"
        time.sleep(0.01)
    assert files.list() == []


def test_what_fails_on_the_way_comes_out_and_the_next_one_works(five: Site, files: Files) -> None:
    upload = files.session.uploads.begin()
    upload.write(os.urandom(MIB))
    for depot in five.depots:
        depot.end()

    def go_on() -> None:
        upload.write(os.urandom(40 * MIB))
        upload.finish(modified_ns=0)

    with pytest.raises(Unreachable):
        go_on()
    for depot in five.depots:
        depot.start()
    all_there(five, files)
    files.put(os.urandom(MIB), "after")
    assert files.stat("after").size_bytes == MIB


def test_one_store_that_is_full_leaves_it_to_the_others(tmp_path: Path) -> None:
    with site(6) as made:
        made.depots[2].end()
        made.depots[2].capacity_bytes = MIB
        made.depots[2].start()
        with files_of(made, tmp_path / "home") as files:
            data = random.Random(3).randbytes(20 * MIB)
            files.put(data, "big")
            assert files.read("big") == data
            standing = files.status("big")[0]
            assert standing.survives == 2
            full = files.session.stores.on(made.depots[2].node)
            assert full is not None
            assert full.refused_room


def test_stores_see_padded_sizes_and_none_of_the_words(five: Site, files: Files) -> None:
    secret = b"nobody but us may read this sentence " * 3000
    ref = files.session.uploads.begin()
    ref.write(secret)
    kept = ref.finish(modified_ns=0)
    opened = files.session.shelf.opened(kept)
    assert {segment.size_bytes for segment in opened.made.segments} <= {64 << 10, 256 << 10, MIB, 4 * MIB, 16 * MIB}
    for depot in five.depots:
        for pack in depot.folder.rglob("*"):
            assert not pack.is_file() or b"nobody but us" not in pack.read_bytes()


def test_carers_get_what_they_need_and_cannot_read(five: Site, files: Files) -> None:
    files.put(os.urandom(MIB), "big")
    read = keys.read_of(files.ref("big").write)
    verify = keys.verify_of(read)
    store = five.depots[0].store
    assert store is not None
    cared = [each for each in store.cares() if each.verify == verify]
    assert [each.locator for each in cared] == [keys.locator_of(verify)]
    entry = store.last(cared[0].locator)
    assert entry is not None
    assert open_map(entry.body, verify).segments


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_large_file_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    source = tmp_path / "source"
    block = os.urandom(8 * MIB)
    with source.open("wb") as file:
        for number in range(20):
            file.write(block[number:] + block[:number])
        file.truncate(600 * MIB)
    with site(6) as made:
        run = subprocess.run(
            [sys.executable, "-c", LARGE, str(made.folder), str(tmp_path / "home"), str(source)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
    assert int(run.stdout) < 200, "MiB"


def test_all_full_is_said_and_changes_nothing(tmp_path: Path) -> None:
    with site(3, capacity_bytes=2 * MIB) as made, files_of(made, tmp_path / "home") as files:
        files.put(b"small", "name")
        with pytest.raises(DiskFull):
            files.put(os.urandom(20 * MIB), "name")
        assert files.read("name") == b"small"
