"""Files of a task on their way: packed, compressed as they flow, and unpacked where somebody wants them.

A parcel is a tar stream (lanes/parcel) under gzip. A ``Spool`` takes one in as it comes from a lane: in memory while it is small,
else in a file; it never holds the whole. What is unpacked for a person lands under its names only when all of it is there, and
overwrites nothing unless that was said. Sizes in bytes, of the compressed stream.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO, Final

from worldos.errors import BadRequest, DiskFull, OverQuota, PeerBroke
from worldos.jobs.limits import RESULT_BYTES_MAX
from worldos.lanes import parcel

GZIP: Final = 31  # zlib's word for its largest window in a gzip frame
LEVEL: Final = 1
READ_BYTES: Final = 256 * 1024
MEMORY_BYTES: Final = 256 * 1024


class Spool:
    """Bytes taken in and compressed. ``path``: where the file will be, if it needs one."""

    def __init__(self, path: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self.path = path
        self._memory_bytes = memory_bytes
        self._packer: zlib._Compress | None = None
        self._memory = bytearray()
        self._file: BufferedRandom | None = None
        self.size = 0
        self.bytes_max = RESULT_BYTES_MAX

    def add(self, data: bytes | bytearray) -> None:
        """Append."""
        if self._packer is None:
            self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._keep(self._packer.compress(data))

    def finish(self) -> None:
        """No more comes. Nothing at all stays nothing."""
        if self._packer is not None:
            self._keep(self._packer.flush())
            self._packer = None
        if self._file is not None:
            self._file.flush()

    @property
    def in_file(self) -> bool:
        """Whether it is too large for memory."""
        return self._file is not None

    def data(self) -> bytes:
        """Return all of it."""
        if self._file is None:
            return bytes(self._memory)
        return self.path.read_bytes()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes that came in."""
        return unzipped(_read(self.path.open("rb")) if self._file is not None else iter((bytes(self._memory),)))

    def close(self) -> None:
        """Drop it."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self.path.unlink(missing_ok=True)
        self._memory.clear()

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.bytes_max:
            raise OverQuota(f"a task made more than {self.bytes_max >> 20} MiB", hint="keep less of it in its folder")
        try:
            if self._file is None:
                self._memory += data
                if len(self._memory) <= self._memory_bytes:
                    return
                self._file = open(self.path, "w+b", opener=_private)  # noqa: SIM115 - Path.open has no opener
                data = bytes(self._memory)
                self._memory.clear()
            self._file.write(data)
        except OSError as cause:
            raise DiskFull("what a task made does not fit on the disk of its runner") from cause


def packed(paths: Iterable[Path], base: Path, spool: Spool) -> None:
    """Pack files and folders that a person named, as seen from ``base``."""
    members = parcel.inputs(paths, base)
    if members:
        parcel.pack(members, spool.add)
    spool.finish()


def unzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what a compressed stream holds, in pieces of bounded size; PeerBroke for what is none."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                data = unpacker.decompress(rest, READ_BYTES)
                rest = unpacker.unconsumed_tail
                if data:
                    yield data
        data = unpacker.flush()
    except zlib.error as cause:
        raise PeerBroke(f"a task's files are damaged: {cause}") from None
    if data:
        yield data
    if not unpacker.eof:
        raise PeerBroke("a task's files are cut off")


def unpack_into(folder: Path, pieces: Iterator[bytes], *, force: bool = False) -> list[str]:
    """Unpack a compressed parcel into a folder: all of it or nothing; return the names of its files.

    A name that is taken is refused, unless ``force``: then the file that has it makes way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wos-", dir=folder) as made:
        fresh = Path(made)
        names = sorted(parcel.unpack(fresh, _receiver(unzipped(pieces))))
        taken = [name for name in names if _is_taken(folder, name)]
        if taken and not force:
            more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            raise BadRequest(
                f"{folder / taken[0]}{more} is there already", hint="name another folder, or say --force to overwrite"
            )
        for parent, folders, files in os.walk(fresh):
            below = os.path.relpath(parent, fresh)
            for name in folders:
                at = folder / below / name
                if not (Path(parent) / name).is_symlink():
                    if at.is_symlink() or (at.exists() and not at.is_dir()):
                        at.unlink()
                    at.mkdir(exist_ok=True)
            for name in [*files, *(each for each in folders if (Path(parent) / each).is_symlink())]:
                target = folder / below / name
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                os.replace(Path(parent) / name, target)
    return names


def _is_taken(folder: Path, name: str) -> bool:
    """Tell whether a name stands for something, or something that is no folder stands on the way to it."""
    at = folder / name
    if os.path.lexists(at):
        return True
    for above in at.parents:
        if above == folder:
            return False
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            return True
    return False


def _receiver(pieces: Iterator[bytes]) -> Callable[[], bytes]:
    return lambda: next(pieces, b"")


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(READ_BYTES):
            yield piece


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
