"""Storage: a folder with an exact quota on a disk somewhere, with files as Python's own. Gone with the lease.

with use("Storage", "10GB") as disk:
    with disk.open("a/b.txt", "w") as file:
        file.write("hello")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

from worldos.drivers.remote_file import open_remote
from worldos.sdk.device import Device


@dataclass(frozen=True)
class Entry:
    """One thing in a folder. ``type`` is ``file``, ``folder`` or ``other``."""

    name: str
    type: str
    size: int


@dataclass(frozen=True)
class About:
    """What is known of a file or folder; ``changed_ns`` is the wall clock of its own node."""

    type: str
    size: int
    changed_ns: int


class Storage(Device):
    """A folder of one's own. What does not fit is refused with ``OverQuota`` and changes nothing."""

    def open(self, path: str, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None) -> IO[Any]:
        """Open a file as Python's ``open`` does: text unless ``mode`` has a ``b``. Writing makes missing folders."""
        return open_remote(self.command, path, mode, encoding=encoding, newline=newline)

    def list(self, path: str = "") -> list[Entry]:
        """Return what is in a folder, sorted by name."""
        return [Entry(*entry) for entry in self.command("list", path)]

    def stat(self, path: str) -> About:
        """Say what a file or folder is."""
        return About(**self.command("stat", path))

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it; one that is there already is no error."""
        self.command("mkdir", path)

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder."""
        self.command("remove", path)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder; a file in the target's place is replaced, at once and whole."""
        self.command("rename", source, target)

    def usage(self) -> tuple[int, int]:
        """Return the bytes that are used and those that are leased."""
        used, leased = self.command("usage")
        return used, leased
