"""Keyrings: a root comes back by each of its wraps, and by nothing else."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import BadRequest, Damaged, PeerBroke
from worldos.store import keyring
from worldos.store.entry import seal_body, sign_entry
from worldos.store.keyring import (
    FeatureWrap,
    GuardianWrap,
    Keyring,
    KeyWrap,
    decode_keyring,
    encode_keyring,
    guarded_by,
    guardian_chance_bytes,
    id_of_root,
    keyring_log,
    lacking,
    open_by_feature,
    open_by_key,
    part_of,
    root_of_parts,
    united,
    with_wraps,
    wrap_for_feature,
    wrap_for_guardians,
    wrap_for_key,
)
from worldos.store.limits import FEATURE_KIB_MAX, ROOTS_MAX
from worldos.trust.keys import DeviceKey, id_of

ACCOUNT = id_of(b"a" * 32)
ROOT, OTHER = b"r" * 32, b"o" * 32
LAPTOP, PHONE, WORDS = (DeviceKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
NONCE = b"n" * 12


def fresh(number: int) -> bytes:
    return number.to_bytes(32, "big")


def ring_of(root: bytes, *keys: DeviceKey, generation: int = 1) -> Keyring:
    wraps = [wrap_for_key(root, key.public, fresh(place + 1)) for place, key in enumerate(keys)]
    return with_wraps(Keyring(), root, wraps, generation=generation)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 at its real cost is for one test; the others ask what comes of it."""
    monkeypatch.setattr(keyring, "FEATURE_KIB", 128)


def test_the_bytes_of_a_keyring_are_those_of_the_specification() -> None:
    assert keyring_log(ACCOUNT, LAPTOP.public).hex()[:16] == "45f855ab089b6526"
    assert id_of_root(ROOT).hex()[:16] == "10c00a4281dca1e2"
    assert keyring.directory_key(ROOT).hex()[:16] == "d550a93d1c5af0a2"
    assert keyring.chunk_key(ROOT).hex()[:16] == "4a6bb56957693325"
    assert msgspec.msgpack.encode(ring_of(ROOT, LAPTOP)).hex() == (
        "81a5726f6f74739195c42010c00a4281dca1e2a8a1cee10d7105c91a1d9438863382c3c174716166d40599019193a36b6579"
        "c4208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5cc450fd3384e132ad02a56c78f45547ee"
        "40038dc79002b90d29ed90e08eee762ae715147c5da7d485239e4163427d44270c0de7667b14472b40276d9cd35bfade3527"
        "61f9dc75e3ab27b90f79a92db86ed1760000"
    )


def test_each_device_and_the_words_open_the_root_and_nobody_else() -> None:
    ring = ring_of(ROOT, LAPTOP, PHONE, WORDS)
    for key in (LAPTOP, PHONE, WORDS):
        assert open_by_key(ring, key) == {id_of_root(ROOT): ROOT}
    assert open_by_key(ring, DeviceKey.from_seed(bytes(32))) == {}


def test_a_wrap_that_holds_another_root_than_it_says_is_passed_over() -> None:
    lie = KeyWrap(to=LAPTOP.public, box=wrap_for_key(OTHER, LAPTOP.public, fresh(9)).box)
    junk = KeyWrap(to=LAPTOP.public, box=bytes(80))
    short = wrap_for_key(b"short", LAPTOP.public, fresh(8))
    ring = with_wraps(ring_of(ROOT, PHONE), ROOT, [lie, junk, short])
    assert open_by_key(ring, LAPTOP) == {}
    good = with_wraps(ring, ROOT, [wrap_for_key(ROOT, LAPTOP.public, fresh(7))])
    assert open_by_key(good, LAPTOP) == {id_of_root(ROOT): ROOT}


def test_who_has_no_wrap_yet_is_known() -> None:
    newest = ring_of(ROOT, LAPTOP, WORDS).newest
    assert newest is not None
    assert lacking(newest, [LAPTOP.public, PHONE.public, WORDS.public]) == [PHONE.public]


def test_two_first_roots_made_at_one_time_are_both_kept_and_one_is_used() -> None:
    one, two = ring_of(ROOT, LAPTOP), ring_of(OTHER, PHONE)
    assert united(one, two) == united(two, one)
    newest = united(one, two).newest
    assert newest is not None
    assert newest.id == min(id_of_root(ROOT), id_of_root(OTHER))
    later = united(one, two, ring_of(b"x" * 32, LAPTOP, generation=2)).newest
    assert later is not None
    assert later.id == id_of_root(b"x" * 32)
    assert Keyring().newest is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 3)), max_size=6), st.randoms())
