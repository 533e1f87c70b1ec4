"""What does the directory of a million files cost, and does any order of merging lose one?

One process, one thread. The names are those of 1 000 folders of 1 000 photographs, written by three devices in turn; each
change has 1 000 of them, as `wos put` of a folder makes it. Beside us the file system of this machine: 20 000 empty files in 20
folders, made, then listed by scandir with a stat of each, which is what a listing shows. It is a peer in what one waits for, not
in what is promised: it merges nothing.

Guess on the back of an envelope: an entry of a listing is decoded (0.5 us for 13 fields), made a row (0.5 us) and sorted (0.3):
700 000 a second. An operation is decoded and checked (3 us), put into a dictionary (1.5 us) and packed again (0.5 us): 200 000 a
second. Packed, a file is 32 + 32 bytes of secret and digest and 40 of the rest: with its name, its item and its place in a
dictionary 350 bytes. A snapshot is read a folder at a time, so `wos ls` costs its head and 1 000 rows: 5 ms. The limit: to decode
as many packed files and nothing else.

    uv run python bench/bench_directory.py [--files 1000000] [--merges 10000]
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.store.writers import NAMES, Writers, picture  # noqa: E402

from worldos.store.directory import Directory  # noqa: E402
from worldos.store.ops import Change, FileRef, Put, decode_file, encode_change, encode_file, read_change  # noqa: E402

A_FOLDER = 1000
DEVICES = (b"l" * 32, b"p" * 32, b"s" * 32)
BEGIN_NS = 1_700_000_000_000_000_000
PEER_FOLDERS, PEER_FILES = 20, 1000
ROUNDS = 3
ACTS = 40


def photograph(number: int) -> FileRef:
    return FileRef(
        write=os.urandom(32),
        size_bytes=3_000_000 + number,
        modified_ns=BEGIN_NS + number,
        digest=os.urandom(32),
        media="image/jpeg",
        mode=0o644,
    )


def logs(files: int) -> list[tuple[bytes, int, bytes]]:
    """The entries of three devices, in the order in which they were written."""
    entries: list[tuple[bytes, int, bytes]] = []
    heads = dict.fromkeys(DEVICES, 0)
    for folder in range(files // A_FOLDER):
        device = DEVICES[folder % len(DEVICES)]
        ops = tuple(Put(path=f"photographs/{folder:04}/{n:04}.jpg", file=photograph(n)) for n in range(A_FOLDER))
        seen = tuple((other, seq) for other, seq in heads.items() if other != device and seq)
        change = Change(at_ns=BEGIN_NS, after=heads[device], seen=seen, ops=ops)
        heads[device] += 1
        entries.append((device, heads[device], encode_change(change)))
    return entries


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def rate(count: int, work: Callable[[], object]) -> float:
    """Work a few times; return how many a second, in processor time: other loads share this machine."""
    took = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return count / statistics.median(took)


def peer_rates(folder: Path) -> tuple[float, float]:
    """Make and list files in the file system; return files made and listed a second."""
    begun = time.process_time()
    for number in range(PEER_FOLDERS):
        (folder / str(number)).mkdir()
        for file in range(PEER_FILES):
            os.close(os.open(folder / str(number) / f"{file:04}.jpg", os.O_CREAT | os.O_WRONLY))
    made = PEER_FOLDERS * PEER_FILES / (time.process_time() - begun)

    def listing() -> None:
        for number in range(PEER_FOLDERS):
            with os.scandir(folder / str(number)) as found:
                sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in found)

    return made, rate(PEER_FOLDERS * PEER_FILES, listing)


def decoding_rate() -> float:
    packed = [encode_file(photograph(number)) for number in range(100_000)]
    return rate(len(packed), lambda: [decode_file(file) for file in packed])


def merges(count: int) -> tuple[int, int]:
    """Merge ``count`` times what devices wrote, in a random order each time; return versions and how many were lost."""
    versions = lost = 0
    for seed in range(-(-count // 10)):
        writers = Writers(Random(seed), devices=2 + seed % 4)
        for _ in range(ACTS):
            writers.act()
        first = writers.merged()
        shown = picture(first)
        there = {row.id for row in shown if row.file is not None}
        versions += len(writers.made)
        lost += len(writers.made - writers.taken - there)
        for _ in range(9):
            other = writers.merged()
            if picture(other) != shown or [other.history(name) for name in NAMES] != [
                first.history(name) for name in NAMES
            ]:
                raise SystemExit(f"two orders of merging differ: seed {seed}")
    return versions, lost


def main() -> None:
    parser = argparse.ArgumentParser(description="What does a directory of a million files cost?")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--merges", type=int, default=10_000)
    choices = parser.parse_args()
    files = choices.files // A_FOLDER * A_FOLDER
    with tempfile.TemporaryDirectory(prefix="wos-names-") as folder:
        peer_made, peer_listed = peer_rates(Path(folder))
    limit = decoding_rate()

    entries = logs(files)
    gc.collect()
    before = memory_bytes()
    directory = Directory()
    begun = time.process_time()
    for device, seq, data in entries:
        directory.apply(device, seq, read_change(data))
    applied = files / (time.process_time() - begun)
    gc.collect()
    held = (memory_bytes() - before) / files
    if directory.missing() or directory.tree.root.live != files:
        raise SystemExit("not all that was written is there")
    del entries

    listed = rate(files, lambda: sum(1 for _ in directory.walk()))
    begun = time.process_time()
    snapshot = directory.snapshot()
    written = files / (time.process_time() - begun)
    directory = Directory()
    gc.collect()
    cold_ms = 1e3 / rate(1, lambda: Directory.restore(snapshot).list("photographs/0007"))
    kept = Directory.restore(snapshot)
    begun = time.process_time()
    loaded = sum(1 for _ in kept.walk()) / (time.process_time() - begun)
    del kept
    versions, lost = merges(choices.merges)

    print(f"\n{files:,} files in folders of {A_FOLDER:,}; processor time of one thread, medians of {ROUNDS}")
    print(
        f"limit: {limit:,.0f} packed files decoded a second; peer: the file system here, {PEER_FOLDERS * PEER_FILES:,} files"
    )
    print(f"{'':44}{'ours':>12}{'peer':>12}{'ratio':>8}{'of limit':>10}   to reach")
    for what, ours, peer, target in (
        ("entries listed a second", listed, peer_listed, ">= 100,000"),
        ("  from a snapshot, read meanwhile", loaded, peer_listed, ">= 100,000"),
        ("operations merged a second", applied, peer_made, ">= 50,000"),
        ("entries written to a snapshot a second", written, 0.0, ""),
    ):
        beside = f"{peer:12,.0f}{ours / peer:8.2f}" if peer else " " * 20
        print(f"{what:44}{ours:12,.0f}{beside}{ours / limit:10.2f}   {target}")
    print(f"{'one folder from a snapshot, ms':44}{cold_ms:12,.1f}")
    print(f"{'bytes in memory a file':44}{held:12,.0f}")
    print(f"{'bytes in a snapshot a file':44}{len(snapshot) / files:12,.0f}")
    print(
        f"{'merges in random orders':44}{choices.merges:12,}   of {versions:,} versions {lost} were lost{'':10}to reach: 0"
    )


if __name__ == "__main__":
    main()
