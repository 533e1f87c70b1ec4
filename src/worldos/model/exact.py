"""Exactly: bytes that are signed or named by a hash have one form each, and every other one is refused.

Two spellings of one value would be two ids for one thing: an approval, a statement or an entry that counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from worldos.errors import PeerBroke

T = TypeVar("T")


def read_exactly(decode: Callable[[bytes], T], encode: Callable[[T], bytes], data: bytes, what: str) -> T:
    """Return what ``data`` says; PeerBroke unless it can be read, and would be written in these very bytes."""
    try:
        value = decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke(f"{what} cannot be read") from cause
    if encode(value) != data:
        raise PeerBroke(f"{what} is not in the one right encoding")
    return value
