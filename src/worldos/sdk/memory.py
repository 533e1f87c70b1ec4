"""Memory: bytes by key in a process of their own, on a node that has room. An exact limit; gone with the lease.

with use("Memory", "2GB") as memory:
    memory["a"] = b"..."
    memory.get("a")
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from worldos.errors import LeaseEnded
from worldos.sdk.device import Device


class Memory(Device):
    """A place for bytes by key. Values come back as bytes; a value that does not fit is refused with ``OverQuota``."""

    def put(self, key: str, value: bytes | bytearray | memoryview) -> None:
        """Keep a value, in place of the one that had this key."""
        self.command("put", key, value)

    def get(self, key: str, default: bytes | None = None) -> bytes | None:
        """Return the value of a key, or ``default``."""
        try:
            return self[key]
        except KeyError:
            return default

    def delete(self, key: str) -> None:
        """Forget a key and its value; KeyError where there is none."""
        self.command("delete", key)

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        return list(self.command("keys"))

    def usage(self) -> tuple[int, int]:
        """Return the bytes that are used and those that are leased."""
        used, leased = self.command("usage")
        return used, leased

    def command(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Do one thing. A process that was lost took what it kept along: that is said, never passed over."""
        self._check_whole()
        try:
            return super().command(name, *args, **kwargs)
        finally:
            self._check_whole()

    def __getitem__(self, key: str) -> bytes:
        return bytes(self.command("get", key))

    def __setitem__(self, key: str, value: bytes | bytearray | memoryview) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def _check_whole(self) -> None:
        if self._part.lane.statistics().losses:
            raise LeaseEnded("the process that kept these bytes has ended, and they with it", hint="ask for a new one")
