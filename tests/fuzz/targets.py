"""What the fuzzers throw bytes at: every decoder that faces a stranger, and what must never come of it. Here: storage.

A target takes any bytes. What it decodes may refuse them with the errors that it names and no others. Where something is
signed or sealed, only the bytes that were signed or sealed may pass; elsewhere what passes must be written back and read
again as the same. Anything else is an assertion, and so a find.
"""

from __future__ import annotations

import base64

import msgspec

from tests.fuzz import (
    dialogue_targets,
    keylog_targets,
    lanes_targets,
    node_targets,
    said_targets,
    trust_targets,
    web_targets,
    wire_targets,
    work_targets,
)
from tests.fuzz.target import Target, refused
from worldos.depot import wire
from worldos.store import (
    boxes,
    caps,
    drop,
    entry,
    given,
    guardians,
    keyring,
    keys,
    leaves,
    listing,
    manifest,
    names,
    ops,
    pack,
    segment,
)
from worldos.store.directory import Directory
from worldos.trust.keys import DeviceKey, id_of

KEY = DeviceKey.from_seed(b"k" * 32)
WRITE = b"w" * 32
READ = keys.read_of(WRITE)
VERIFY = keys.verify_of(READ)
ACCOUNT = id_of(b"a" * 32)
NONCES = (b"1" * 12, b"2" * 12)
SEAL = b"s" * 32
PACK_KEY = b"p" * 32
DIGEST = b"d" * 32


# -- what only its makers can write ---------------------------------------------------------------------------------------

ENTRY = entry.sign_entry(KEY, bytes(range(32)), 7, b"body", register=True)
ENTRY_BYTES = entry.encode_entry(ENTRY)
SEALED = entry.seal_body(SEAL, b"plain", NONCES[0])
SEGMENT = manifest.Segment(id=b"\1" * 16, k=1, n=2, size_bytes=65536, roots=(DIGEST, DIGEST))
MAP = manifest.Map(segments=(SEGMENT,))
CONTENTS = manifest.Contents(
    public=keys.signing_key(WRITE).public,
    salt=keys.salt_of(WRITE),
    size_bytes=9,
    digest=DIGEST,
    pieces=(manifest.Piece(0, 0, 0, 25, 9, packed=False),),
    keys=(DIGEST,),
)
MANIFEST = manifest.encode_manifest(MAP, CONTENTS, READ, NONCES)
BOX = boxes.seal_to_key(KEY.public, b"secret", b"e" * 32)
RING = keyring.with_wraps(keyring.Keyring(), b"r" * 32, [keyring.wrap_for_key(b"r" * 32, KEY.public, b"f" * 32)])
RING_BODY = keyring.encode_keyring(RING, ACCOUNT, NONCES[0])


def signed_entry(data: bytes) -> None:
    """Bytes of an entry: nothing but what was signed passes."""
    if not refused(lambda: entry.check_entry(entry.decode_entry(data))):
        assert data == ENTRY_BYTES


def sealed_body(data: bytes) -> None:
    if not refused(lambda: entry.open_body(SEAL, data)):
        assert data == SEALED


def sealed_manifest(data: bytes) -> None:
    if not refused(lambda: manifest.open_contents(data, READ)):
        assert data == MANIFEST


def sealed_box(data: bytes) -> None:
    if not refused(lambda: boxes.open_with_key(KEY, data)):
        assert data == BOX


def sealed_keyring(data: bytes) -> None:
    if not refused(lambda: keyring.decode_keyring(data, ACCOUNT)):
        assert data == RING_BODY


PIECE = segment.Part(number=0, offset=0, sealed_bytes=25, plain_bytes=9, packed=False)


def sealed_piece(data: bytes) -> None:
    """A piece of a segment: nobody sealed one under this key."""
    said = PIECE._replace(number=data[0] if data else 0, sealed_bytes=len(data), packed=bool(len(data) & 1))
    said = said._replace(plain_bytes=max(1, len(data) - 16))
    assert refused(lambda: segment.open_piece(bytes([0x10]) + bytes(15), SEAL, said, data))


# -- what a holder of the key may be hostile with -------------------------------------------------------------------------


def unpadded_body(data: bytes) -> None:
    """What lies inside a sealed body."""
    refused(lambda: entry._unpadded(data.ljust(256, b"\0")))


def open_manifest(data: bytes) -> None:
    """Both parts of a manifest, after they were opened."""

    def read() -> None:
        made = manifest.decode_part(manifest._read_map, data)
        manifest.check_map(made)
        assert manifest.decode_part(manifest._read_map, msgspec.msgpack.encode(made)) == made

    def read_contents() -> None:
        contents = manifest.decode_part(manifest._read_contents, data)
        manifest.check_contents(MAP, contents, READ)
        assert sum(piece.plain_bytes for piece in contents.pieces) == contents.size_bytes or contents.inline

    refused(read)
    refused(read_contents)