@settings(max_examples=40)
def test_union_comes_to_one_in_every_order(said: list[tuple[int, int, int]], dice: random.Random) -> None:
    keys = (LAPTOP, PHONE, WORDS)
    rings = [ring_of(bytes([root]) * 32, keys[key], generation=generation) for root, key, generation in said]
    whole = united(*rings)
    dice.shuffle(rings)
    assert united(*rings, *rings) == whole
    step = Keyring()
    for ring in rings:
        step = united(step, ring)
    assert step == whole


def test_more_roots_than_there_may_be_leave_the_newest() -> None:
    rings = [with_wraps(Keyring(), fresh(number), [], generation=number + 1) for number in range(ROOTS_MAX + 5)]
    whole = united(*rings)
    assert len(whole.roots) == ROOTS_MAX
    assert min(root.generation for root in whole.roots) == 6


# -- feature code ---------------------------------------------------------------------------------------------------------


def test_a_feature_code_opens_the_root_at_the_full_cost() -> None:
    wrap = wrap_for_feature(ROOT, "  a code of mine ", b"s" * 32)
    assert (wrap.kib, wrap.passes) == (256 * 1024, 3)
    assert open_by_feature(with_wraps(Keyring(), ROOT, [wrap]), "a code of mine") == {id_of_root(ROOT): ROOT}


@pytest.mark.usefixtures("cheap")
def test_a_wrong_feature_code_is_told_and_none_at_all_is_no_error() -> None:
    ring = with_wraps(ring_of(ROOT, LAPTOP), ROOT, [wrap_for_feature(ROOT, "straße", b"s" * 32)])
    assert open_by_feature(ring, "stra\u00dfe") == {id_of_root(ROOT): ROOT}
    with pytest.raises(BadRequest, match="does not open"):
        open_by_feature(ring, "strasse")
    with pytest.raises(BadRequest, match="1 to 1024"):
        open_by_feature(ring, "  ")
    assert open_by_feature(ring_of(ROOT, LAPTOP), "whatever") == {}


