"""Audits: does a store still have what it took? One leaf at a time, asked for as any reader would.

A challenge names a leaf of a share that only a lot could foretell. The answer is the leaf itself with the list of its share's
digests, which the root in the signed manifest proves: nothing but the bytes passes, and no answer for one share passes for
another, so a copy elsewhere is no help. Since a challenge *is* a read, no store can be honest to auditors alone. A leaf is
drawn by weight of bytes; a store that lacks one share in a hundred is found by 460 challenges in 99 cases of 100.

What a store is worth is a Beta reputation as at Storj: good and bad answers, each fading by a thousandth with the next. One bad
answer counts its share as lost; below the cut *all* that the store has counts so. Silence is no answer and counts for
nothing: absence is judged by presence.py. Millionths and whole numbers only.

Source: Storj design documents, "storage node reputation" (lambda 0.999, cut-off 0.96); docs/decisions/0017-two-clocks.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate
from typing import Final

import msgspec

from worldos.errors import Damaged
from worldos.store import leaves
from worldos.store.limits import CHALLENGES_EXPOSE, CHALLENGES_MAX, LEAF_BYTES

MILLION: Final = 1_000_000
FADE_PPM: Final = 999_000
CUT_PPM: Final = 960_000
GOOD_START: Final = 1000 * MILLION  # a store begins with credit, and this is also the most it can have
ALERT_FACTOR: Final = 4  # who answered badly is asked so much more in the next round

assert GOOD_START * (MILLION - FADE_PPM) // MILLION == MILLION, (
    "one good answer pays for the fading of the best reputation"
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A share that a store is believed to have: what its manifest says."""

    share: bytes
    root: bytes
    size_bytes: int


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """Read this leaf of this share."""

    kept: Kept
    leaf: int

    @property
    def offset(self) -> int:
        """Where in the share the leaf begins."""
        return self.leaf * LEAF_BYTES

    @property
    def length(self) -> int:
        """How long it is."""
        return min(LEAF_BYTES, self.kept.size_bytes - self.offset)


class Verdict(StrEnum):
    """What an answer was worth."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"


class Reputation(msgspec.Struct, frozen=True, kw_only=True):
    """What a store's answers were worth so far, in millionths of an answer."""

    good: int = GOOD_START
    bad: int = 0
    answers: int = 0
    lies: int = 0  # bad answers ever

    @property
    def ppm(self) -> int:
        """The part of the answers that was good, as the fading sum sees it."""
        return self.good * MILLION // (self.good + self.bad)

    @property
    def trusted(self) -> bool:
        """Whether what this store has still counts."""
        return self.ppm >= CUT_PPM


def draw(shares: Sequence[Kept], count: int, dice: bytes) -> list[Challenge]:
    """Return ``count`` challenges, drawn by weight of bytes with the caller's dice; a leaf may come twice."""
    ends = list(accumulate(leaves.leaf_count(kept.size_bytes) for kept in shares))
    if not ends or not ends[-1]:
        return []
    drawn: list[Challenge] = []
    for number in range(min(count, CHALLENGES_MAX)):
        lot = int.from_bytes(blake2b(number.to_bytes(4, "big"), key=dice[:64], digest_size=16).digest(), "big")
        place = lot * ends[-1] >> 128
        at = _first_above(ends, place)
        drawn.append(Challenge(kept=shares[at], leaf=place - (ends[at - 1] if at else 0)))
    return drawn


def judge(challenge: Challenge, digests: bytes, data: bytes | memoryview) -> Verdict:
    """Weigh an answer: the leaf's bytes, and the list of its share."""
    try:
        leaves.check_digests(digests, challenge.kept.size_bytes, challenge.kept.root)
        leaves.check_leaf(digests, challenge.leaf, data)
    except Damaged:
        return Verdict.WRONG
    return Verdict.GOOD


def after(reputation: Reputation, verdict: Verdict) -> Reputation:
    """Return the reputation with one answer more."""
    good = verdict is Verdict.GOOD
    return Reputation(
        good=reputation.good * FADE_PPM // MILLION + (MILLION if good else 0),
        bad=reputation.bad * FADE_PPM // MILLION + (0 if good else MILLION),
        answers=reputation.answers + 1,
        lies=reputation.lies + (0 if good else 1),
    )


def challenges_due(reputation: Reputation, shares: int) -> int:
    """Return how many challenges a store of so many shares gets in a round: none twice over what it has, more on alert."""
    usual = min(CHALLENGES_EXPOSE, shares)
    alert = reputation.bad * ALERT_FACTOR > MILLION
    return min(CHALLENGES_MAX, usual * ALERT_FACTOR if alert else usual)


def _first_above(ends: Sequence[int], place: int) -> int:
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if ends[middle] > place:
            high = middle
        else:
            low = middle + 1
    return low
