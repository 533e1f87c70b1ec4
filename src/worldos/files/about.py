"""What people and programs are told about files: values only, bounded where they come from (the directory, the depots).

Sizes are in bytes, times in ns of the wall clock of the device that wrote (for people, never compared in a decision).
"""

from __future__ import annotations

import msgspec

from worldos.store.ops import FileRef


class About(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the directory. ``name`` is its whole path; ``digest`` the BLAKE3 of the plain bytes, empty for folders."""

    name: str
    folder: bool = False
    size_bytes: int = 0
    modified_ns: int = 0
    digest: bytes = b""
    media: str = ""
    mode: int = 0
    target: str = ""  # where a symbolic link points
    conflict: bool = False  # written at the same time as another of this name, on another device


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What once had a name. ``id`` is what ``get`` and ``undelete`` take; the newest comes first."""

    id: str
    name: str
    at_ns: int
    device: str
    size_bytes: int = 0
    digest: bytes = b""
    removed: bool = False  # this version is the one that was removed
    current: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a name and all below it take: as people count it, and on all devices together."""

    files: int = 0
    folders: int = 0
    plain_bytes: int = 0
    stored_bytes: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a put or get is. ``total_bytes`` is -1 where the end is not known."""

    name: str
    done_bytes: int
    total_bytes: int = -1
    done_files: int = 0
    notice: str = ""  # something a person should know: a name that was skipped, and why


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How safe a file is now: its code, on how many devices it lies, and how many of those may be lost."""

    name: str
    k: int
    n: int
    devices: int
    survives: int
    debt: int = 0  # shares that are still missing
    repairing: bool = False
    below_policy: bool = False
    size_bytes: int = 0
    nodes: tuple[str, ...] = ()  # names of the devices that hold something of it
    near: bool = False  # all of it can be read on this device without any other
    heat: int = 0  # how much it is used here, in thousandths of a use: half is gone after a week

    @property
    def code(self) -> str:
        """Return the code as people say it."""
        return f"{self.k}-of-{self.n}"


class StoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device that lends space. ``used_bytes`` is what it keeps for this account, where it could be asked."""

    node: str
    name: str
    place: str = ""
    here: bool = False
    linked: bool = False
    capacity_bytes: int = 0
    free_bytes: int = 0
    used_bytes: int = 0
    shares: int = 0
    rtt_us: int = 0


class StorageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All stores of the account, and what new files get."""

    stores: tuple[StoreRow, ...]
    k: int
    n: int
    below_policy: bool
    survives: int
    files: int = 0
    folders: int = 0
    plain_bytes: int = 0
    debt: int = 0


def file_about(path: str, ref: FileRef, *, conflict: bool = False) -> About:
    """Say what people are told of a file under this name."""
    return About(
        name=path,
        size_bytes=ref.size_bytes,
        modified_ns=ref.modified_ns,
        digest=ref.digest,
        media=ref.media,
        mode=ref.mode,
        target=ref.target,
        conflict=conflict,
    )