@pytest.mark.usefixtures("cheap")
def test_the_key_of_a_feature_code_is_argon2id() -> None:
    """Two spellings of one text are one code: NFKC; and the key is what RFC 9106 makes of it."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    ring = with_wraps(Keyring(), ROOT, [wrap_for_feature(ROOT, composed, b"s" * 32)])
    assert open_by_feature(ring, decomposed)
    wrap = ring.roots[0].wraps[0]
    assert isinstance(wrap, FeatureWrap)
    key = hash_secret_raw(composed.encode(), wrap.salt, wrap.passes, wrap.kib, wrap.lanes, 32, Type.ID)
    assert keyring._feature_key(wrap, composed) == key


def test_a_wrap_cannot_make_a_machine_spend_without_end() -> None:
    greedy = FeatureWrap(number=0, salt=bytes(32), kib=FEATURE_KIB_MAX + 1, passes=1, lanes=1, box=bytes(48))
    ring = Keyring(roots=(keyring.Root(id=bytes(32), generation=1, wraps=(greedy,)),))
    with pytest.raises(PeerBroke):
        decode_keyring(encode_keyring(ring, ACCOUNT, NONCE), ACCOUNT)


# -- guardians ------------------------------------------------------------------------------------------------------------

GUARDIANS = [DeviceKey.from_seed(bytes([number]) * 32) for number in range(50, 55)]


def guarded() -> Keyring:
    chance = random.Random(1).randbytes(guardian_chance_bytes(3, 5))
    return with_wraps(
        Keyring(),
        ROOT,
        wrap_for_guardians(ROOT, {key.public: f"friend {place}" for place, key in enumerate(GUARDIANS)}, 3, chance),
    )


def test_any_three_of_five_guardians_give_the_root_back() -> None:
    ring = guarded()
    parts = []
    for key in GUARDIANS:
        ((root_id, wrap),) = guarded_by(ring, key.public)
        parts.append(part_of(wrap, root_id, key))
    for some in itertools.combinations(parts, 3):
        assert root_of_parts(some, id_of_root(ROOT)) == ROOT
    with pytest.raises(BadRequest, match="takes 3"):
        root_of_parts(parts[:2], id_of_root(ROOT))


def test_a_guardian_that_gives_a_false_part_is_noticed() -> None:
    ring = guarded()
    parts = [part_of(guarded_by(ring, key.public)[0][1], id_of_root(ROOT), key) for key in GUARDIANS[:3]]
    parts[1] = msgspec.structs.replace(parts[1], data=bytes(32))
    with pytest.raises(Damaged, match="not what was given out"):
        root_of_parts(parts, id_of_root(ROOT))


def test_a_part_opens_for_its_guardian_alone() -> None:
    ring = guarded()
    root_id, wrap = guarded_by(ring, GUARDIANS[0].public)[0]
    with pytest.raises(Damaged):
        part_of(wrap, root_id, GUARDIANS[1])
    with pytest.raises(Damaged):
        part_of(msgspec.structs.replace(wrap, split=bytes(32)), root_id, GUARDIANS[0])
    assert guarded_by(ring, LAPTOP.public) == []
    assert all(isinstance(kept, GuardianWrap) for kept in ring.roots[0].wraps)


def test_a_split_wants_its_chance_and_all_of_it() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        wrap_for_guardians(ROOT, {LAPTOP.public: "a", PHONE.public: "b"}, 2, bytes(32))


def test_other_guardians_take_the_place_of_those_before_wherever_both_are_known() -> None:
    chance = bytes(guardian_chance_bytes(2, 2))
    names = {LAPTOP.public: "Ada", PHONE.public: "Bo"}
    old = with_wraps(Keyring(), ROOT, wrap_for_guardians(ROOT, names, 2, chance, number=1), guardians=1)
    new = with_wraps(old, ROOT, wrap_for_guardians(ROOT, {PHONE.public: "Bo"}, 1, bytes(64), number=2), guardians=2)
    none = with_wraps(new, ROOT, [], guardians=3)
    assert len(guarded_by(old, LAPTOP.public)) == 1
    assert guarded_by(united(new, old), LAPTOP.public) == []
    assert [wrap.name for _, wrap in guarded_by(united(old, new), PHONE.public)] == ["Bo"]
    assert guarded_by(united(old, none, new), PHONE.public) == []


@pytest.mark.usefixtures("cheap")
def test_a_new_feature_code_takes_the_place_of_the_old_one() -> None:
    old = with_wraps(Keyring(), ROOT, [wrap_for_feature(ROOT, "old", b"s" * 32, number=1)], feature=1)
    new = with_wraps(old, ROOT, [wrap_for_feature(ROOT, "new", b"t" * 32, number=2)], feature=2)
    for ring in (united(old, new), united(new, old)):
        assert open_by_feature(ring, "new") == {id_of_root(ROOT): ROOT}
        with pytest.raises(BadRequest, match="does not open"):
            open_by_feature(ring, "old")


def test_a_machine_with_nothing_but_the_words_finds_the_root_and_the_devices() -> None:
    left = keyring.Bequest(ring=ring_of(ROOT, LAPTOP, WORDS), keylog=((b"entry", b"signature"),))
    log = keyring.bequest_logs(ACCOUNT)[keyring.bequest_slot(id_of_root(ROOT))]
    body = keyring.encode_bequest(left, ACCOUNT)
    assert body == keyring.encode_bequest(left, ACCOUNT)
    entry = sign_entry(keyring.bequest_signer(ROOT), log, 1, body, register=True)
    found = keyring.decode_bequest(entry.body, ACCOUNT)
    assert found == left
    assert open_by_key(found.ring, WORDS) == {id_of_root(ROOT): ROOT}
    for garbage in (body[:-1], b"", encode_keyring(left.ring, ACCOUNT, NONCE)):
        with pytest.raises((Damaged, PeerBroke)):
            keyring.decode_bequest(garbage, ACCOUNT)


# -- bytes ----------------------------------------------------------------------------------------------------------------


def test_a_keyring_comes_back_from_its_bytes_for_who_knows_the_account() -> None:
    ring = united(ring_of(ROOT, LAPTOP, PHONE), guarded())
    body = encode_keyring(ring, ACCOUNT, NONCE)
    assert decode_keyring(body, ACCOUNT) == ring
    with pytest.raises(Damaged):
        decode_keyring(body, id_of(b"b" * 32))
    assert keyring_log(ACCOUNT, LAPTOP.public) != keyring_log(ACCOUNT, PHONE.public)


@given(st.data())
def test_one_changed_bit_is_never_accepted(data: st.DataObject) -> None:
    good = encode_keyring(ring_of(ROOT, LAPTOP), ACCOUNT, NONCE)
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    with pytest.raises((Damaged, BadRequest)):
        decode_keyring(bytes(bad), ACCOUNT)


@given(st.binary(max_size=400))
def test_garbage_is_no_keyring_even_from_one_who_knows_the_account(data: bytes) -> None:
    with pytest.raises((Damaged, BadRequest)):
        decode_keyring(data, ACCOUNT)
    sealed = seal_body(keyring._seal_key(ACCOUNT), data, NONCE, about=b"keyring")
    try:
        assert decode_keyring(sealed, ACCOUNT) == Keyring()
    except PeerBroke:
        return
    assert msgspec.msgpack.decode(data) is not None
