"""Following: what a person uses on one device is near on the one where that person is now.

Each device tells the others of its account what is used there: a register of its own in all stores, sealed for the account, with
the verify secrets of the hottest files, which open none of them. Where files are used now, its keeper fetches
what is hot, here or anywhere, into this machine's ``memory``: the most heat for each byte first, a segment at a time, within the
room there is. Nobody has to say that he moved: to use files on a device is to be there. No clock of another device
decides anything. Moments in ns since 1970.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from typing import Annotated

import msgspec

from worldos.depot.codec import best_codec
from worldos.errors import WorldError
from worldos.files import logs
from worldos.files.fetching import Fetch, holders_of
from worldos.files.limits import (
    FETCH_AHEAD_EVERY_S,
    FOLLOW_EVERY_S,
    LINK_BYTES_PER_S,
    PRESENT_S,
    TELL_EVERY_S,
    USES_TOLD_MAX,
)
from worldos.files.memory import Memory
from worldos.files.roots import belonging_of, own_roots
from worldos.files.stores import Stores
from worldos.files.uses import Book, read_book
from worldos.home import Home
from worldos.store.entry import NONCE_BYTES, open_body, seal_body, sign_entry
from worldos.store.erasure import coded_bytes
from worldos.store.heat import Heats, Warm, Wish
from worldos.store.keys import Bytes32, derive, locator_of
from worldos.store.manifest import Segment, open_map
from worldos.trust.keys import DeviceKey, node_id_of

_SECOND_NS = 1_000_000_000
_EVERY_NS = round(FOLLOW_EVERY_S * _SECOND_NS)


class Used(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How hot one file is on the device that tells of it."""

    file: Bytes32
    heat: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    step: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Told(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a device tells the others of its account: what is used there."""

    version: int
    used: Annotated[tuple[Used, ...], msgspec.Meta(max_length=USES_TOLD_MAX)]


_VERSION = 1
_told = msgspec.msgpack.Decoder(Told)


class FollowingLoop:
    """The keeper's part: tells what is used here, and fetches what is hot while someone is here."""

    def __init__(self, home: Home, stores: Stores) -> None:
        self._home = home
        self._stores = stores
        self._folder = home.path / "files"
        self._memory: Memory | None = None
        self._told_ns = self._looked_ns = self._fitted_ns = 0
        self._told_of = 0  # the last use that was told
        self._book, self._read_ns = Book(), -1
        self._wanted: deque[tuple[Segment, bytes]] = deque()
        self._codec = best_codec()

    def step(self, now_ns: int) -> int:
        """Do one thing; return when the next is due."""
        if not self._folder.exists():
            return now_ns + _EVERY_NS
        memory = self._kept()
        if self._wanted:
            self._fetch(memory, *self._wanted.popleft())
            return now_ns
        if _is_due(self._fitted_ns, FETCH_AHEAD_EVERY_S, now_ns):
            self._fitted_ns = now_ns
            memory.fit()
        book = self._read()
        if abs(now_ns - book.used_ns) > PRESENT_S * _SECOND_NS:
            return now_ns + _EVERY_NS  # nobody is here
        if _is_due(self._looked_ns, FETCH_AHEAD_EVERY_S, now_ns):
            self._looked_ns = now_ns
            self._look(memory, book.warm, now_ns)
        if book.used_ns != self._told_of and _is_due(self._told_ns, TELL_EVERY_S, now_ns):
            with contextlib.suppress(WorldError):  # it is told again soon
                self._tell(book.warm)
                self._told_of = book.used_ns
            self._told_ns = now_ns
        return now_ns if self._wanted else now_ns + _EVERY_NS

    def _read(self) -> Book:
        """Read what was used here, if it was written since it was last read."""
        try:
            written_ns = (self._folder / "uses").stat().st_mtime_ns
        except FileNotFoundError:
            return Book()
        if written_ns != self._read_ns:
            self._book, self._read_ns = read_book(self._folder), written_ns
        return self._book

    def close(self) -> None:
        """Let what is being kept arrive."""
        if self._memory is not None:
            self._memory.close()

    def _kept(self) -> Memory:
        if self._memory is None:
            self._memory = Memory(self._folder, self._stores, belonging_of(self._home).account)
        return self._memory

    def _tell(self, warm: Sequence[Warm]) -> None:
        roots, here = own_roots(self._home), belonging_of(self._home)
        if roots is None:
            return
        mine = [each for each in warm if each.place == here.key.node_id]
        tell(self._stores, roots.directory_keys[0], here.key, mine)

    def _look(self, memory: Memory, warm: Sequence[Warm], now_ns: int) -> None:
        """Find what is hot and not here."""
        roots, here = own_roots(self._home), belonging_of(self._home)
        if roots is None:
            return
        others = [device for device in here.active if device != here.key.public]
        elsewhere = told_by(self._stores, roots.directory_keys, others)
        for verify in wishes_of(warm, elsewhere, here.key.node_id, now_ns, memory.room_bytes):
            self._wanted += [(segment, verify) for segment in self._segments(verify) if not memory.has(segment)]

    def _segments(self, verify: bytes) -> Sequence[Segment]:
        locator = locator_of(verify)
        entry = logs.last(self._stores.reachable(), [locator]).get(locator)
        try:
            return open_map(entry.body, verify).segments if entry is not None else ()
        except WorldError:
            return ()  # a file of a newer World OS, or a store that lies: who reads it sees which

    def _fetch(self, memory: Memory, segment: Segment, verify: bytes) -> None:
        """Bring one segment near. ``memory`` sees whether it is what its owner signed."""
        if memory.has(segment) or memory.are_here([segment], verify):
            return
        stores = self._stores.reachable()
        (holders,) = holders_of(stores, [segment], verify)
        buffer = memoryview(bytearray(coded_bytes(segment.size_bytes, segment.k)))
        with contextlib.suppress(WorldError):  # what cannot be had now is not missed: nobody asked for it
            Fetch(segment, verify, holders, self._codec, buffer).whole()
            memory.keep(segment, verify, buffer, wanted=True)


def wishes_of(
    warm: Sequence[Warm], elsewhere: Sequence[Warm], place: str, now_ns: int, room_bytes: int
) -> Sequence[bytes]:
    """Say which files to fetch to ``place``, the first one first: what is used on other devices, and what is hot here.

    What was used here once or twice is not fetched whole: who read all of it has it near, and who looked into it may not want
    the rest.
    """
    heats, used = Heats(warm), {each.file for each in elsewhere}
    ours = [each for each in warm if each.place == place]
    hot = [each for each in ours if each.file in used or heats.wish(each.file, place, now_ns) is Wish.WHOLE]
    return Heats([*elsewhere, *hot]).prefetch(
        place, now_ns, held=(), room_bytes=room_bytes, link_bytes_per_s=LINK_BYTES_PER_S
    )


def tell(stores: Stores, directory_key: bytes, device: DeviceKey, warm: Sequence[Warm]) -> None:
    """Write into this device's register what is used here, the hottest first."""
    hottest = sorted(warm, key=lambda each: (-each.step, -each.heat, each.file))[:USES_TOLD_MAX]
    used = tuple(Used(file=each.file, heat=each.heat, step=each.step, size_bytes=each.size_bytes) for each in hottest)
    log = register_of(directory_key, device.public)
    reachable = stores.reachable()
    before = logs.last(reachable, [log], thorough=True).get(log)
    seq = before.seq + 1 if before is not None and before.public == device.public else 1
    plain = msgspec.msgpack.encode(Told(version=_VERSION, used=used))
    body = seal_body(_body_key(directory_key), plain, os.urandom(NONCE_BYTES), about=log)
    logs.append(reachable, [sign_entry(device, log, seq, body, register=True)])


def told_by(stores: Stores, directory_keys: Sequence[bytes], devices: Sequence[bytes]) -> list[Warm]:
    """Return what other devices, by their public keys, last told that is used there."""
    found: list[Warm] = []
    for key in directory_keys:
        by_log = {register_of(key, device): device for device in devices}
        for log, entry in sorted(logs.last(stores.reachable(), list(by_log), thorough=True).items()):
            if entry.public != by_log[log]:
                continue
            try:
                told = _told.decode(open_body(_body_key(key), entry.body, about=log))
            except (WorldError, msgspec.DecodeError, RecursionError):
                continue  # of a newer World OS, or written over by a store: the next one is good again
            place = node_id_of(by_log[log])
            found += [
                Warm(file=each.file, place=place, heat=each.heat, step=each.step, size_bytes=each.size_bytes)
                for each in told.used
            ]
    return found


def register_of(directory_key: bytes, device: bytes) -> bytes:
    """Return the id of the register in which a device tells what is used on it."""
    return derive(directory_key, "following", device)


def _body_key(directory_key: bytes) -> bytes:
    return derive(directory_key, "following body")


def _is_due(last_ns: int, every_s: float, now_ns: int) -> bool:
    """Whether something is due; a clock that was set back makes it so."""
    return not last_ns <= now_ns < last_ns + round(every_s * _SECOND_NS)