def open_keyring(data: bytes) -> None:
    """A keyring and a guardian's part, after they were opened."""

    def read() -> None:
        ring = keyring.united(keyring.decoded(keyring._read_ring, data))
        assert keyring.united(keyring.decoded(keyring._read_ring, msgspec.msgpack.encode(ring))) == ring
        assert all(len(secret) == 32 for secret in keyring.open_by_key(ring, KEY).values())

    refused(read)
    refused(lambda: keyring.decoded(keyring._read_part, data))


def change(data: bytes) -> None:
    """An entry of the directory: what is read can be taken in, in whatever state."""

    def read() -> None:
        said = ops.read_change(data)
        assert ops.read_change(ops.encode_change(said)) == said
        directory = Directory()
        directory.apply(DIGEST, 1, said)
        directory.list()

    refused(read)


def open_listing(data: bytes) -> None:
    """The rows of a folder that was given away: none may be written outside of it."""

    def read() -> None:
        found = manifest.decode_part(listing._read, data)
        listing.check_listing(found, READ)
        for row in found.rows:
            assert not {"", ".", ".."} & set(row.path.split("/"))

    refused(read)


def dropped(data: bytes) -> None:
    """What lies in a drop box, garbage or sealed to its owner."""
    append = keys.append_of(WRITE)
    box = boxes.seal_box(boxes.box_public(keys.drop_seed(WRITE)), data, b"e" * 32, about=b"drop")
    for inner in (data, box):
        body = entry.seal_body(keys.box_key(append), inner, NONCES[0], about=b"drop")
        signed = entry.sign_entry(keys.drop_signer(append), keys.drop_log(append), 9, body)

        def read(signed: entry.Entry = signed) -> None:
            found = drop.open_drop(signed, WRITE)
            assert "/" not in found.name
            assert not drop.may_replace(found, WRITE, 9)

        refused(read)


def given_away(data: bytes) -> None:
    """What a device says was given away, and what is left for a bare machine, after they were opened."""
    key = keys.derive(SEAL, "given seal")

    def read() -> None:
        found = given.decode_given(entry.seal_body(key, data, NONCES[0], about=b"given"), SEAL)
        assert given.united(found, found) == found

    def read_bequest() -> None:
        left = keyring.decoded(keyring._read_bequest, data)
        assert keyring.united(left.ring, left.ring) == keyring.united(left.ring)

    refused(read)
    refused(read_bequest)


def unpacked_piece(data: bytes) -> None:
    refused(lambda: segment.unpack(data, max(1, len(data))))


# -- what anybody can write -----------------------------------------------------------------------------------------------


def code(data: bytes) -> None:
    """A code in text, and one with a good check."""
    text = data.decode("utf-8", "replace")

    def read() -> None:
        cap = caps.read_code(text)
        assert caps.read_code(cap.code()) == cap

    refused(read)
    held = data[:33].ljust(33, b"\0")
    coded = "wos1" + base64.b32encode(held + caps._check(held)).decode().lower()
    if not refused(lambda: caps.read_code(coded)):
        assert caps.read_code(coded).code() == coded


def name(data: bytes) -> None:
    """A path: what is clean stays so, and climbs nowhere."""
    text = data.decode("utf-8", "surrogateescape")

    def read() -> None:
        parts = names.clean(text)
        assert names.clean(names.text_of(parts)) == parts
        assert not {"", ".", ".."} & set(parts)

    refused(read)


def request(data: bytes) -> None:
    """The head of a request, and that of an answer."""

    def read() -> None:
        asked = wire.read_request(data)
        head = wire.frame_head(asked)
        assert wire.read_request(head[8:]) == asked

    def read_answer() -> None:
        said = wire.read_reply(data)
        if isinstance(said, wire.Refused):
            assert str(wire.error_of(said)) is not None

    refused(read)
    refused(read_answer)
    refused(lambda: wire.read_lengths(data.ljust(8, b"\0")))


def pack_frame(data: bytes) -> None:
    """A frame of a pack: no header passes that the depot's key did not write for this place."""

    def read() -> None:
        header = pack.read_header(data, 64)
        pack.check_header(PACK_KEY, 3, header, data)
        raise AssertionError("a header passed that nobody wrote")

    assert refused(read) or data.startswith(FRAME)
    for kind in (pack.ShareMeta, pack.EntryMeta, pack.IdsMeta, pack.CareMeta):
        refused(lambda kind=kind: pack.read_meta(data, kind))
    refused(lambda: pack.split_ids(data))
    refused(lambda: pack.read_opening(data))


