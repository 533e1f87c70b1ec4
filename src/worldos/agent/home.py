"""The home of a node on disk: made once, opened by one agent at a time, every file checked before it is believed.

What must survive a power cut (key, key log, the boot number) is written to a new file, synced, and renamed, and the folder is
synced too. A damaged file is named and never overwritten: the owner decides.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from worldos.config import Home
from worldos.errors import AlreadyRunning, CorruptFile, DiskFull, NotAllowed
from worldos.home import sync_folder
from worldos.model.ids import NodeId, ResourceId
from worldos.model.resource import HistoryLine
from worldos.model.wire import LogEntry

if TYPE_CHECKING:
    from worldos.trust.keys import DeviceKey

T = TypeVar("T")

KEY_SEED_BYTES = 32
FOLDER_MODE = 0o700
LOOK_S = 0.001
LOOKERS_S = 2.0  # so long those who only look at the lock may stand in an agent's way, one after the other
KEYLOG_MAGIC = b"wos-keylog-1\n"
STATE_MAGIC = b"wos-state-1\n"


class Remembered(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a node remembers between its lives. ``boot`` counts them."""

    boot: int = 0
    peers: dict[NodeId, tuple[str, ...]] = {}
    history: dict[ResourceId, list[HistoryLine]] = {}
    speed_mips: int = 0
    speed_of: str = ""


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, and refuse one that another user could have laid there."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        about = folder.stat()
        if about.st_uid != os.getuid():
            raise NotAllowed(f"{folder} belongs to another user", hint="name another home: WORLDOS_HOME=/path")
        if about.st_mode & 0o777 != FOLDER_MODE:
            folder.chmod(FOLDER_MODE)
    except OSError as cause:
        raise DiskFull(f"{folder} cannot be made or used") from cause


def write_durably(file: Path, data: bytes) -> None:
    """Replace a file as a whole, mode 0600, or leave the old one: never half of it."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(file.parent)
    except OSError as cause:
        raise DiskFull(f"{file} cannot be written") from cause


def lock(home: Home) -> int:
    """Become the one agent of this home; the lock goes with the process. Returns the file's descriptor."""
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise DiskFull(f"{home.lock_file} cannot be written") from cause
    until_s = time.monotonic() + LOOKERS_S
    while not _locks(descriptor, fcntl.LOCK_EX):
        if not _locks(descriptor, fcntl.LOCK_SH) or time.monotonic() > until_s:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(f"an agent (process {pid or 'unknown'}) runs on {home.path} already")
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # it is only looked at: that is over in a moment
        time.sleep(LOOK_S)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def running_pid(home: Home) -> int | None:
    """Return the process number of the agent that holds this home, if one does. Who looks keeps no agent from starting."""
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        until_s = time.monotonic() + LOOKERS_S
        while not _locks(descriptor, fcntl.LOCK_SH):
            text = os.pread(descriptor, 32, 0).strip()
            if text.isdigit() or time.monotonic() > until_s:
                return int(text) if text.isdigit() else None
            time.sleep(LOOK_S)  # it has just begun, and says next which process it is
        return None
    finally:
        os.close(descriptor)


def _locks(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_key(home: Home) -> DeviceKey:
    """Read the device key, or make one on a new machine."""
    from worldos.trust.keys import DeviceKey  # noqa: PLC0415 - libsodium, which most commands do without

    try:
        seed = home.key_file.read_bytes()
    except FileNotFoundError:
        seed = secrets.token_bytes(KEY_SEED_BYTES)
        write_durably(home.key_file, seed)
    except OSError as cause:
        raise _unreadable(home.key_file) from cause
    if len(seed) != KEY_SEED_BYTES:
        hint = "restore it from a backup; or move it away and claim this machine again with: wos join TICKET"
        raise CorruptFile(f"the device key {home.key_file} has {len(seed)} bytes, not {KEY_SEED_BYTES}", hint=hint)
    if home.key_file.stat().st_mode & 0o077:
        home.key_file.chmod(0o600)
    return DeviceKey.from_seed(seed)


def read_keylog(home: Home) -> tuple[LogEntry, ...]:
    """Return the entries of the account's key log; empty on a new machine."""
    return _read(home.keylog_file, KEYLOG_MAGIC, tuple[LogEntry, ...]) or ()


def write_keylog(home: Home, entries: tuple[LogEntry, ...]) -> None:
    """Store the whole key log durably."""
    write_durably(home.keylog_file, KEYLOG_MAGIC + msgspec.msgpack.encode(entries))


def write_keylog_to(file: Path, entries: tuple[LogEntry, ...]) -> None:
    """Write a copy of the key log for people to keep."""
    write_durably(file.absolute(), KEYLOG_MAGIC + msgspec.msgpack.encode(entries))


def read_keylog_from(file: Path) -> tuple[LogEntry, ...]:
    """Read such a copy."""
    return _read(file, KEYLOG_MAGIC, tuple[LogEntry, ...]) or ()


def read_remembered(home: Home) -> Remembered:
    """Return what was remembered, or a blank memory on a new machine."""
    return _read(home.state_file, STATE_MAGIC, Remembered) or Remembered()


def write_remembered(home: Home, remembered: Remembered) -> None:
    """Store what is to be remembered."""
    write_durably(home.state_file, STATE_MAGIC + msgspec.msgpack.encode(remembered))


def _read(file: Path, magic: bytes, kind: type[T]) -> T | None:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise _unreadable(file) from cause
    try:
        if not data.startswith(magic):
            raise msgspec.DecodeError("it does not begin as it should")
        return msgspec.msgpack.decode(data[len(magic) :], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise CorruptFile(f"{file} is damaged: {cause}", hint=f"move it away: mv {file} {file}.damaged") from cause


def _unreadable(file: Path) -> NotAllowed:
    return NotAllowed(f"{file} cannot be read", hint=f"it must be a file of yours: ls -l {file}")
