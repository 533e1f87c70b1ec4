"""The fastest codec that this machine has: ISA-L by ctypes, or tables.

ISA-L multiplies at 20 GB/s and more (GFNI, AVX2, NEON, chosen by itself); it is taken from the system or from the wheel of
pyeclib, whose own interface is not used (it copies, and holds the GIL for whole calls). ctypes lets go of the GIL, so shares
are coded beside Python. Every library is first asked for bytes that are known, by all its paths; one that answers wrong, or
has no such functions, is passed over. Source: ISA-L ``include/isa-l/erasure_code.h``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from worldos.store.erasure import Buffer, Codec, TableCodec, WritableBuffer, check_shapes, parity_rows
from worldos.store.segment import FORMAT_AES, FORMAT_CHACHA

TABLE_BYTES: Final = 32  # of ISA-L, for each coefficient
TABLES_KEPT: Final = 4096
INT_MAX: Final = (1 << 31) - 1  # the library counts bytes in a C int
PARTS_MAX: Final = 256
TRIAL_BYTES: Final = (1, 31, 64, 1000)  # lengths that take different ways through the library
TRIAL_CODE: Final = (5, 11)
SYSTEM_NAMES: Final = ("libisal.so.2", "libisal.2.dylib", "isa-l.dll")

_READ: Final = 0  # PyBUF_SIMPLE
_WRITE: Final = 1  # PyBUF_WRITABLE


class _View(ctypes.Structure):
    """Py_buffer, as the C interface of Python lays it out."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


# Prototypes of our own: the functions of ``ctypes.pythonapi`` are shared by all modules, and so would be their types.
_get_buffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_View), ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release_buffer = ctypes.PYFUNCTYPE(None, ctypes.POINTER(_View))(("PyBuffer_Release", ctypes.pythonapi))


class _Scratch(threading.local):
    """Pointers of one thread, made once."""

    def __init__(self) -> None:
        self.views = (_View * (2 * PARTS_MAX))()
        self.by_number = [ctypes.pointer(view) for view in self.views]
        self.sources = (ctypes.c_void_p * PARTS_MAX)()
        self.targets = (ctypes.c_void_p * PARTS_MAX)()


class IsalCodec:
    """Intel's Intelligent Storage Acceleration Library, driven without a copy and without the GIL."""

    def __init__(self, path: str) -> None:
        self.path = path
        library = ctypes.CDLL(path)
        self._tables_for = library.ec_init_tables
        self._tables_for.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
        self._tables_for.restype = None
        self._encode = library.ec_encode_data
        self._encode.argtypes = (
            *(ctypes.c_int, ctypes.c_int, ctypes.c_int),
            *(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p),
        )
        self._encode.restype = None
        self._tables = functools.lru_cache(maxsize=TABLES_KEPT)(self._make_tables)
        self._scratch = _Scratch()
        self.name = f"ISA-L ({Path(path).name})"

    def _make_tables(self, rows: tuple[bytes, ...]) -> ctypes.Array[ctypes.c_char]:
        tables = ctypes.create_string_buffer(TABLE_BYTES * sum(map(len, rows)))
        self._tables_for(len(rows[0]), len(rows), b"".join(rows), tables)
        return tables

    def combine(self, rows: Sequence[bytes], sources: Sequence[Buffer], targets: Sequence[WritableBuffer]) -> None:
        """Write into each target the sum of all sources, each times its coefficient in the target's row."""
        size = check_shapes(rows, sources, targets)
        if not rows or not size:
            return
        if size > INT_MAX or max(len(sources), len(targets)) > PARTS_MAX:
            raise ValueError(f"{len(sources)} sources and {len(targets)} targets of {size} bytes are too much at once")
        tables = self._tables(tuple(rows))
        scratch = self._scratch
        held = 0
        try:
            for number, source in enumerate(sources):
                _get_buffer(source, scratch.by_number[held], _READ)
                scratch.sources[number] = scratch.views[held].buf
                held += 1
            for number, target in enumerate(targets):
                _get_buffer(target, scratch.by_number[held], _WRITE)
                scratch.targets[number] = scratch.views[held].buf
                held += 1
            self._encode(size, len(sources), len(targets), tables, scratch.sources, scratch.targets)
        finally:
            for view in scratch.by_number[:held]:
                _release_buffer(view)


def _libraries() -> Iterator[str]:
    """Name where ISA-L may lie: in the wheel of pyeclib (which is found, not imported), then in the system."""
    spec = importlib.util.find_spec("pyeclib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        beside = Path(folder).with_name("pyeclib.libs")
        yield from (str(path) for path in sorted(beside.glob("libisal*")))
    yield from SYSTEM_NAMES


def is_right(codec: Codec) -> bool:
    """Tell whether a codec writes the bytes that the tables write, at all lengths that matter."""
    k, n = TRIAL_CODE
    rows = parity_rows(k, n)
    for size in TRIAL_BYTES:
        sources = [bytes((7 * index + 3 * place + 1) & 0xFF for place in range(size)) for index in range(k)]
        found = [bytearray(size) for _ in rows]
        right = [bytearray(size) for _ in rows]
        codec.combine(rows, sources, found)
        TableCodec(numpy=False).combine(rows, sources, right)
        if found != right:
            return False
    return True


def native_codec() -> IsalCodec | None:
    """Load ISA-L, or return nothing where there is none that answers right."""
    for path in _libraries():
        try:
            codec = IsalCodec(path)
        except (OSError, AttributeError):  # not there, not for this machine, or without these functions
            continue
        if is_right(codec):
            return codec
    return None


@functools.lru_cache(maxsize=1)
def best_codec() -> Codec:
    """Return the fastest codec of this machine, always the same one."""
    return native_codec() or TableCodec()


def has_aes(cpu_info: str) -> bool:
    """Tell whether ``/proc/cpuinfo`` names instructions for AES."""
    return any("aes" in line.split() for line in cpu_info.splitlines() if line.startswith(("flags", "Features")))


@functools.lru_cache(maxsize=1)
def best_format() -> int:
    """Return the format of the segments that this machine seals: AES where it has instructions for it, else ChaCha20."""
    try:
        known = has_aes(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:  # not Linux: what runs macOS or Windows today has them
        known = True
    return FORMAT_AES if known else FORMAT_CHACHA
