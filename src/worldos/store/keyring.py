"""The keyring of an account: its roots, each wrapped for everyone who may open it.

A root is 32 random bytes that nobody could work out: not from a face, not from a code. It lies wrapped, in as many ways
as the owner wants: for each device's key; for the recovery key, whose public half stands in the Genesis entry, so that
wrapping takes no words and opening takes only the 24 words; under a feature code that the owner remembers (Argon2id);
and in parts for guardians, any few of whom can give it back. From the root come the keys of the directory and of
chunks; every file has a secret of its own.

A keyring is a set of roots and wraps; to merge is to unite, so devices that never met agree once they have seen each
other's. New things are written under the root of the highest generation, and of those under the one with the smallest
id: two devices that made a first root at one time keep both and use one. Each device writes what it knows into a
register of its own, sealed to those who know the account's id, so that strangers' stores see nothing. A wrap says
nothing about who made it: a root counts only if its id is its hash.
Source: RFC 9106 (Argon2); docs/reference/formats/keyring.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

import msgspec
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worldos.errors import BadRequest, Damaged, PeerBroke
from worldos.model.limits import NAME_CHARS_MAX
from worldos.store.boxes import BOX_OVERHEAD_BYTES, open_with_key, seal_to_key
from worldos.store.entry import NONCE_BYTES, open_body, seal_body
from worldos.store.guardians import Number, Part, chance_bytes, join, split
from worldos.store.keys import SECRET_BYTES, Bytes32, derive
from worldos.store.limits import (
    BEQUEST_SLOTS,
    FEATURE_CODE_BYTES_MAX,
    FEATURE_KIB,
    FEATURE_KIB_MAX,
    FEATURE_LANES,
    FEATURE_PASSES,
    FEATURE_PASSES_MAX,
    ROOTS_MAX,
    WRAPS_MAX,
)
from worldos.trust.entries import SIGNED_BYTES_MAX, SNAPSHOT_BYTES_MAX
from worldos.trust.keylog import ENTRIES_MAX as KEYLOG_ENTRIES_MAX
from worldos.trust.keys import DeviceKey, bytes_of

_FEATURE_LANES_MAX = 16
_PART_BYTES_MAX = 64
_NO_NONCE = bytes(12)  # each key is used once

Box = Annotated[bytes, msgspec.Meta(min_length=16, max_length=BOX_OVERHEAD_BYTES + _PART_BYTES_MAX)]


Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class KeyWrap(msgspec.Struct, frozen=True, kw_only=True, tag="key", array_like=True):
    """A root sealed to an Ed25519 key: a device's, or that of the account's 24 words."""

    to: Bytes32
    box: Box


class FeatureWrap(msgspec.Struct, frozen=True, kw_only=True, tag="feature", array_like=True):
    """A root sealed under what Argon2id makes of the feature code; its cost in KiB, passes and lanes."""

    number: Count
    salt: Bytes32
    kib: Annotated[int, msgspec.Meta(ge=8 * _FEATURE_LANES_MAX, le=FEATURE_KIB_MAX)]
    passes: Annotated[int, msgspec.Meta(ge=1, le=FEATURE_PASSES_MAX)]
    lanes: Annotated[int, msgspec.Meta(ge=1, le=_FEATURE_LANES_MAX)]
    box: Box


class GuardianWrap(msgspec.Struct, frozen=True, kw_only=True, tag="guardian", array_like=True):
    """One part of a root, sealed to a guardian's key; parts of one ``split`` belong together. ``at_ns`` is for people."""

    number: Count
    name: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
    at_ns: int
    split: Bytes32
    need: Number
    to: Bytes32
    box: Box


Wrap = KeyWrap | FeatureWrap | GuardianWrap


