"""A lease of memory: a place for bytes by key, with an exact limit on the bytes that it holds.

The limit counts the values; keys are few and short (``KEYS_MAX``, ``KEY_CHARS_MAX``), so what they cost is bounded. A
put that would go over the limit changes nothing. What is put is gone with the lease.
"""

from __future__ import annotations

from typing import Final

from worldos.drivers.lane_object import Bytes, Command, LaneObject
from worldos.errors import BadRequest, OverQuota

KEYS_MAX: Final = 65_536
KEY_CHARS_MAX: Final = 512


class MemoryLane(LaneObject):
    """Bytes by key, at most ``limit_bytes`` of them."""

    kind = "Memory"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._values: dict[str, bytes] = {}
        self.commands = {
            "put": Command(self.put, (str, Bytes)),
            "get": Command(self.get, (str,)),
            "delete": Command(self.delete, (str,)),
            "keys": Command(self.keys),
            "usage": Command(self.usage),
        }

    def put(self, key: str, value: bytes | bytearray | memoryview) -> None:
        """Keep a value, in place of the one that had this key."""
        size = memoryview(value).nbytes
        if len(key) > KEY_CHARS_MAX:
            raise BadRequest(f"a key has at most {KEY_CHARS_MAX} characters, not {len(key)}")
        if key not in self._values and len(self._values) >= KEYS_MAX:
            raise OverQuota(f"{KEYS_MAX} keys are the most that one lease of memory has")
        used = self.used_bytes - len(self._values.get(key, b"")) + size
        if used > self.limit_bytes:
            raise OverQuota(
                f"{size} bytes more do not fit: leased {self.limit_bytes} bytes, used {self.used_bytes}",
                hint="delete something, or lease more",
            )
        self._values[key] = value if isinstance(value, bytes) else bytes(value)
        self.used_bytes = used

    def get(self, key: str) -> bytes:
        """Return the value of a key; KeyError where there is none."""
        return self._values[key]

    def delete(self, key: str) -> None:
        """Forget a key and its value; KeyError where there is none."""
        self.used_bytes -= len(self._values.pop(key))

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        return sorted(self._values)

    def usage(self) -> tuple[int, int]:
        """Return the bytes that are used and those that are leased."""
        return (self.used_bytes, self.limit_bytes)
