"""Manifests: opened by whom they are for, forged by nobody, and every number checked."""

from __future__ import annotations

import blake3
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, Damaged, NotThere, PeerBroke
from worldos.store import keys, manifest
from worldos.store.entry import sign_entry
from worldos.store.limits import SEGMENT_BYTES
from worldos.store.manifest import (
    Contents,
    Map,
    Piece,
    Segment,
    encode_manifest,
    open_contents,
    open_map,
    read_manifest,
    share_ids,
    sign_manifest,
    starts_of,
)

WRITE = b"w" * 32
READ = keys.read_of(WRITE)
VERIFY = keys.verify_of(READ)
NONCES = (b"1" * 12, b"2" * 12)
REFUSED = (Damaged, PeerBroke, BadRequest)


def segment(name: int, *, k: int = 3, n: int = 6, size: int = SEGMENT_BYTES[1]) -> Segment:
    roots = tuple([bytes([name, index]) * 16 for index in range(n)])
    return Segment(id=bytes([name]) * 16, k=k, n=n, size_bytes=size, roots=roots)


MAP = Map(segments=(segment(1), segment(2)), version=4)
CONTENTS = Contents(
    public=keys.signing_key(WRITE).public,
    salt=keys.salt_of(WRITE),
    size_bytes=300,
    modified_ns=-5,
    mode=0o600,
    media="text/plain",
    digest=b"d" * 32,
    pieces=(Piece(0, 0, 0, 116, 100, packed=False), Piece(1, 3, 200, 80, 200, packed=True)),
    keys=(b"a" * 32, b"b" * 32),
    name="a.txt",
)
BODY = encode_manifest(MAP, CONTENTS, READ, NONCES)


def test_the_bytes_of_a_manifest_are_those_of_the_specification() -> None:
    assert len(BODY) == 6 + 256 + 256
    assert BODY[:19].hex() == "01010000010001313131313131313131313131"  # zstd may pack the rest otherwise one day
    assert blake3.blake3(msgspec.msgpack.encode(MAP)).hexdigest()[:32] == "2d1ab0a09bf2ee5e0beca765ddd45242"
    assert msgspec.msgpack.encode(CONTENTS).hex() == (
        "8ba67075626c6963c420d1c2a615d5c4d3a4734b60e6e31b2a7e17ff70f4eea35d14897a15c9c21a74d8a473616c74c420d1"
        "fee1fe72a8bbcfe17da35365765f1772df6cf487a6ea6910ac315e5f11c344aa73697a655f6279746573cd012cab6d6f6469"
        "666965645f6e73fba46d6f6465cd0180a56d65646961aa746578742f706c61696ea6646967657374c4206464646464646464"
        "646464646464646464646464646464646464646464646464a670696563657392960000007464c2960103ccc850ccc8c3a46b"
        "65797392c4206161616161616161616161616161616161616161616161616161616161616161c42062626262626262626262"
        "62626262626262626262626262626262626262626262a6696e6c696e65c400a46e616d65a5612e747874"
    )


def test_a_reader_sees_all_and_a_carer_the_map() -> None:
    assert open_contents(BODY, READ) == (MAP, CONTENTS)
    assert open_map(BODY, VERIFY) == MAP
    with pytest.raises(Damaged):
        open_contents(BODY, VERIFY)
    with pytest.raises(Damaged):
        open_map(BODY, READ)