class Root(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One root by its id, with its wraps in the order of their bytes.

    Feature codes are numbered, and so are choices of guardians: those before ``feature`` and ``guardians`` were given up.
    """

    id: Bytes32
    generation: Count
    wraps: Annotated[tuple[Wrap, ...], msgspec.Meta(max_length=WRAPS_MAX)] = ()
    feature: Count = 0
    guardians: Count = 0


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """All roots that are known, in the order of their ids."""

    roots: Annotated[tuple[Root, ...], msgspec.Meta(max_length=ROOTS_MAX)] = ()

    @property
    def newest(self) -> Root | None:
        """The root that new things are written under."""
        return min(self.roots, key=_rank, default=None)

    def get(self, root_id: bytes) -> Root | None:
        """Return the root of this id."""
        return next((root for root in self.roots if root.id == root_id), None)


LogPair = tuple[
    Annotated[bytes, msgspec.Meta(max_length=SNAPSHOT_BYTES_MAX)],
    Annotated[bytes, msgspec.Meta(max_length=SIGNED_BYTES_MAX)],
]  # an entry of the key log: body and signature

_T = TypeVar("_T")
_encode = msgspec.msgpack.Encoder().encode
_read_ring = msgspec.msgpack.Decoder(Keyring)
_read_part = msgspec.msgpack.Decoder(Part)


def id_of_root(root: bytes) -> bytes:
    """Name a root: nobody can go back from the name."""
    return derive(root, "root id")


def directory_key(root: bytes) -> bytes:
    """Return the key that the logs of the account's directory are sealed under."""
    return derive(root, "directory")


def chunk_key(root: bytes) -> bytes:
    """Return the key of chunk ids: equal chunks of one owner are seen to be equal by the owner alone."""
    return derive(root, "chunk")


def keyring_log(account: str, public: bytes) -> bytes:
    """Return the register where one device of an account writes the keyring as it knows it."""
    return derive(bytes_of(account), "keyring", public)


# -- union ----------------------------------------------------------------------------------------------------------------


def united(*rings: Keyring) -> Keyring:
    """Merge keyrings, in whatever order to the same result; above the bounds the first in order stay."""
    found: dict[bytes, list[Root]] = {}
    for ring in rings:
        for root in ring.roots:
            found.setdefault(root.id, []).append(root)
    roots = [_joined(same) for _, same in sorted(found.items())]
    kept = sorted(roots, key=_rank)[:ROOTS_MAX]
    return Keyring(roots=tuple(sorted(kept, key=lambda root: root.id)))


def with_wraps(
    ring: Keyring, root: bytes, wraps: Iterable[Wrap], *, generation: int = 0, feature: int = 0, guardians: int = 0
) -> Keyring:
    """Add wraps of a root, known or new, to a keyring; give up feature codes and guardians before these numbers."""
    added = Root(id=id_of_root(root), generation=generation, wraps=tuple(wraps), feature=feature, guardians=guardians)
    return united(ring, Keyring(roots=(added,)))


def lacking(root: Root, publics: Iterable[bytes]) -> list[bytes]:
    """Return which of these keys have no wrap of a root, in order."""
    wrapped = {wrap.to for wrap in root.wraps if isinstance(wrap, KeyWrap)}
    return sorted(set(publics) - wrapped)


def _rank(root: Root) -> tuple[int, bytes]:
    return -root.generation, root.id


def _joined(same: list[Root]) -> Root:
    feature, guarded = max(root.feature for root in same), max(root.guardians for root in same)
    wraps = {_encode(wrap): wrap for root in same for wrap in root.wraps if _counts(wrap, feature, guarded)}
    return Root(
        id=same[0].id,
        generation=max(root.generation for root in same),
        wraps=tuple(wraps[key] for key in sorted(wraps)[:WRAPS_MAX]),
        feature=feature,
        guardians=guarded,
    )


def _counts(wrap: Wrap, feature: int, guarded: int) -> bool:
    if isinstance(wrap, FeatureWrap):
        return wrap.number >= feature
    return wrap.number >= guarded if isinstance(wrap, GuardianWrap) else True


# -- for keys -------------------------------------------------------------------------------------------------------------


def wrap_for_key(root: bytes, public: bytes, ephemeral: bytes) -> KeyWrap:
    """Wrap a root for a device, or for the recovery key; ``ephemeral`` is 32 fresh random bytes."""
    return KeyWrap(to=public, box=seal_to_key(public, root, ephemeral, about=_about(id_of_root(root), b"key")))


def open_by_key(ring: Keyring, key: DeviceKey) -> dict[bytes, bytes]:
    """Return, by their ids, the roots that this key opens. Wraps that hold no such root are passed over."""
    opened = {}
    for root in ring.roots:
        for wrap in root.wraps:
            if isinstance(wrap, KeyWrap) and wrap.to == key.public:
                secret = _opened(key, wrap.box, _about(root.id, b"key"))
                if secret is not None and _is_root(secret, root.id):
                    opened[root.id] = secret
    return opened


# -- for a feature code ---------------------------------------------------------------------------------------------------


def wrap_for_feature(root: bytes, code: str, salt: bytes, *, number: int = 0) -> FeatureWrap:
    """Wrap a root under a feature code; ``salt`` is 32 fresh random bytes. Takes about 0.4 s and 256 MiB."""
    blank = FeatureWrap(
        number=number, salt=salt, kib=FEATURE_KIB, passes=FEATURE_PASSES, lanes=FEATURE_LANES, box=bytes(16)
    )
    box = AESGCM(_feature_key(blank, code)).encrypt(_NO_NONCE, root, _about(id_of_root(root), b"feature"))
    return msgspec.structs.replace(blank, box=box)


def open_by_feature(ring: Keyring, code: str) -> dict[bytes, bytes]:
    """Return, by their ids, the roots that a feature code opens; raise BadRequest if there are wraps and none opens."""
    opened, tried = {}, 0
    for root in ring.roots:
        for wrap in root.wraps:
            if isinstance(wrap, FeatureWrap):
                tried += 1
                secret = _opened_by_code(wrap, code, root.id)
                if secret is not None:
                    opened[root.id] = secret
    if tried and not opened:
        raise BadRequest(
            "this feature code does not open the account", hint="it is the one that was said when it was set"
        )
    return opened


def _opened_by_code(wrap: FeatureWrap, code: str, root_id: bytes) -> bytes | None:
    try:
        secret = AESGCM(_feature_key(wrap, code)).decrypt(_NO_NONCE, wrap.box, _about(root_id, b"feature"))
    except InvalidTag:
        return None
    return secret if _is_root(secret, root_id) else None


def _feature_key(wrap: FeatureWrap, code: str) -> bytes:
    said = unicodedata.normalize("NFKC", code.strip()).encode()
    if not 1 <= len(said) <= FEATURE_CODE_BYTES_MAX:
        raise BadRequest(f"a feature code has 1 to {FEATURE_CODE_BYTES_MAX} bytes")
    try:
        return hash_secret_raw(
            secret=said,
            salt=wrap.salt,
            time_cost=wrap.passes,
            memory_cost=wrap.kib,
            parallelism=wrap.lanes,
            hash_len=SECRET_BYTES,
            type=Type.ID,
        )
    except HashingError as cause:
        raise BadRequest(f"a feature code takes {wrap.kib >> 10} MiB of memory for a moment") from cause


# -- for guardians --------------------------------------------------------------------------------------------------------


def guardian_chance_bytes(need: int, count: int) -> int:
    """Return how many random bytes ``wrap_for_guardians`` wants."""
    return chance_bytes(SECRET_BYTES, need) + (count + 1) * 32


def wrap_for_guardians(
    root: bytes, names: Mapping[bytes, str], need: int, chance: bytes, *, number: int = 0, at_ns: int = 0
) -> tuple[GuardianWrap, ...]:
    """Split a root among guardians (public key -> name), of whom any ``need`` can give it back."""
    publics = sorted(names)
    used = chance_bytes(SECRET_BYTES, need)
    parts = split(root, need, len(publics), chance[:used])
    if len(chance) != guardian_chance_bytes(need, len(publics)):
        raise ValueError("a split takes another number of random bytes")
    ephemerals = [chance[at : at + 32] for at in range(used, len(chance), 32)]
    name = ephemerals.pop()
    about = _about(id_of_root(root), b"guardian" + name)
    return tuple(
        GuardianWrap(
            number=number,
            name=names[public],
            at_ns=at_ns,
            split=name,
            need=need,
            to=public,
            box=seal_to_key(public, _encode(part), ephemeral, about=about),
        )
        for part, public, ephemeral in zip(parts, publics, ephemerals, strict=True)
    )


def guarded_by(ring: Keyring, public: bytes) -> list[tuple[bytes, GuardianWrap]]:
    """Return the parts that this key guards, each with the id of its root."""
    wraps = [(root.id, wrap) for root in ring.roots for wrap in root.wraps]
    return [(root_id, wrap) for root_id, wrap in wraps if isinstance(wrap, GuardianWrap) and wrap.to == public]


def part_of(wrap: GuardianWrap, root_id: bytes, key: DeviceKey) -> Part:
    """Open a guardian's part with the guardian's key; raise Damaged or PeerBroke."""
    plain = open_with_key(key, wrap.box, about=_about(root_id, b"guardian" + wrap.split))
    return decoded(_read_part, plain)


def root_of_parts(parts: Iterable[Part], root_id: bytes) -> bytes:
    """Return the root that guardians' parts make; BadRequest if too few, Damaged if they make another."""
    root = join(parts)
    if not _is_root(root, root_id):
        raise Damaged("the parts of the guardians do not make the root: one of them is not what was given out")
    return root


# -- for a machine that has nothing but the 24 words ---------------------------------------------------------------------


class Bequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's devices leave: the keyring, and the key log, whose devices' logs make the directory."""

    ring: Keyring
    keylog: Annotated[tuple[LogPair, ...], msgspec.Meta(max_length=KEYLOG_ENTRIES_MAX)] = ()


def bequest_logs(account: str) -> tuple[bytes, ...]:
    """Return the registers where a bequest may lie: they are found by the account's id alone."""
    return tuple(derive(bytes_of(account), "bequest", bytes([slot])) for slot in range(BEQUEST_SLOTS))


def bequest_slot(root_id: bytes) -> int:
    """Return which of them is written under this root: two roots made apart rarely meet in one."""
    return root_id[0] % BEQUEST_SLOTS


def bequest_signer(root: bytes) -> DeviceKey:
    """Return the key that signs it: every device that has the root has it. What it says needs no signature to be right."""
    return DeviceKey.from_seed(derive(root, "bequest"))


def encode_bequest(bequest: Bequest, account: str) -> bytes:
    """Write the body of a bequest. Equal ones have equal bytes, so that devices do not overwrite each other for nothing."""
    plain = _encode(bequest)
    key = _seal_key(account)
    return seal_body(key, plain, derive(key, "bequest nonce", plain)[:NONCE_BYTES], about=b"bequest")


def decode_bequest(body: bytes, account: str) -> Bequest:
    """Read a bequest; errors as ``decode_keyring``. The entries of its key log are still to be checked."""
    bequest = decoded(_read_bequest, open_body(_seal_key(account), body, about=b"bequest"))
    return msgspec.structs.replace(bequest, ring=united(bequest.ring))


_read_bequest = msgspec.msgpack.Decoder(Bequest)


# -- on disk and between devices ------------------------------------------------------------------------------------------


def encode_keyring(ring: Keyring, account: str, nonce: bytes) -> bytes:
    """Write the body of a device's keyring register; the nonce is 12 fresh random bytes."""
    return seal_body(_seal_key(account), _encode(ring), nonce, about=b"keyring")


def decode_keyring(body: bytes, account: str) -> Keyring:
    """Read a keyring; raise Damaged, PeerBroke, or BadRequest for one of a newer World OS."""
    return united(decoded(_read_ring, open_body(_seal_key(account), body, about=b"keyring")))


def decoded(decoder: msgspec.msgpack.Decoder[_T], plain: bytes) -> _T:
    """Decode what was opened; PeerBroke for what is not of its type."""
    try:
        return decoder.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a keyring says what no keyring says") from cause


def _seal_key(account: str) -> bytes:
    return derive(bytes_of(account), "keyring seal")


def _opened(key: DeviceKey, box: bytes, about: bytes) -> bytes | None:
    try:
        return open_with_key(key, box, about=about)
    except Damaged:
        return None


def _is_root(secret: bytes, root_id: bytes) -> bool:
    return len(secret) == SECRET_BYTES and id_of_root(secret) == root_id


def _about(root_id: bytes, purpose: bytes) -> bytes:
    return b"root" + root_id + purpose
