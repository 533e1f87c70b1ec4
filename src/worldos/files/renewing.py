"""A new root for the account's files when somebody who could open the old one is put out.

A root is *over* when it is wrapped for a device that was put out, or for words that were replaced; of keys that the log does not
know yet nothing is concluded. What was written under it stays open to all that have it; what is new is written under the next
one. It goes to all devices and the words, and to the guardians of before, but for those who are out. A feature code cannot be
carried over, since nobody but its owner knows it: it opens what was written before, until it is set again.
"""

from __future__ import annotations

import os
from typing import Protocol

from worldos.store import keyring
from worldos.store.keyring import GuardianWrap, Keyring, KeyWrap, Root, Wrap
from worldos.store.limits import BEQUEST_SLOTS, ROOTS_MAX

ROOTS_RENEWED_MAX = ROOTS_MAX - 8  # beyond, no root is made: to drop the oldest is to lose what was written under it
RENEW_TURN_STEPS = 8  # looks of the keyring loop: so much later the next device makes the root that is missing


class Belongs(Protocol):
    """What is asked of a device's account: who may open the root, and who may no more."""

    @property
    def entitled(self) -> tuple[bytes, ...]:
        """Keys of active devices, and the words."""
        ...

    @property
    def out(self) -> tuple[bytes, ...]:
        """Keys that count no more."""
        ...


def is_over(root: Root | None, here: Belongs) -> bool:
    """Tell whether a root is known to somebody who was put out."""
    if root is None:
        return False
    out = frozenset(here.out)
    return any(wrap.to in out for wrap in root.wraps if isinstance(wrap, KeyWrap))


def renewed(ring: Keyring, here: Belongs) -> Keyring:
    """Return the keyring with a fresh root above all others, wrapped for everybody who may have it."""
    newest = ring.newest
    assert newest is not None, "only a root that is there can be over"
    secret = _secret(ring)
    wraps: list[Wrap] = [keyring.wrap_for_key(secret, public, os.urandom(32)) for public in sorted(set(here.entitled))]
    wraps += _guardians(newest, secret, here)
    return keyring.with_wraps(
        ring, secret, wraps, generation=newest.generation + 1, feature=newest.feature, guardians=newest.guardians
    )


def _secret(ring: Keyring) -> bytes:
    """Return a fresh root whose bequest has a register to itself, as long as one is free: registers belong to one key."""
    taken = {keyring.bequest_slot(root.id) for root in ring.roots}
    secret = os.urandom(32)
    while len(taken) < BEQUEST_SLOTS and keyring.bequest_slot(keyring.id_of_root(secret)) in taken:
        secret = os.urandom(32)
    return secret


def _guardians(old: Root, secret: bytes, here: Belongs) -> tuple[GuardianWrap, ...]:
    """Split the new root among those who guarded the old one; nothing if too few of them are left."""
    parts = [wrap for wrap in old.wraps if isinstance(wrap, GuardianWrap) and wrap.number == old.guardians]
    names = {wrap.to: wrap.name for wrap in parts if wrap.to not in here.out}
    need = max((wrap.need for wrap in parts), default=0)
    if not names or len(names) < need:
        return ()
    chance = os.urandom(keyring.guardian_chance_bytes(need, len(names)))
    at_ns = max(wrap.at_ns for wrap in parts)
    return keyring.wrap_for_guardians(secret, names, need, chance, number=old.guardians, at_ns=at_ns)