@given(st.data())
def test_one_changed_bit_is_never_accepted(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(BODY) * 8 - 1))
    bad = bytearray(BODY)
    bad[place // 8] ^= 1 << place % 8
    with pytest.raises(REFUSED):
        open_contents(bytes(bad), READ)


@given(st.binary(max_size=1200))
def test_garbage_is_no_manifest(data: bytes) -> None:
    for body in (data, BODY[:6] + data, b"\0" + data + BODY):
        with pytest.raises(REFUSED):
            open_contents(body, READ)


def test_a_cut_manifest_is_refused_at_every_length() -> None:
    for size in range(len(BODY)):
        with pytest.raises(REFUSED):
            open_contents(BODY[:size], READ)


def test_a_manifest_of_the_future_says_so() -> None:
    with pytest.raises(BadRequest, match="newer World OS") as caught:
        open_map(bytes([manifest.VERSION + 1]) + b"whatever it may be", VERIFY)
    assert "update" in caught.value.hint


def test_a_reader_cannot_forge_a_manifest_for_another_reader() -> None:
    """Holding R lets one seal whatever one likes; it does not let one sign, or pass off another key."""
    mine = keys.signing_key(b"mine" * 8)
    locator = keys.locator_of(VERIFY)
    honest = sign_manifest(WRITE, 1, MAP, CONTENTS, NONCES)
    assert read_manifest(honest, READ) == (MAP, CONTENTS)
    lie = msgspec.structs.replace(CONTENTS, digest=b"f" * 32)
    forged = encode_manifest(MAP, lie, READ, NONCES)
    with pytest.raises(BadSignature, match="own key"):
        read_manifest(sign_entry(mine, locator, 2, forged, register=True), READ)
    with pytest.raises(BadSignature):
        read_manifest(msgspec.structs.replace(honest, body=forged), READ)
    with pytest.raises(BadSignature, match="another key"):
        encode_manifest(MAP, msgspec.structs.replace(lie, public=mine.public), READ, NONCES)
    smuggled = manifest.seal_parts(
        manifest.FILE,
        msgspec.msgpack.encode(MAP),
        msgspec.msgpack.encode(msgspec.structs.replace(lie, public=mine.public)),
        READ,
        NONCES,
    )
    with pytest.raises(BadSignature, match="another key"):
        read_manifest(sign_entry(mine, locator, 2, smuggled, register=True), READ)


def test_a_manifest_counts_as_the_register_of_its_own_file_only() -> None:
    honest = sign_manifest(WRITE, 1, MAP, CONTENTS, NONCES)
    for change in ({"register": False}, {"log": bytes(32)}):
        signed = sign_entry(keys.signing_key(WRITE), **{"log": honest.log, "seq": 1, "body": BODY, **change})
        with pytest.raises(BadSignature):
            read_manifest(signed, READ)


def replaced(**changes: object) -> Contents:
    return msgspec.structs.replace(CONTENTS, **changes)


@pytest.mark.parametrize(
    "contents",
    [
        replaced(size_bytes=301),
        replaced(keys=(b"a" * 32,)),
        replaced(pieces=(Piece(2, 0, 0, 116, 300, packed=False),)),
        replaced(pieces=(Piece(0, 0, SEGMENT_BYTES[1] - 115, 116, 300, packed=False),)),
        replaced(inline=b"x" * 300),
        replaced(inline=b"x", pieces=()),
    ],
)
def test_contents_that_do_not_fit_their_map_are_refused(contents: Contents) -> None:
    with pytest.raises(PeerBroke):
        encode_manifest(MAP, contents, READ, NONCES)


@pytest.mark.parametrize(
    "segments",
    [
        (segment(1, k=7),),
        (segment(1, size=SEGMENT_BYTES[0] + 1),),
        (segment(1), segment(1)),
        (msgspec.structs.replace(segment(1), roots=()),),
        (msgspec.structs.replace(segment(1), secret=b"x"),),
    ],
)
def test_a_segment_that_cannot_be_is_refused(segments: tuple[Segment, ...]) -> None:
    sealed = manifest.seal_parts(manifest.FILE, msgspec.msgpack.encode(Map(segments=segments)), b"", READ, NONCES)
    with pytest.raises(PeerBroke):
        open_map(sealed, VERIFY)


@given(st.binary(max_size=64), st.binary(max_size=64))
@settings(max_examples=50)
def test_even_who_holds_the_code_cannot_make_a_reader_stumble(first: bytes, second: bytes) -> None:
    parts = [(first, second), (msgspec.msgpack.encode(MAP), second)]
    for one, two in parts:
        with pytest.raises(REFUSED):
            open_contents(manifest.seal_parts(manifest.FILE, one, two, READ, NONCES), READ)


def test_a_small_file_lies_in_its_manifest() -> None:
    small = Contents(
        public=CONTENTS.public,
        salt=CONTENTS.salt,
        size_bytes=5,
        digest=blake3.blake3(b"hello").digest(),
        inline=b"hello",
    )
    body = encode_manifest(Map(segments=()), small, READ, NONCES)
    assert open_contents(body, READ)[1].inline == b"hello"


def test_a_folder_is_not_read_as_a_file() -> None:
    body = manifest.seal_parts(manifest.FOLDER, msgspec.msgpack.encode(MAP), b"\x80", READ, NONCES)
    with pytest.raises(BadRequest, match="file and leads to a folder"):
        open_contents(body, READ)


def test_a_segment_of_several_files_has_shares_of_its_own_secret() -> None:
    own = share_ids(MAP.segments[0], VERIFY)
    assert len(set(own)) == 6
    assert own[2] == keys.share_id(VERIFY, MAP.segments[0].id, 2)
    common = msgspec.structs.replace(MAP.segments[0], secret=b"s" * 32)
    assert share_ids(common, VERIFY) == share_ids(common, bytes(32))
    assert not set(share_ids(common, VERIFY)) & set(own)


def test_pieces_are_found_by_where_they_start() -> None:
    assert starts_of(CONTENTS) == [0, 100, 300]


def test_a_withdrawn_manifest_says_so_to_readers_and_leaves_carers_nothing() -> None:
    gone = manifest.sign_withdrawal(WRITE, 9, NONCES)
    with pytest.raises(NotThere, match="withdrawn by its owner"):
        read_manifest(gone, READ)
    assert open_map(gone.body, VERIFY).segments == ()
    assert gone.log == sign_manifest(WRITE, 1, MAP, CONTENTS, NONCES).log
    assert manifest.is_withdrawal(gone, READ)
    assert not manifest.is_withdrawal(sign_manifest(WRITE, 1, MAP, CONTENTS, NONCES), READ)
    for signer in (b"mine" * 8, WRITE):
        forged = manifest.seal_parts(
            manifest.WITHDRAWN, msgspec.msgpack.encode(MAP), keys.derive(signer, "x") * 2, READ, NONCES
        )
        with pytest.raises(BadSignature):
            manifest.is_withdrawal(sign_entry(keys.signing_key(signer), gone.log, 10, forged, register=True), READ)
    other = sign_entry(keys.signing_key(b"mine" * 8), gone.log, 10, gone.body, register=True)
    with pytest.raises(BadSignature):
        manifest.is_withdrawal(other, READ)


def test_two_parts_take_two_nonces() -> None:
    with pytest.raises(ValueError, match="two nonces"):
        encode_manifest(MAP, CONTENTS, READ, (NONCES[0], NONCES[0]))


def _large(segments: int, code: tuple[int, int]) -> tuple[Map, Contents]:
    """A file of so many full segments of 16 pieces each."""
    size = SEGMENT_BYTES[-1]
    noise = blake3.blake3(b"noise")
    roots = [noise.digest(length=32, seek=32 * at) for at in range(segments * code[1])]
    made = Map(
        segments=tuple(
            [
                Segment(
                    id=at.to_bytes(16, "big"),
                    k=code[0],
                    n=code[1],
                    size_bytes=size,
                    roots=tuple(roots[at * code[1] : (at + 1) * code[1]]),
                )
                for at in range(segments)
            ]
        )
    )
    each = size // 16 - 64
    pieces = tuple(
        [Piece(at // 16, at % 16, at % 16 * (each + 16), each + 16, each, packed=False) for at in range(segments * 16)]
    )
    file_keys = tuple([noise.digest(length=32, seek=1 << 30 | 32 * at) for at in range(segments)])
    return made, replaced(size_bytes=len(pieces) * each, pieces=pieces, keys=file_keys)


def test_a_file_of_20_gb_has_one_manifest() -> None:
    made, contents = _large(20_000 // 16, (10, 16))
    assert contents.size_bytes > 20_000_000_000
    assert open_contents(encode_manifest(made, contents, READ, NONCES), READ) == (made, contents)


def test_a_file_that_is_too_large_for_one_manifest_is_refused_with_a_word_about_it() -> None:
    made, contents = _large(9_000, (10, 16))
    with pytest.raises(BadRequest, match=r"too many parts|the most"):
        encode_manifest(made, contents, READ, NONCES)