FRAME = b"no frame is written here"


def share_leaves(data: bytes) -> None:
    """Digests of leaves and the data they are of."""
    digests, rest = data[: len(data) // 2], data[len(data) // 2 :]
    refused(lambda: leaves.check_digests(digests, len(rest), DIGEST))
    refused(lambda: leaves.check_range(digests, 0, rest))
    refused(lambda: leaves.check_leaf(digests, len(data) % 7, rest))


def snapshot(data: bytes) -> None:
    """The cache of a directory: refused, or read to its last folder."""

    def read() -> None:
        directory = Directory.restore(data)
        for _ in directory.walk():
            pass

    refused(read)


def guardian_parts(data: bytes) -> None:
    """Whatever parts guardians send, their union is 32 bytes or a refusal."""
    parts = [
        guardians.Part(number=1 + data[at] % 64, need=1 + data[at + 1] % 4, data=data[at + 2 : at + 34])
        for at in range(0, len(data) - 33, 34)
    ]

    def read() -> None:
        assert len(guardians.join(parts)) == 32

    refused(read)


_CHANGE = ops.encode_change(ops.Change(at_ns=1, after=0, ops=(ops.Put(path="a/b", file=ops.FileRef(inline=b"x")),)))
_DEEP = b"\x91" * 1500 + b"\xc0"
_ENCODED = msgspec.msgpack.encode
_LISTING = _ENCODED(
    listing.Listing(
        public=CONTENTS.public,
        salt=CONTENTS.salt,
        name="trip",
        rows=(listing.Row(path="a/b", size_bytes=1, inline=b"x"),),
    )
)
_DROP = _ENCODED(drop.Drop(name="cv", size_bytes=1, digest=DIGEST, inline=b"x"))
_GIVEN = _ENCODED((given.Given(write=WRITE, path="a", kind="file", maker=DIGEST),))

TARGETS = {
    "entry": Target(signed_entry, (ENTRY_BYTES,)),
    "body": Target(sealed_body, (SEALED,)),
    "manifest": Target(sealed_manifest, (MANIFEST,)),
    "box": Target(sealed_box, (BOX,)),
    "keyring": Target(sealed_keyring, (RING_BODY,)),
    "piece": Target(sealed_piece, (bytes(25),)),
    "inside-body": Target(unpadded_body, (b"\0\0\0\0\5plain", b"\1\0\0\0\x0e\x28\xb5\x2f\xfd\x20\x05\x29\0\0plain")),
    "inside-manifest": Target(open_manifest, (_ENCODED(MAP), _ENCODED(CONTENTS), b"\x81\xa1x" + _DEEP)),
    "inside-keyring": Target(open_keyring, (_ENCODED(RING), b"\x81\xa1x" + _DEEP)),
    "inside-piece": Target(unpacked_piece, (b"\x28\xb5\x2f\xfd\x20\x05\x29\0\0plain",)),
    "inside-listing": Target(open_listing, (_LISTING, b"\x81\xa1x" + _DEEP)),
    "drop": Target(dropped, (_DROP,), slow=True),  # it seals, to be opened
    "given": Target(given_away, (_GIVEN, _ENCODED(keyring.Bequest(ring=RING, keylog=((b"a", b"b"),))))),
    "change": Target(change, (_CHANGE, b"\1\x95\1\0\x90\x90" + _DEEP)),
    "code": Target(code, (caps.Cap(right=caps.Right.READ, secret=DIGEST).code().encode(), DIGEST)),
    "name": Target(name, ("wos:///a/b\u0301c".encode(), b"a/../b")),
    "request": Target(
        request,
        (
            wire.frame_head(wire.Have(id=1, shares=(DIGEST,)))[8:],
            wire.frame_head(wire.Append(id=2, entries=(ENTRY,)))[8:],
            wire.frame_head(wire.Refused(id=1, error="DiskFull", message="full", hint=""))[8:],
            b"\x94\xa4have\1\x90" + _DEEP,
        ),
    ),
    "pack": Target(pack_frame, (pack.encode_meta(pack.CareMeta(owner="a")), pack.opening_of(PACK_KEY, 3), _DEEP)),
    "leaves": Target(share_leaves, (DIGEST * 2,)),
    "snapshot": Target(snapshot, (Directory().snapshot(),)),
    "guardians": Target(guardian_parts, (b"\1\1" + DIGEST + b"\2\1" + DIGEST,)),
    **trust_targets.TARGETS,
    **keylog_targets.TARGETS,
    **said_targets.TARGETS,
    **wire_targets.TARGETS,
    **node_targets.TARGETS,
    **dialogue_targets.TARGETS,
    **web_targets.TARGETS,
    **work_targets.TARGETS,
    **lanes_targets.TARGETS,
}
