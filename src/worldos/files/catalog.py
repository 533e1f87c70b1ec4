"""The directory as this session has it: read from the logs of all devices, changed by entries of our own log.

Reading asks this machine's store first (the keeper brings what others wrote), and all others at the beginning and where
something is missing. Changes of all threads that come while one is being kept go into the next entry together (group
commit). Programs of one home take turns by a lock on a file: a number of our log is never given to two entries. An entry that
may have left without a store of this machine having it lies in the home (``unsent``) and is sent again before any other.
A sealed copy of the merged directory in the home spares reading everything anew; it is believed only as far as it opens.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worldos.agent.home import write_durably
from worldos.errors import DiskFull, Refused, Unreachable, WorldError
from worldos.files import logs
from worldos.files.limits import (
    DIRECTORY_LOOK_S,
    OPEN_PATIENCE_S,
    OPS_BYTES_MAX,
    OPS_PER_ENTRY_MAX,
    SNAPSHOT_AFTER_OPS,
)
from worldos.files.stores import Store, Stores
from worldos.files.turns import Told, Turns
from worldos.store.directory import Directory
from worldos.store.entry import Entry, decode_entry, encode_entry, open_body, seal_body, sign_entry
from worldos.store.keys import derive
from worldos.store.ops import Change, FileRef, Op, Put, encode_change, read_change
from worldos.trust.keys import DeviceKey

Make = Callable[[Directory], Sequence[Op]]
_MAGIC = b"wos-directory-1\n"
_NONCE_BYTES = 12


def log_of(directory_key: bytes, device: bytes) -> bytes:
    """Return the id of the log in which a device (its public key) writes what it does to the directory."""
    return derive(directory_key, "directory log", device)


def writer_of(directory_key: bytes, device: bytes) -> bytes:
    """Return what the directory calls the writer of that log: a device has one for each root that the account ever had."""
    return derive(directory_key, "directory writer", device)


@dataclass(frozen=True)
class Log:
    """One log of the directory: its id, who signs it, what opens it, what the directory calls its writer, and people."""

    id: bytes
    public: bytes
    body_key: bytes
    writer: bytes
    name: str


@dataclass
class _Wish:
    """One change that a thread wants: how it is made, and the paths that it touches."""

    make: Make
    paths: tuple[str, ...]
    done: Future[None] = field(default_factory=Future)


class Catalog:
    """The directory, to look at and to change. ``devices`` names all devices that ever wrote: public key -> name."""

    def __init__(
        self,
        folder: Path,
        directory_keys: Sequence[bytes],
        device: DeviceKey,
        stores: Stores,
        devices: Callable[[], Mapping[bytes, str]],
    ) -> None:
        self._folder = folder
        self._keys = tuple(directory_keys)  # the first is that of what is written now
        self._body_keys = [derive(key, "directory body") for key in self._keys]
        self._device = device
        self._writer = writer_of(self._keys[0], device.public)
        self._stores = stores
        self._devices = devices
        self._lock = threading.RLock()
        self._leading = threading.Lock()
        self._wishes: list[_Wish] = []
        self._wishing = threading.Lock()
        self._looked_at_s = -DIRECTORY_LOOK_S
        self._own_last = 0
        self._unsaved_ops = 0
        self.notices: list[str] = []
        self._told = Told(0, 0)
        self._directory = self._restored()
        self._turns = Turns(folder / "lock", log_of(self._keys[0], device.public))

    # -- looking ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def look(self, *, at_once: bool = False) -> Iterator[Directory]:
        """Lend the directory, as new as is good enough, for the length of a block; it does not change meanwhile."""
        with self._lock:
            if at_once or self._is_old():
                self.refresh()
            yield self._directory

    def refresh(self, *, thorough: bool = False, patience_s: float = OPEN_PATIENCE_S) -> None:
        """Take in what devices wrote since: as far as this machine's store has it, or ``thorough`` all of them.

        Others may have what this machine's does not, so they are given ``patience_s`` to answer.
        """
        with self._lock:
            self._looked_at_s = time.monotonic()
            self._told = self._turns.told()
            logs_ = self._logs()
            self._directory.names = {log.writer: log.name for log in logs_}
            reachable = self._stores.reachable()
            stores = [store for store in reachable if not store.doubted] or reachable  # slow ones are better than none
            here = [store for store in stores if store.at.here]
            if here and not thorough:
                self._read(here, logs_, 0.0)
                if not (self._directory.missing() or self._behind() or self._told.last > self._last()):
                    return
            self._read(stores, logs_, patience_s)

    # -- changing --------------------------------------------------------------------------------------------------------

    def change(self, make: Make, *paths: str) -> None:
        """Carry out what ``make`` says of the directory as it is then; return when it is kept.

        ``make`` runs under the lock, perhaps more than once; ``paths`` are those that it touches: changes of other threads that
        touch none of them may go into the same entry.
        """
        wish = _Wish(make, paths)
        with self._wishing:
            self._wishes.append(wish)
        while not wish.done.done():
            with self._leading:
                if not wish.done.done():
                    self._lead()
        wish.done.result()

    def change_many(self, makes: Sequence[tuple[Make, str]]) -> None:
        """Carry out many changes of different paths, in as few entries as they fit into."""
        wishes = [_Wish(make, (path,)) for make, path in makes]
        with self._wishing:
            self._wishes += wishes
        for wish in wishes:
            while not wish.done.done():
                with self._leading:
                    if not wish.done.done():
                        self._lead()
            wish.done.result()

    def acknowledge(self) -> bool:
        """Tell the other devices what this one has seen, if it has not; whether it had not. History ends only when all have."""
        with self._turn():
            if not self._directory.owes_ack(self._writer):
                return False
            self._append(())
            return True

    def forget(
        self, now_ns: int, active: Collection[bytes], let_go: Callable[[Directory, Sequence[FileRef]], None]
    ) -> None:
        """Drop from the history what all ``active`` devices (their public keys) know to be gone for 30 days.

        ``let_go`` is called with the files of which nothing is left, before that is written down: if we die in between, it comes
        again.
        """
        with self._lock:
            forgotten = self._directory.forget(now_ns, [writer_of(self._keys[0], device) for device in active])
            try:
                let_go(self._directory, forgotten)
            except BaseException:
                self._directory, self._unsaved_ops = self._restored(), 0  # as if nothing had been forgotten
                raise
            self._unsaved_ops = SNAPSHOT_AFTER_OPS  # how old what is gone is stands in the copy alone
            self.save()

    def save(self) -> None:
        """Write the copy in the home anew, if much has changed since."""
        with self._lock:
            if self._unsaved_ops < SNAPSHOT_AFTER_OPS:
                return
            nonce = os.urandom(_NONCE_BYTES)
            sealed = AESGCM(derive(self._keys[0], "directory copy")).encrypt(nonce, self._directory.snapshot(), _MAGIC)
            with contextlib.suppress(DiskFull):  # it only spares time
                write_durably(self._folder / "directory", _MAGIC + nonce + sealed)
            self._unsaved_ops = 0

    def close(self) -> None:
        """Write the copy, and let go of the lock's file."""
        self.save()
        self._turns.close()

    # -- committing, as the one thread that leads ----------------------------------------------------------------------------

    def _lead(self) -> None:
        with self._wishing:
            wishes, self._wishes = self._wishes, []
        try:
            with self._turn():
                while wishes:
                    wishes = self._keep(wishes)
        except BaseException as error:
            for wish in wishes:
                if not wish.done.done():
                    wish.done.set_exception(
                        error if isinstance(error, WorldError) else Unreachable("it was interrupted")
                    )
            if not isinstance(error, WorldError):
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the one program of this home that writes to our log, with all of it read."""
        with self._lock, self._turns.taken():
            if self._send_unsent() or self._is_old():
                self.refresh()
            if self._behind():
                self.refresh(thorough=True)
            if self._behind():
                missing = len(self._directory.missing())
                raise Unreachable(
                    f"entries of {max(1, missing)} devices that this device has seen are out of reach now",
                    hint="start the other devices: a change made without them could be lost",
                )
            yield

    def _keep(self, wishes: list[_Wish]) -> list[_Wish]:
        """Put as many wishes as go together into one entry, and keep it; return the rest."""
        ops: list[Op] = []
        taken: list[_Wish] = []
        touched: set[str] = set()
        above: set[str] = set()
        size = 0
        for place, wish in enumerate(wishes):
            if len(ops) >= OPS_PER_ENTRY_MAX or size >= OPS_BYTES_MAX or _collide(wish.paths, touched, above):
                rest = wishes[place:]
                break
            try:
                made = wish.make(self._directory)
            except WorldError as error:
                wish.done.set_exception(error)
                continue
            ops += made
            size += sum(_size_of(op) for op in made)
            taken.append(wish)
            touched.update(wish.paths)
            above.update(up for path in wish.paths for up in _above(path))
        else:
            rest = []
        try:
            if ops:
                self._append(_once(ops))
        except WorldError as error:
            for wish in taken:
                wish.done.set_exception(error)
            return rest
        for wish in taken:
            wish.done.set_result(None)
        return rest

    def _append(self, ops: Sequence[Op]) -> None:
        number = self._last() + 1
        change = self._directory.change(self._writer, ops, time.time_ns())
        body = seal_body(self._body_keys[0], encode_change(change), os.urandom(_NONCE_BYTES))
        entry = sign_entry(self._device, log_of(self._keys[0], self._device.public), number, body)
        unsent = self._folder / "unsent"
        stores = [store for store in self._stores.reachable() if store.at.here or not store.doubted]
        self._turns.tell()  # the others look again, should we die in between
        try:
            logs.append(
                stores or self._stores.reachable(),
                [entry],
                before_others=lambda: write_durably(unsent, encode_entry(entry)),
            )
        except (logs.NothingSent, Refused, DiskFull):
            unsent.unlink(missing_ok=True)  # no store has it, for certain
            raise
        except BaseException:
            self._looked_at_s = -DIRECTORY_LOOK_S
            write_durably(unsent, encode_entry(entry))  # some store may have it: the number is taken
            raise
        unsent.unlink(missing_ok=True)
        self._merge(self._writer, entry.seq, change)
        self._told = self._turns.tell(entry.seq)

    def _is_old(self) -> bool:
        """Whether it is a while since we looked, or another program of this home has written since."""
        return time.monotonic() > self._looked_at_s + DIRECTORY_LOOK_S or self._turns.told() != self._told

    def _send_unsent(self) -> bool:
        """Send again what may have left and was not acknowledged; return whether there was such."""
        unsent = self._folder / "unsent"
        try:
            entry = decode_entry(unsent.read_bytes())
        except FileNotFoundError:
            return False
        except WorldError:
            unsent.unlink(missing_ok=True)  # cut short before anything was sent: it was never whole
            return False
        logs.append(self._stores.reachable(), [entry])
        unsent.unlink(missing_ok=True)
        return True

    def _last(self) -> int:
        """Return the number of the last entry of our own log that is merged."""
        return self._directory.heads().get(self._writer, 0)

    def _behind(self) -> bool:
        """Whether entries of our own are known that cannot be merged yet: to write now would be to fork our log."""
        return self._own_last > self._last()

    # -- reading logs ----------------------------------------------------------------------------------------------------

    def _logs(self) -> list[Log]:
        devices = {self._device.public: "", **self._devices()}
        return [
            Log(log_of(key, device), device, body_key, writer_of(key, device), name)
            for key, body_key in zip(self._keys, self._body_keys, strict=True)
            for device, name in sorted(devices.items())
        ]

    def _read(self, stores: Sequence[Store], logs_: Sequence[Log], patience_s: float) -> None:
        heads = self._directory.heads()
        by_id = {log.id: log for log in logs_}
        after = {(log.id, log.public): heads.get(log.writer, 0) for log in logs_}
        found = logs.read_new(stores, after, patience_s=patience_s)
        for which, entries in found.items():
            log = by_id[which]
            for entry in entries:
                if log.writer == self._writer:
                    self._own_last = max(self._own_last, entry.seq)
                if not self._open(log, entry):
                    break

    def _open(self, log: Log, entry: Entry) -> bool:
        """Open and merge one entry; whether those after it may be."""
        try:
            self._merge(log.writer, entry.seq, read_change(open_body(log.body_key, entry.body)))
        except WorldError as error:
            notice = f"the directory log of {log.name or log.public.hex()[:8]}: {error}"
            if notice not in self.notices:
                self.notices.append(notice)
            return False
        return True

    def _merge(self, writer: bytes, seq: int, change: Change) -> None:
        if writer == self._writer:
            self._own_last = max(self._own_last, seq)
        if self._directory.apply(writer, seq, change):
            self._unsaved_ops += len(change.ops)

    def _restored(self) -> Directory:
        try:
            data = (self._folder / "directory").read_bytes()
            if not data.startswith(_MAGIC):
                return Directory()
            nonce, sealed = data[len(_MAGIC) :][:_NONCE_BYTES], data[len(_MAGIC) + _NONCE_BYTES :]
            plain = AESGCM(derive(self._keys[0], "directory copy")).decrypt(nonce, sealed, _MAGIC)
            return Directory.restore(plain)
        except (OSError, InvalidTag, WorldError):
            return Directory()  # none yet, or not whole: everything is in the logs


def _collide(paths: Sequence[str], touched: set[str], above: set[str]) -> bool:
    """Whether one of the paths is another's, or above or below one."""
    return any(path in touched or path in above or not touched.isdisjoint(_above(path)) for path in paths)


def _above(path: str) -> list[str]:
    found = []
    while path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def _once(ops: Sequence[Op]) -> list[Op]:
    """Drop repetitions: many files in a new folder each make it."""
    seen: set[Op] = set()
    unique: list[Op] = []
    for op in ops:
        if isinstance(op, Put):
            unique.append(op)
        elif op not in seen:
            seen.add(op)
            unique.append(op)
    return unique


def _size_of(op: Op) -> int:
    return 200 + len(op.file.inline) if isinstance(op, Put) else 200
