"""Large buffers between two processes of one machine, through memory that both map.

The writer takes a segment from its pool, copies once, and names it in a frame; the reader sees the same pages, and they go
back to the pool when the reader's last view of them is gone. Segments are kept warm: fresh memory costs six times a copy
into memory that is there (FINDINGS). They are memfds, passed as descriptors: nothing has a name, so nothing can be left
behind, however a process ends. A segment is sealed against shrinking, so no reader can be made to fault.

A reader's view is a memoryview over an object of its own (a ctypes array), whose death is seen by a weak reference: whatever
is made of the view (NumPy arrays, slices of them) keeps it alive. Arguments are mapped read-only, results writable.
Sizes in bytes. Not for several threads at once, but for views, which may die in any.
Source: memfd_create(2), fcntl(2) F_ADD_SEALS; pickle protocol 5, PEP 574.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from worldos.errors import PeerBroke

SHARE_BYTES: Final = 256 * 1024
POOL_IDLE_BYTES: Final = 512 * 1024 * 1024
SEGMENTS_MAX: Final = 128
FIT_MAX: Final = 4  # a segment is not wasted on a buffer smaller than its fourth part

_PAGE: Final = mmap.PAGESIZE
_F_ADD_SEALS: Final = 1033
_F_GET_SEALS: Final = 1034
_F_SEAL_SHRINK: Final = 0x0002
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.memcpy.restype = ctypes.c_void_p
# Prototypes of our own: the functions of ``ctypes.pythonapi`` are shared by all modules, and so would be their types.
_GetBuffer: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_ReleaseBuffer: Final = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyBuffer_Release", ctypes.pythonapi))
_PY_BUFFER_BYTES: Final = 256  # sizeof(Py_buffer) is 80 on 64 bits; its first field is the address

_dying: Final = threading.RLock()


class _Held:
    """A C view of a buffer, for its address, while it is held."""

    def __init__(self, view: memoryview) -> None:
        self._c = ctypes.create_string_buffer(_PY_BUFFER_BYTES)
        _GetBuffer(view, self._c, 0)
        self.address = ctypes.c_void_p.from_buffer(self._c).value or 0

    def release(self) -> None:
        _ReleaseBuffer(self._c)


def address_of(view: memoryview) -> int:
    """Return where a contiguous buffer lies. Only good while the buffer is kept."""
    held = _Held(view)
    held.release()
    return held.address


class Mapping:
    """A memfd in this process's memory. It stays mapped while any view of it lives."""

    __slots__ = ("_doomed", "_live", "address", "size")

    def __init__(self, fd: int, size: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
        if address == _MAP_FAILED:
            raise MemoryError(f"{size} bytes cannot be mapped: {os.strerror(ctypes.get_errno())}")
        self.address: int = address
        self.size = size
        self._live: dict[int, weakref.ref[object]] = {}
        self._doomed = False

    def view(self, offset: int, size: int, on_dead: Callable[[], None], *, writable: bool) -> memoryview:
        """Return a view; ``on_dead`` is called, in any thread, when nothing refers to it any more."""
        exporter = (ctypes.c_char * size).from_address(self.address + offset)
        key = id(exporter)

        def died(_ref: weakref.ref[object]) -> None:
            with _dying:
                self._live.pop(key, None)
                on_dead()
                if self._doomed and not self._live:
                    self._unmap()

        self._live[key] = weakref.ref(exporter, died)
        view = memoryview(exporter).cast("B")
        return view if writable else view.toreadonly()

    @property
    def seen(self) -> bool:
        """Whether any view lives."""
        return bool(self._live)

    def doom(self) -> None:
        """Unmap as soon as no view lives."""
        with _dying:
            if not self._doomed:
                self._doomed = True
                if not self._live:
                    self._unmap()

    def _unmap(self) -> None:
        _libc.munmap(self.address, self.size)


class Segment:
    """A piece of memory of the pool. ``uses``: who still needs what is in it."""

    __slots__ = ("fd", "mapping", "number", "size", "uses")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.uses = 0
        self.fd = os.memfd_create("worldos", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            fcntl.fcntl(self.fd, _F_ADD_SEALS, _F_SEAL_SHRINK)
            self.mapping = Mapping(self.fd, size, writable=True)
        except BaseException:
            os.close(self.fd)
            raise

    def write(self, data: memoryview) -> None:
        """Copy into the segment; other threads run meanwhile."""
        held = _Held(data)
        try:
            self.copy(held.address, data.nbytes)
        finally:
            held.release()

    def copy(self, address: int, size: int) -> None:
        """Copy from an address."""
        assert size <= self.size
        _libc.memcpy(self.mapping.address, address, size)

    def bytes(self, size: int) -> memoryview:
        """Return the first bytes, while the caller counts as a use."""
        return memoryview((ctypes.c_char * size).from_address(self.mapping.address)).cast("B")

    def destroy(self) -> None:
        """Give the memory back to the system."""
        os.close(self.fd)
        self.mapping.doom()


class Pool:
    """Segments to write into, kept warm. ``retired``: numbers that readers should forget."""

    def __init__(self, idle_bytes_max: int = POOL_IDLE_BYTES) -> None:
        self.idle_bytes_max = idle_bytes_max
        self.retired: list[int] = []
        self._numbers = 0
        self._free: list[Segment] = []
        self._used: dict[int, Segment] = {}

    def take(self, size: int) -> Segment | None:
        """Return a segment of at least ``size`` bytes with one use, or None if there are too many already."""
        fits = [s for s in self._free if size <= s.size <= size * FIT_MAX]
        if fits:
            segment = min(fits, key=lambda s: s.size)
            self._free.remove(segment)
        elif len(self._used) + len(self._free) < SEGMENTS_MAX:
            self._numbers += 1
            try:
                segment = Segment(self._numbers, _rounded(size))
            except (OSError, MemoryError):  # no descriptors or no memory: the caller sends the bytes instead
                return None
        else:
            return None
        segment.uses = 1
        self._used[segment.number] = segment
        return segment

    def used(self, number: int) -> Segment | None:
        """Return a segment that is in use."""
        return self._used.get(number)

    def release(self, number: int, uses: int = 1) -> None:
        """End uses of a segment; at the last one it is free again."""
        segment = self._used.get(number)
        if segment is None:
            return
        segment.uses -= uses
        if segment.uses > 0:
            return
        del self._used[number]
        self._free.append(segment)
        while sum(s.size for s in self._free) > self.idle_bytes_max:
            oldest = self._free.pop(0)
            self.retired.append(oldest.number)
            oldest.destroy()

    def close(self) -> None:
        """Give everything back; what somebody still looks at, when he has done."""
        for segment in [*self._free, *self._used.values()]:
            segment.destroy()
        self._free.clear()
        self._used.clear()


def _rounded(size: int) -> int:
    """Round up to one of four sizes in each power of two, so that segments fit again."""
    step = max(SHARE_BYTES, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


class Windows:
    """The reader's side: segments of one other process, by their number there. ``released``: views that died."""

    def __init__(self, *, writable: bool) -> None:
        self.writable = writable
        self.released: list[int] = []
        self._mappings: dict[int, Mapping] = {}

    @property
    def mapped(self) -> bool:
        """Whether there is any segment."""
        return bool(self._mappings)

    def add(self, number: int, size: int, fd: int) -> None:
        """Map a segment; the descriptor is closed. Raises PeerBroke if it is not what it should be."""
        try:
            try:
                sealed = fcntl.fcntl(fd, _F_GET_SEALS) & _F_SEAL_SHRINK
            except OSError:
                sealed = 0
            if not sealed or not 0 < size <= os.fstat(fd).st_size or number in self._mappings:
                raise PeerBroke("a shared segment that is not sealed, too small, or not new")
            self._mappings[number] = Mapping(fd, size, writable=self.writable)
        finally:
            os.close(fd)

    def view(self, number: int, offset: int, size: int) -> memoryview:
        """Return a view of a segment. Raises PeerBroke if there is no such place."""
        mapping = self._mappings.get(number)
        if mapping is None or size <= 0 or offset < 0 or offset + size > mapping.size:
            raise PeerBroke(f"shared segment {number} has no {size} bytes at {offset}")
        released = self.released
        return mapping.view(offset, size, lambda: released.append(number), writable=self.writable)

    def locate(self, view: memoryview) -> tuple[int, int] | None:
        """Return segment and offset of a buffer that lies in one of the segments."""
        address = address_of(view)
        for number, mapping in self._mappings.items():
            if mapping.address <= address and address + view.nbytes <= mapping.address + mapping.size:
                return number, address - mapping.address
        return None

    def thaw(self, array: Any) -> tuple[Any, ...] | None:
        """Reduce an array that lies in a segment so that it is writable where it is loaded (it is read-only here)."""
        reduced = array.__reduce_ex__(5)
        if len(reduced) != 2 or not reduced[1] or type(reduced[1][0]) is not pickle.PickleBuffer:
            return None
        raw = reduced[1][0].raw()
        if raw.nbytes < SHARE_BYTES or self.locate(raw) is None:
            return None
        loose = (ctypes.c_char * raw.nbytes).from_address(address_of(raw))
        loose.kept = array  # type: ignore[attr-defined] # the memory stays as long as anything refers to it
        return reduced[0], (pickle.PickleBuffer(loose), *reduced[1][1:])

    def seen(self, number: int) -> bool:
        """Whether any view of a segment lives."""
        mapping = self._mappings.get(number)
        return mapping is not None and mapping.seen

    def copy(self, number: int, offset: int, size: int, target: Segment) -> None:
        """Copy from a segment of the other side into one of ours."""
        target.copy(self._mappings[number].address + offset, size)

    def take_released(self) -> list[int]:
        """Return the numbers of views that died since, once each."""
        count = len(self.released)
        numbers = self.released[:count]
        del self.released[:count]
        return numbers

    def drop(self, number: int) -> None:
        """Forget a segment that its owner has given up."""
        mapping = self._mappings.pop(number, None)
        if mapping is not None:
            mapping.doom()

    def close(self) -> None:
        """Forget all; what is still looked at stays until it is not."""
        for number in list(self._mappings):
            self.drop(number)
