"""What does it cost to keep a folder of many files on this machine, to keep it again, and to bring it back? Against restic.

A mixed folder: 3/8 of the bytes are files of this Python's packages (text, byte code, libraries), 1/2 noise in files of 0.3 to
12 MB (photographs, films), 1/8 copies of files that are in it already. One node that lends space to itself, so one copy, sealed;
restic with a repository of version 2 (zstd) in a folder of the same disk. Ours goes through a socket to the depot in another
process and syncs before it says done; restic syncs as well. Both start new for each round; caches are warm for both.

Guess on the back of an envelope, two quiet cores: text packs at 275 MB/s, 400 MB of it: 1.5 s; 600 MB of the rest at 2 ns a byte
(cut, seal, hash, code, send, receive, hash, write): 1.2 s; 10 000 files at 60 us (open, read, stat, an entry of the directory):
0.6 s. Half of it overlaps on two cores: 2.5 s a GB, 400 MB/s. restic: 90 to 165 MB/s (measured before): it hashes by SHA-256.

    uv run python bench/bench_backup.py [--mb 1000] [--rounds 2] [--folder DIR]
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.bench_files import disk_mb_s  # noqa: E402
from worldos.cli.stage import Stage  # noqa: E402
from worldos.files.files import Files  # noqa: E402

TARGETS = {
    "backup, s": ">= 3 x restic",
    "again, unchanged, s": "<= 1 s",
    "restore, s": ">= 3 x restic",
    "stored, MB": "<= 1.03 x restic",
}
Found = dict[str, list[float]]


def lay_out(folder: Path, size: int) -> tuple[int, int]:
    """Make the mixed folder; return its bytes and files."""
    chance = random.Random(7)
    total, count, texts = 0, 0, []
    for source in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
        if total >= size * 3 // 8:
            break
        if source.is_file() and not source.is_symlink() and source.stat().st_size < 64 << 20:
            target = folder / "packages" / source.relative_to(sysconfig.get_path("purelib"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            texts.append(target)
            total, count = total + source.stat().st_size, count + 1
    (folder / "photos").mkdir()
    while total < size * 7 // 8:
        length = int(300_000 * 40 ** chance.random())
        (folder / "photos" / f"{count}.jpg").write_bytes(chance.randbytes(length))
        total, count = total + length, count + 1
    (folder / "copies").mkdir()
    while total < size:
        source = chance.choice(texts)
        shutil.copyfile(source, folder / "copies" / f"{count}{source.suffix}")
        total, count = total + source.stat().st_size, count + 1
    return total, count


def taken_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def same(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    there = sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    return names == there and all(filecmp.cmp(first / name, second / name, shallow=False) for name in names)


class Clock:
    """Times a step into the table."""

    def __init__(self, found: Found) -> None:
        self.found = found

    def step(self, name: str, call) -> None:
        begun = time.perf_counter()
        call()
        self.found[name].append(time.perf_counter() - begun)


def ours(source: Path, folder: Path, found: Found) -> None:
    clock = Clock(found)
    with Stage(("desk",), alone=False) as stage:
        stage.join_all()
        with Files.open(stage.actors[0].home) as files:
            files.storage()
            clock.step("backup, s", lambda: files.put(source, "backup"))
            found["stored, MB"].append(sum(row.used_bytes for row in files.storage().stores) / 1e6)
        with Files.open(stage.actors[0].home) as files:
            clock.step("again, unchanged, s", lambda: files.put(source, "backup"))
        with Files.open(stage.actors[0].home) as files:
            clock.step("restore, s", lambda: files.get("backup", folder / "back"))
    assert same(source, folder / "back"), "ours brought back something else"


def restic(source: Path, folder: Path, found: Found) -> None:
    clock = Clock(found)
    environ = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(folder / "repo")}
    environ["RESTIC_CACHE_DIR"] = str(folder / "cache")

    def run(*arguments: str) -> None:
        subprocess.run(["restic", "-q", *arguments], env=environ, check=True, cwd=source)

    run("init", "--repository-version", "2")
    clock.step("backup, s", lambda: run("backup", "."))
    found["stored, MB"].append(taken_bytes(folder / "repo") / 1e6)
    clock.step("again, unchanged, s", lambda: run("backup", "."))
    clock.step("restore, s", lambda: run("restore", "latest", "--target", str(folder / "back")))
    assert same(source, folder / "back"), "restic brought back something else"


def show(found: dict[str, Found], size: int, count: int, disk: float) -> None:
    print(f"\n{size / 1e6:,.0f} MB in {count:,} files; medians; the disk writes and syncs {disk:,.0f} MB/s")
    print(f"{'':24}{'ours':>10}{'restic':>10}{'ratio':>8}{'of limit':>10}   to reach")
    for name in found["ours"]:
        mine = statistics.median(found["ours"][name])
        theirs = statistics.median(found.get("restic", {}).get(name) or [0.0])
        ratio = "" if not theirs else f"{mine / theirs if name == 'stored, MB' else theirs / mine:.2f}"
        limit = f"{size / 1e6 / disk / mine:.0%}" if name in {"backup, s", "restore, s"} else ""
        print(f"{name:24}{mine:10,.2f}{theirs:10,.2f}{ratio:>8}{limit:>10}   {TARGETS.get(name, '')}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to keep a folder of many files?")
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", default=None, help="where all of it lies: four times the size is needed")
    choices = parser.parse_args()
    systems = {"ours": ours}
    if shutil.which("restic"):
        systems["restic"] = restic
    else:
        print("restic is not here (Debian: apt-get install restic): ours alone")
    found: dict[str, Found] = {name: defaultdict(list) for name in systems}
    with tempfile.TemporaryDirectory(prefix="wos-backup-", dir=choices.folder) as top:
        source = Path(top) / "source"
        source.mkdir()
        size, count = lay_out(source, choices.mb * 1_000_000)
        disk = disk_mb_s(Path(top))
        for _ in range(choices.rounds):
            for name, measure in systems.items():
                with tempfile.TemporaryDirectory(dir=top) as folder:
                    measure(source, Path(folder), found[name])
        show(found, size, count, disk)


if __name__ == "__main__":
    main()
