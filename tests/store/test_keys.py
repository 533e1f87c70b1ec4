"""The secrets of a file: fixed for good, one way, and none the name of another."""

from __future__ import annotations

import itertools

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadSignature
from worldos.store import keys
from worldos.trust.keys import DeviceKey, verify

WRITE = bytes(range(32))
SECRETS = st.binary(min_size=32, max_size=32)


def chain_of(write: bytes) -> dict[str, bytes]:
    """Everything that comes of a write secret."""
    read = keys.read_of(write)
    check = keys.verify_of(read)
    return {
        "write": write,
        "public": keys.signing_key(write).public,
        "salt": keys.salt_of(write),
        "read": read,
        "verify": check,
        "locator": keys.locator_of(check),
        "contents": keys.contents_key(read),
        "map": keys.map_key(check),
        "share": keys.share_id(check, bytes(16), 0),
        "append": keys.append_of(write),
        "drop sign": keys.drop_signer(write).public,
        "box key": keys.box_key(write),
        "drop": keys.drop_log(write),
        "box": keys.box_log(write),
        "drop seed": keys.drop_seed(write),
    }


def test_the_secrets_of_a_file_are_those_of_the_specification() -> None:
    said = {name: value.hex()[:16] for name, value in chain_of(WRITE).items()}
    assert said == {
        "write": "0001020304050607",
        "public": "e3617c44abbb0d65",
        "salt": "069b3d3ecb3739d2",
        "read": "260c796c6a01752f",
        "verify": "9b277351889b270c",
        "locator": "2eb418eb3800410e",
        "contents": "52a7a18b5f300a57",
        "map": "676596823d62d428",
        "share": "bf68a5784f375447",
        "append": "c8f6820cbc8486ff",
        "drop sign": "80152dfea7b5fb42",
        "box key": "75fb6e5fb104a984",
        "drop": "dd470cd5e5957906",
        "box": "aa80c5af5624b79c",
        "drop seed": "57119f16810218ec",
    }


def test_a_derivation_is_the_key_derivation_of_blake3_over_length_prefixed_parts() -> None:
    material = b"\0\0\0\x20" + WRITE + b"\0\0\0\x02ab" + b"\0\0\0\x00"
    expected = blake3.blake3(material, derive_key_context="worldos 2026 store share").digest()
    assert keys.derive(WRITE, "share", b"ab", b"") == expected


@given(SECRETS)
def test_no_two_secrets_of_a_file_are_one(write: bytes) -> None:
    chain = chain_of(write)
    assert len(set(chain.values())) == len(chain)
    assert all(len(value) == 32 for value in chain.values())


@given(SECRETS, st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_lists_of_parts_that_join_to_one_string_stay_different(
    secret: bytes, one: list[bytes], two: list[bytes]
) -> None:
    assert (keys.derive(secret, "x", *one) == keys.derive(secret, "x", *two)) == (one == two)


def test_every_block_of_every_segment_has_an_id_of_its_own() -> None:
    check = keys.verify_of(keys.read_of(WRITE))
    places = list(itertools.product([bytes(16), b"\1" + bytes(15)], range(80)))
    assert len({keys.share_id(check, segment, index) for segment, index in places}) == len(places)


@given(SECRETS, SECRETS)
def test_a_reader_cannot_sign(write: bytes, message: bytes) -> None:
    """Neither the read secret nor anything derived from it is the seed of the key that signs."""
    public = keys.signing_key(write).public
    read = keys.read_of(write)
    check = keys.verify_of(read)
    for seed in (read, check, keys.derive(read, "sign"), keys.derive(check, "sign"), keys.contents_key(read)):
        with pytest.raises(BadSignature):
            verify(public, "entry", message, DeviceKey.from_seed(seed).sign("entry", message))


@given(SECRETS, SECRETS)
def test_a_read_secret_fits_one_public_key_and_salt_only(write: bytes, other: bytes) -> None:
    public, salt = keys.signing_key(write).public, keys.salt_of(write)
    assert keys.read_secret(public, salt) == keys.read_of(write)
    if other != write:
        assert keys.read_secret(keys.signing_key(other).public, salt) != keys.read_of(write)
        assert keys.read_secret(public, keys.salt_of(other)) != keys.read_of(write)
