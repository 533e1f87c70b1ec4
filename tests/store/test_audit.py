"""Who lacks something is found, nothing but the bytes passes, and the innocent keep their name."""

from __future__ import annotations

from collections import Counter

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from worldos.store import leaves
from worldos.store.audit import (
    CUT_PPM,
    MILLION,
    Challenge,
    Kept,
    Reputation,
    Verdict,
    after,
    challenges_due,
    draw,
    judge,
)
from worldos.store.limits import CHALLENGES_EXPOSE, CHALLENGES_MAX, LEAF_BYTES

SHARE = blake3(b"a share").digest(2 * LEAF_BYTES + 100)
DIGESTS = leaves.leaf_digests(SHARE)
KEPT = Kept(share=bytes(32), root=leaves.root_of(DIGESTS, len(SHARE)), size_bytes=len(SHARE))


def answered(leaf: int, share: bytes = SHARE) -> bytes:
    return share[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES]


@pytest.mark.parametrize("leaf", [0, 1, 2])
def test_the_leaf_itself_passes_also_the_short_last_one(leaf: int) -> None:
    challenge = Challenge(kept=KEPT, leaf=leaf)
    assert challenge.length == len(answered(leaf))
    assert judge(challenge, DIGESTS, answered(leaf)) is Verdict.GOOD


@given(st.integers(0, 2), st.data())
def test_one_flipped_bit_is_seen(leaf: int, data: st.DataObject) -> None:
    right = bytearray(answered(leaf))
    bit = data.draw(st.integers(0, len(right) * 8 - 1))
    right[bit // 8] ^= 1 << bit % 8
    assert judge(Challenge(kept=KEPT, leaf=leaf), DIGESTS, bytes(right)) is Verdict.WRONG


def test_another_leaf_or_share_or_a_list_of_its_own_does_not_pass() -> None:
    challenge = Challenge(kept=KEPT, leaf=1)
    assert judge(challenge, DIGESTS, answered(0)) is Verdict.WRONG
    other = blake3(b"another").digest(len(SHARE))
    assert judge(challenge, leaves.leaf_digests(other), answered(1, other)) is Verdict.WRONG
    assert judge(challenge, DIGESTS, answered(1, other)) is Verdict.WRONG
    assert judge(challenge, b"", b"") is Verdict.WRONG


def test_leaves_are_drawn_by_weight_and_every_one_may_come() -> None:
    small = Kept(share=b"s" * 32, root=bytes(32), size_bytes=LEAF_BYTES)
    large = Kept(share=b"l" * 32, root=bytes(32), size_bytes=3 * LEAF_BYTES)
    empty = Kept(share=b"e" * 32, root=bytes(32), size_bytes=0)
    drawn = draw([empty, small, empty, large, empty], 4000, b"dice")
    counts = Counter((challenge.kept.share[:1], challenge.leaf) for challenge in drawn)
    assert set(counts) == {(b"s", 0), (b"l", 0), (b"l", 1), (b"l", 2)}
    assert all(850 < count < 1150 for count in counts.values())
    assert draw([], 5, b"dice") == []
    assert draw([empty], 5, b"dice") == []


def test_the_draw_hangs_on_the_dice_and_has_a_bound() -> None:
    assert draw([KEPT], 20, b"a") == draw([KEPT], 20, b"a") != draw([KEPT], 20, b"b")
    assert len(draw([KEPT], 10 * CHALLENGES_MAX, b"a")) == CHALLENGES_MAX


def test_a_store_that_lacks_one_share_in_a_hundred_is_exposed_99_times_of_100() -> None:
    shares = [Kept(share=number.to_bytes(32, "big"), root=bytes(32), size_bytes=LEAF_BYTES) for number in range(1000)]
    missing = {shares[number].share for number in range(0, 1000, 100)}
    exposed = sum(
        any(challenge.kept.share in missing for challenge in draw(shares, CHALLENGES_EXPOSE, round_.to_bytes(4, "big")))
        for round_ in range(300)
    )
    assert exposed >= 291, "99 % of 300, less three standard deviations"


def test_an_honest_store_that_lost_a_share_keeps_its_name() -> None:
    reputation = Reputation()
    for number in range(2000):
        reputation = after(reputation, Verdict.MISSING if number % 100 == 0 else Verdict.GOOD)
    assert reputation.trusted
    assert reputation.lies == 20


def test_a_liar_is_cut_off_within_fifty_answers_and_wins_its_name_back_slowly() -> None:
    reputation, answers = Reputation(), 0
    while reputation.trusted:
        reputation, answers = after(reputation, Verdict.WRONG), answers + 1
    assert 30 < answers <= 50
    goods = 0
    while not reputation.trusted or goods < 1:
        reputation, goods = after(reputation, Verdict.GOOD), goods + 1
    assert reputation.ppm >= CUT_PPM


@given(st.lists(st.sampled_from(list(Verdict)), max_size=400))
def test_a_reputation_is_a_part_of_a_whole(verdicts: list[Verdict]) -> None:
    reputation = Reputation()
    for verdict in verdicts:
        reputation = after(reputation, verdict)
        assert 0 <= reputation.ppm <= MILLION
    assert reputation.lies == sum(verdict is not Verdict.GOOD for verdict in verdicts)


def test_who_answered_badly_is_asked_more() -> None:
    assert challenges_due(Reputation(), 10_000) == CHALLENGES_EXPOSE
    assert challenges_due(Reputation(), 3) == 3
    assert challenges_due(after(Reputation(), Verdict.WRONG), 10_000) == 4 * CHALLENGES_EXPOSE
