"""Cut the power of a disk, and see what a depot still knows: ``python -m tests.depot.powercut --cuts 20``.

The disk is ext4 on a loop device on a file in an XFS with reflinks: ``FICLONE`` of that file is the disk at one instant, with
nothing that only the page cache of ext4 knew. A program changes the depot on it (``load``); the clone is taken at any moment,
the program killed, the clone mounted (its journal is replayed) and read; then the program goes on with the clone. So each cut is
followed by a recovery that the next cut may meet half done. ``--kill`` takes SIGKILL for the cut, on a plain folder.

Needs root, loop devices, mkfs.xfs and mkfs.ext4; says why and ends with 77 where it cannot run. All mounts are in a mount
namespace of its own: they go with it. Source: the same idea with a device mapper is in CrashMonkey, OSDI 2018.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.depot import load

CANNOT = 77
REFLINK_MIB = 1024
FICLONE = 0x40049409


def why_not() -> str:
    """Say what keeps this machine from cutting the power of a disk, or nothing."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    for tool, package in (("mkfs.xfs", "xfsprogs"), ("mkfs.ext4", "e2fsprogs"), ("unshare", "util-linux")):
        if shutil.which(tool) is None:
            return f"`{tool}` is not installed (package {package})"
    if not os.access("/dev/loop-control", os.W_OK):
        return "there are no loop devices"
    return ""


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class CutDisk:
    """A disk whose power can be cut."""

    def __init__(self, room: Path, disk_mib: int) -> None:
        self._below, self._mount = room / "below", room / "disk"
        self._below.mkdir()
        self._mount.mkdir()
        backing = room / "below.img"
        with backing.open("wb") as file:
            file.truncate(REFLINK_MIB << 20)
        sh("mkfs.xfs", "-q", "-m", "reflink=1", str(backing))
        sh("mount", "-o", "loop", str(backing), str(self._below))
        with (self._below / "disk.img").open("wb") as file:
            file.truncate(disk_mib << 20)
        sh("mkfs.ext4", "-q", str(self._below / "disk.img"))
        self._mount_disk()
        self.folder = self._mount / "depot"

    def _mount_disk(self) -> None:
        sh("mount", "-o", "loop", str(self._below / "disk.img"), str(self._mount))

    def cut(self) -> None:
        """Keep the disk as it is in this instant."""
        with (self._below / "disk.img").open("rb") as now, (self._below / "cut.img").open("wb") as kept:
            fcntl.ioctl(kept.fileno(), FICLONE, now.fileno())

    def power_on(self) -> None:
        """Go on with what the cut left."""
        sh("umount", str(self._mount))
        (self._below / "cut.img").replace(self._below / "disk.img")
        self._mount_disk()

    def close(self) -> None:
        """Let everything go."""
        for folder in (self._mount, self._below):
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


class PlainFolder:
    """A folder on the disk of this machine: only the program ends, by SIGKILL."""

    def __init__(self, room: Path) -> None:
        self.folder = room / "depot"

    def cut(self) -> None:
        """Do nothing: the kill is the cut."""

    def power_on(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the room goes as a whole."""


def in_child(work: Callable[[], object]) -> object:
    """Do this in a process of its own, so that this one never has a thread, and return its result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as out:
            try:
                pickle.dump(work(), out)
            except BaseException as error:  # noqa: BLE001 - told to the parent, who stops
                traceback.print_exc()
                pickle.dump(RuntimeError(repr(error)), out)
            out.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as source:
        said = source.read()
    _, status = os.waitpid(pid, 0)
    if not said:
        raise RuntimeError(f"a child ended with {os.waitstatus_to_exitcode(status)} and said nothing")
    result = pickle.loads(said)
    if isinstance(result, Exception):
        raise result
    return result


class Program:
    """The load, running on a folder and heard through a pipe."""

    def __init__(self, folder: Path, model: load.Model, seed: int, *, synced: bool) -> None:
        self._model = model
        self._rest = b""
        self._pipe, writing = os.pipe()
        fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            try:
                load.run(folder, model, lambda line: os.write(writing, line), seed, synced=synced)
            finally:
                os._exit(1)
        os.close(writing)
        os.set_blocking(self._pipe, False)

    def hear(self) -> int:
        """Take in all that was said by now; return how much was."""
        heard = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, 1 << 20):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._model.hear(line.decode())
                heard += len(lines)
        return heard

    def wait_for_a_word(self) -> None:
        """Wait until the store is open and something happens."""
        end = time.monotonic() + 30
        while not self.hear():
            if os.waitpid(self._pid, os.WNOHANG)[0] or time.monotonic() > end:
                raise RuntimeError("the program ended, or said nothing for 30 s")
            time.sleep(0.002)

    def run_for(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.hear()
            time.sleep(min(0.005, left))
        self.hear()

    def kill(self) -> None:
        """End it with SIGKILL, and hear what it had still said."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.set_blocking(self._pipe, True)
        self.hear()
        os.close(self._pipe)


def cut_many(cuts: int, seed: int, *, disk_mib: int, synced: bool) -> list[str]:
    """Cut so often (without a disk: kill); return everything that was lost or wrong."""
    dice = random.Random(seed)
    said: list[str] = []
    room = Path(tempfile.mkdtemp(prefix="wos-cut-"))
    disk: CutDisk | PlainFolder = CutDisk(room, disk_mib) if disk_mib else PlainFolder(room)
    model = load.Model()
    try:
        for cut in range(cuts):
            program = Program(disk.folder, model, seed * 1000 + cut, synced=synced)
            if dice.random() < 0.9:  # the others are cut while they open
                program.wait_for_a_word()
            program.run_for(dice.random() ** 2 * 0.6)
            disk.cut()
            acked = model
            if not disk_mib:
                program.kill()
            else:  # what is said after the cut was not promised before it
                acked = pickle.loads(pickle.dumps(model))
                program.kill()
                for number in (model.here | model.gone | model.maybe) - (acked.here | acked.gone | acked.maybe):
                    acked.maybe.add(number)
                changed = (acked.here & (model.gone | model.maybe)) | (acked.gone & (model.here | model.maybe))
                acked.maybe |= changed
                acked.here -= changed
                acked.gone -= changed
                for log, seqs in model.begun.items():
                    acked.begun[log] |= seqs
            disk.power_on()
            found = in_child(lambda acked=acked: load.look(disk.folder, acked))
            assert isinstance(found, load.Found)
            differences = [f"cut {cut}: {line}" for line in acked.differences(found)]
            if differences:
                print("\n".join(differences[:20]), flush=True)
            said += differences
            if cut % 10 == 9:
                print(f"{cut + 1} cuts, {acked.acked} acknowledged, {len(said)} lost or wrong", flush=True)
            model = acked
            model.settle(found)
        print(f"{cuts} cuts, {model.acked} acknowledged, {len(said)} lost or wrong")
    finally:
        disk.close()
        shutil.rmtree(room, ignore_errors=True)
    return said


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="SIGKILL on a plain folder, instead of a power cut")
    parser.add_argument("--unsynced", action="store_true", help="break the depot: it must be seen")
    parser.add_argument("--disk-mib", type=int, default=160, help="a small one is full most of the time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.kill and not asked.inside:
        if why := why_not():
            print(why)
            return CANNOT
        again = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.depot.powercut", "--inside"]
        return subprocess.run([*again, *sys.argv[1:]], check=False).returncode
    try:
        said = cut_many(asked.cuts, asked.seed, disk_mib=0 if asked.kill else asked.disk_mib, synced=not asked.unsynced)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd[:2])}: {error.stderr.decode(errors='replace').strip()}")
        return CANNOT
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
