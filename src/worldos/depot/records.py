"""What a depot tells about itself: values only. Sizes in bytes, moments in ns since 1970.

Invariant: nothing here names what a share holds; a depot knows ids, sizes and whose they are.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """What one account keeps here, of one kind: ``share``, ``cache`` or ``log``."""

    owner: str
    kind: str
    size_bytes: int
    count: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept here. ``disk_bytes`` counts all packs, with what is in the trash and not yet compacted."""

    capacity_bytes: int
    disk_bytes: int
    free_bytes: int
    trash_bytes: int
    damaged: int
    owned: tuple[Owned, ...]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log goes here. ``whole``: entries 1 to this are all here. Equal ``digest``: the same entries."""

    log: bytes
    seq: int
    whole: int
    digest: bytes
    register: bool


class Cared(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is looked after: its locator, and the secret that lets a carer check it."""

    locator: bytes
    verify: bytes
    owner: str


class Scrubbed(msgspec.Struct, frozen=True, kw_only=True):
    """What a scrub found. ``next`` is where the next one goes on; nothing when all has been seen."""

    checked: int
    checked_bytes: int
    bad: tuple[bytes, ...]
    next: bytes


class Place(NamedTuple):
    """Where a frame lies."""

    pack: int
    offset: int
    meta_bytes: int
    body_bytes: int


class Row(NamedTuple):
    """What the index knows of a share. ``state_order``: the order of the frame that said the state."""

    pack: int
    offset: int
    meta_bytes: int
    body_bytes: int
    size_bytes: int
    order: int
    state: int
    state_order: int
    at_ns: int
    owner: int
    kind: int
    mark: bytes
