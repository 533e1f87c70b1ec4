"""The files of a depot: append-only packs, one of them open for more.

``packs/%08x.wpk``; what a frame looks like stands in ``store.pack``. Order of things: bytes, then ``sync`` (fdatasync), then the
acknowledgement; a new pack's name is on the disk (fsync of the folder) before anything in it is acknowledged. Room is taken from
the disk ahead of the writing, so that a full disk shows before a byte is written; the last ``CONTROL_BYTES`` of it are kept for
frames that give room back (drops). After a write or sync that failed the pack takes no more frames: what the disk holds then is
unknown (Rebello et al., "Can applications recover from fsync failures?", ATC 2020), and the next frames go into a new one.

One thread appends; any thread reads. Sizes and offsets in bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

from worldos.depot.limits import CONTROL_BYTES, PACKS_OPEN_MAX, ROOM_AHEAD_BYTES, WINDOW_BYTES
from worldos.errors import AlreadyRunning, CorruptFile, DiskFull
from worldos.home import sync_folder
from worldos.store import pack as frames
from worldos.store.limits import PACK_BYTES, PACK_META_BYTES_MAX, PACK_NUMBER_MAX
from worldos.store.pack import ALIGN_BYTES, HEADER_BYTES, KEY_BYTES, MAGIC, PAGE_BYTES, Buffer, Header

_WRITE_PARTS_MAX: Final = 1024  # IOV_MAX
_PUNCH: Final = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_ZERO: Final = 0x10  # FALLOC_FL_ZERO_RANGE: the bytes read as zeros, and their blocks stay ours
_sync = getattr(os, "fdatasync", os.fsync)


class Found(NamedTuple):
    """A frame met on a walk. ``body`` holds until the next one; ``good``: its trailer fits."""

    header: Header
    meta: memoryview
    body: memoryview
    good: bool


class Packs:
    """The packs of one folder, held by this process alone."""

    def __init__(self, folder: Path, *, new_key: bytes, pack_bytes: int = PACK_BYTES) -> None:
        self.folder = folder / "packs"
        self.pack_bytes = pack_bytes
        self._open: OrderedDict[int, FileIO] = OrderedDict()
        self._lock = threading.Lock()
        self._active: FileIO | None = None
        self.active = -1
        self._newest = -1  # the last pack that was made: older ones never change again
        self.end = 0  # of the active pack
        self._allocated = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = _hold(folder)
            self.key = self._find_key(folder / "key", new_key)
        except OSError as cause:
            raise DiskFull(f"the depot {folder} cannot be written") from cause

    def close(self) -> None:
        """Give back what was taken ahead, and let the folder go."""
        if self._active is not None:
            self._seal(keep=CONTROL_BYTES)
        with self._lock:
            self._open.clear()
        os.close(self._held)

    # -- what there is

    def numbers(self) -> list[int]:
        """Return the numbers of all packs, in order."""
        return sorted(int(file.stem, 16) for file in self.folder.glob("????????.wpk"))

    def sealed(self) -> list[int]:
        """Return the packs that take no more frames."""
        newest, active = self._newest, self.active
        return [number for number in self.numbers() if number < newest or (number == newest and active < 0)]

    def file(self, pack: int) -> Path:
        """Return the file of a pack."""
        return self.folder / f"{pack:08x}.wpk"

    def size(self, pack: int) -> int:
        """Return the length of a pack, without what was taken ahead."""
        return self.end if pack == self.active else os.fstat(self._reading(pack).fileno()).st_size

    def disk_bytes(self, pack: int) -> int:
        """Return what a pack takes on the disk."""
        blocks = os.fstat(self._reading(pack).fileno()).st_blocks * 512
        return blocks - max(0, self._allocated - self.end) if pack == self.active else blocks

    # -- reading

    def read(self, pack: int, offset: int, length: int, into: memoryview | None = None) -> memoryview:
        """Read exactly ``length`` bytes, into the caller's buffer if given; CorruptFile where the pack is shorter."""
        target = memoryview(bytearray(length)) if into is None else into[:length]
        descriptor = self._reading(pack)
        done = 0
        while done < length:
            got = os.preadv(descriptor.fileno(), [target[done:]], offset + done)
            if not got:
                raise CorruptFile(f"the pack {pack:08x} ends at {offset + done}")
            done += got
        return target

    def walk(self, pack: int, offset: int = 0) -> Iterator[Found]:
        """Return the frames of a pack from ``offset``, where one ends, looking past what is damaged."""
        window = Window(self._reading(pack))
        at = self._after(window, max(offset, HEADER_BYTES))
        while at + HEADER_BYTES <= window.size:
            try:
                found = self._frame(window, pack, at)
            except CorruptFile:
                at = self._next_magic(window, at + ALIGN_BYTES)
                continue
            yield found
            at = self._after(window, found.header.end)

    def frame(self, pack: int, offset: int, window: Window | None = None) -> Found:
        """Read one frame whole, through the ``window`` of a reader who goes forward; CorruptFile if none lies there."""
        if window is None:
            window = Window(self._reading(pack), ahead=HEADER_BYTES + PACK_META_BYTES_MAX)
        return self._frame(window, pack, offset)

    def window(self, pack: int) -> Window:
        """Return a buffer through which to read many frames of a pack, forward."""
        return Window(self._reading(pack))

    def _after(self, window: Window, end: int) -> int:
        """Find where the next frame begins: at the next border, or at the next page if it is a large one."""
        at = frames.start_of(end, 0)
        page = frames.start_of(end, frames.PAGED_FROM_BYTES + 1)
        if at == page or at + len(MAGIC) > window.size or bytes(window.view(at, len(MAGIC))) == MAGIC:
            return at
        if page + len(MAGIC) <= window.size and bytes(window.view(page, len(MAGIC))) == MAGIC:
            return page
        return at

    def _frame(self, window: Window, pack: int, at: int) -> Found:
        header = frames.read_header(window.view(at, HEADER_BYTES), at)
        if header.end > window.size:
            raise CorruptFile("a pack ends inside of a frame")
        head = bytes(window.view(at, HEADER_BYTES + header.meta_bytes))
        meta = frames.check_header(self.key, pack, header, head)
        rest = window.view(header.body_at, header.body_bytes + frames.TRAILER_BYTES)
        body = rest[: header.body_bytes]
        good = bytes(rest[header.body_bytes :]) == frames.trailer_of(header.id, body)
        return Found(header, meta, body, good)

    @staticmethod
    def _next_magic(window: Window, at: int) -> int:
        while (at := window.next_data(at)) < window.size:
            length = min(WINDOW_BYTES, window.size - at)
            hit = bytes(window.view(at, length)).find(MAGIC)
            while hit >= 0 and (at + hit) % ALIGN_BYTES:
                hit = bytes(window.view(at, length)).find(MAGIC, hit + 1)
            if hit >= 0:
                return at + hit
            at += length // ALIGN_BYTES * ALIGN_BYTES or length
        return window.size

    def _reading(self, pack: int) -> FileIO:
        with self._lock:
            file = self._open.get(pack)
            if file is not None:
                self._open.move_to_end(pack)
                return file
            try:
                file = FileIO(self.file(pack), "rb")
            except FileNotFoundError:
                raise CorruptFile(f"the pack {pack:08x} is gone") from None
            self._open[pack] = file
            while len(self._open) > PACKS_OPEN_MAX:
                self._open.popitem(last=False)  # closed when its last reader has done
            return file

    # -- writing: one thread

    def resume(self, pack: int, end: int) -> None:
        """Go on in a pack that ends at ``end``: what lies after it is made zeros, its room is kept for a disk that is full."""
        file = FileIO(self.file(pack), "rb+")
        allocated = os.fstat(file.fileno()).st_size
        if allocated > end and not _fallocate(file, _ZERO, end, allocated - end):
            os.ftruncate(file.fileno(), end)
            allocated = end
        if allocated < end + CONTROL_BYTES:
            with contextlib.suppress(OSError):  # there is no more
                _allocate(file.fileno(), end + CONTROL_BYTES)
                allocated = end + CONTROL_BYTES
        os.fsync(file.fileno())
        self._active, self.active, self._newest, self.end, self._allocated = file, pack, pack, end, allocated

    def cut(self, pack: int, end: int) -> None:
        """Give back what was taken ahead in a sealed pack, by a process that was killed before it could."""
        if os.fstat(self._reading(pack).fileno()).st_size > end:
            _cut_at(FileIO(self.file(pack), "rb+"), end)

    def make_room(self, length: int, *, control: bool) -> tuple[int, int]:
        """Take room for ``length`` bytes of frames and return (pack, end) after which they go; DiskFull if there is none."""
        if self._active is None or self.end >= self.pack_bytes:
            try:
                self._roll()
            except DiskFull:
                if not control or self._active is None:
                    raise
        spare = 0 if control else CONTROL_BYTES
        if self.end + length + spare > self._allocated:
            self._take(self.end + length + spare)
        return self.active, self.end

    def write(self, parts: list[Buffer], end: int) -> None:
        """Write frames from ``self.end`` to ``end``; they count after ``sync`` only."""
        assert self._active is not None
        at = self.end
        for first in range(0, len(parts), _WRITE_PARTS_MAX):
            at = self._write_some(parts[first : first + _WRITE_PARTS_MAX], at)
        assert at == end

    def _write_some(self, parts: list[Buffer], at: int) -> int:
        assert self._active is not None
        length = sum(len(part) for part in parts)
        done = os.pwritev(self._active.fileno(), parts, at)
        if done < length:  # rare: a signal, or a full disk that says so at the next write
            rest = memoryview(b"".join(parts))
            while done < length:
                done += os.pwrite(self._active.fileno(), rest[done:], at + done)
        return at + length

    def sync(self, end: int) -> None:
        """See all that was written on the disk; from here on the pack ends at ``end``."""
        assert self._active is not None
        _sync(self._active.fileno())
        self.end = end

    def abandon(self) -> None:
        """Write no more into the active pack: a write or sync of it failed."""
        if self._active is not None:
            self._seal()

    def remove(self, pack: int) -> None:
        """Remove a sealed pack for good."""
        assert pack < self._newest or self.active < 0
        self.file(pack).unlink(missing_ok=True)
        with self._lock:
            self._open.pop(pack, None)
        sync_folder(self.folder)

    def punch(self, pack: int, offset: int, length: int) -> int:
        """Give the whole pages inside of these bytes back to the disk; return how many bytes it has now more."""
        first = -(-offset // PAGE_BYTES) * PAGE_BYTES
        last = (offset + length) // PAGE_BYTES * PAGE_BYTES
        if last <= first:
            return 0
        try:
            with FileIO(self.file(pack), "rb+") as file:
                before = os.fstat(file.fileno()).st_blocks
                _fallocate(file, _PUNCH, first, last - first)
                return max(0, before - os.fstat(file.fileno()).st_blocks) * 512  # nothing where a hole was before
        except OSError:
            return 0

    def _roll(self) -> None:
        number = max([self._newest, *self.numbers()]) + 1
        if number > PACK_NUMBER_MAX:
            raise DiskFull("this depot has used up the numbers of its packs")
        try:
            file = FileIO(os.open(self.file(number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "rb+")
        except OSError as cause:
            raise DiskFull("no new pack can be made") from cause
        try:
            os.pwrite(file.fileno(), frames.opening_of(self.key, number), 0)
            _allocate(file.fileno(), HEADER_BYTES + CONTROL_BYTES)
            os.fsync(file.fileno())
            sync_folder(self.folder)
        except OSError as cause:
            file.close()
            self.file(number).unlink(missing_ok=True)
            raise DiskFull("no new pack can be made") from cause
        full, end = self._active, self.end
        self._active, self.active, self._newest, self.end = file, number, number, HEADER_BYTES
        self._allocated = HEADER_BYTES + CONTROL_BYTES
        if full is not None:
            _cut_at(full, end)

    def _take(self, length: int) -> None:
        assert self._active is not None
        for wanted in (length + min(ROOM_AHEAD_BYTES, self.pack_bytes), length):
            try:
                _allocate(self._active.fileno(), wanted)
            except OSError as cause:
                if cause.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or wanted == length:
                    raise DiskFull("the disk of this depot is full") from cause
            else:
                self._allocated = wanted
                return

    def _seal(self, *, keep: int = 0) -> None:
        assert self._active is not None
        _cut_at(self._active, min(self.end + keep, self._allocated))
        self._active, self.active, self._allocated = None, -1, 0

    def _find_key(self, file: Path, new_key: bytes) -> bytes:
        """Read the key; each pack carries it as well, so that one damaged block costs no depot."""
        if file.exists() and len(key := file.read_bytes()) == KEY_BYTES:
            return key
        key = new_key
        numbers = self.numbers()
        for number in numbers:
            try:
                key, _ = frames.read_opening(self.read(number, 0, HEADER_BYTES))
                break
            except CorruptFile:
                continue
        else:
            if numbers:
                raise CorruptFile(f"{file} is lost, and no pack has it")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with FileIO(descriptor, "wb") as out:
            out.write(key)
            os.fsync(descriptor)
        sync_folder(file.parent)
        return key


class Window:
    """A pack read forward through one buffer."""

    def __init__(self, file: FileIO, *, ahead: int = WINDOW_BYTES) -> None:
        self._file = file
        self._ahead = ahead
        self._at = 0
        self._buffer = self._data = memoryview(b"")
        self.size = os.fstat(file.fileno()).st_size

    def view(self, offset: int, length: int) -> memoryview:
        """Return these bytes; they must lie in the file. They hold until the next view."""
        start = offset - self._at
        if start < 0 or start + length > len(self._data):
            wanted = min(max(length, self._ahead), self.size - offset)
            if len(self._buffer) < wanted:
                self._buffer = memoryview(bytearray(wanted))
            self._data = memoryview(b"")
            got = os.preadv(self._file.fileno(), [self._buffer[:wanted]], offset)
            if got < length:
                raise CorruptFile("a pack is shorter than it was")
            self._at, self._data, start = offset, self._buffer[:got], 0
        return self._data[start : start + length]

    def next_data(self, offset: int) -> int:
        """Return where, from here on, something was ever written."""
        try:
            data = os.lseek(self._file.fileno(), offset, os.SEEK_DATA)
        except OSError:
            return self.size
        return data // ALIGN_BYTES * ALIGN_BYTES if data > offset else offset


def _hold(folder: Path) -> int:
    """Become the one process of this folder."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another process keeps the depot {folder}", hint="one process keeps a depot") from None
    return descriptor


def _cut_at(file: FileIO, end: int) -> None:
    """Give back what was taken ahead in a pack that takes no more frames."""
    with file, contextlib.suppress(OSError):  # what is left after the end holds nothing that was acknowledged
        os.ftruncate(file.fileno(), end)
        os.fsync(file.fileno())


def _allocate(descriptor: int, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, length)
    else:
        os.ftruncate(descriptor, max(length, os.fstat(descriptor).st_size))


def _fallocate(file: FileIO, mode: int, offset: int, length: int) -> bool:
    """Do with these bytes what only Linux and some of its file systems can; return whether it was done."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return not library.fallocate(file.fileno(), mode, offset, length)
