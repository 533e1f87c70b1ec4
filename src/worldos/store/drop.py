"""Drops: what others put into a folder that they may not read.

Who holds an append secret A finds in the register beside the drop box what to seal to, seals a ``Drop`` to it, and
appends that to the log of the box at a number of its own choice: a random one, so that people who know nothing of each
other do not take the same. A drop holds a small file whole, or says what opens a file of the sender's; the owner's
devices copy it in. Who may replace what has the name already proves that by a signature of the write secret. Sizes in
bytes.
Source: libsodium's sealed boxes; docs/reference/formats/manifest.md.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import BadSignature, Damaged, PeerBroke
from worldos.store import keys
from worldos.store.boxes import box_public, open_box, seal_box
from worldos.store.entry import Entry, check_entry, open_body, seal_body, sign_entry
from worldos.store.limits import DROP_BYTES_MAX, FILE_INLINE_BYTES_MAX, NAME_PART_BYTES_MAX
from worldos.store.manifest import Maybe32
from worldos.store.names import is_clean
from worldos.trust.keys import DeviceKey, verify

OPENING_SEQ = 1
_DOMAIN = "drop"
_ABOUT = b"drop"


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """One file that somebody puts into a box: a name without folders, and what opens it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_PART_BYTES_MAX)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=DROP_BYTES_MAX)]
    digest: keys.Bytes32
    read: Maybe32 = b""
    inline: Annotated[bytes, msgspec.Meta(max_length=FILE_INLINE_BYTES_MAX)] = b""
    proof: Annotated[bytes, msgspec.Meta(max_length=64)] = b""


_encode = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Drop)


def sign_box(write: bytes, seq: int, nonce: bytes) -> Entry:
    """Write the register that says what to seal drops to, as the owner of a folder."""
    append = keys.append_of(write)
    body = seal_body(keys.box_key(append), box_public(keys.drop_seed(write)), nonce, about=b"box")
    return sign_entry(keys.signing_key(write), keys.box_log(append), seq, body, register=True)


def box_of(entry: Entry, append: bytes) -> bytes:
    """Read what to seal drops to; raise Damaged, PeerBroke or BadSignature."""
    check_entry(entry)
    shown = open_body(keys.box_key(append), entry.body, about=b"box")
    if entry.log != keys.box_log(append) or len(shown) != keys.SECRET_BYTES:
        raise PeerBroke("a drop box does not say what to seal to")
    return shown


def open_log(write: bytes, nonce: bytes) -> Entry:
    """Write number 1 of the log of drops, as the owner: stores take what strangers append to logs that are there."""
    append = keys.append_of(write)
    body = seal_body(keys.box_key(append), b"", nonce, about=_ABOUT)
    return sign_entry(keys.drop_signer(append), keys.drop_log(append), OPENING_SEQ, body)


def sign_drop(append: bytes, seq: int, drop: Drop, shown: bytes, ephemeral: bytes, nonce: bytes) -> Entry:
    """Put a drop into the box, at a random number; ``shown`` is what ``box_of`` said."""
    sealed = seal_box(shown, _encode(drop), ephemeral, about=_ABOUT)
    body = seal_body(keys.box_key(append), sealed, nonce, about=_ABOUT)
    return sign_entry(keys.drop_signer(append), keys.drop_log(append), seq, body)


def open_drop(entry: Entry, write: bytes) -> Drop:
    """Open a drop as the owner of the box; raise Damaged, PeerBroke or BadSignature. Only what can be opened passes."""
    append = keys.append_of(write)
    if entry.log != keys.drop_log(append) or entry.public != keys.drop_signer(append).public or entry.register:
        raise BadSignature("this was not put into this box by anybody who may")
    check_entry(entry)
    plain = open_box(keys.drop_seed(write), open_body(keys.box_key(append), entry.body, about=_ABOUT), about=_ABOUT)
    try:
        drop = _read.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a drop says what no drop says") from cause
    if "/" in drop.name or not is_clean(drop.name):
        raise PeerBroke("a drop has a name that no file has")
    whole = len(drop.inline) == drop.size_bytes if not drop.read else len(drop.read) == keys.SECRET_BYTES
    if not whole or (drop.read and drop.inline):
        raise Damaged("a drop gives no way to open it")
    return drop


def proven(drop: Drop, write: bytes, seq: int) -> Drop:
    """Prove, as a holder of the write secret, that this drop may replace what has its name."""
    return msgspec.structs.replace(drop, proof=_signer(write).sign(_DOMAIN, _claim(drop, seq)))


def may_replace(drop: Drop, write: bytes, seq: int) -> bool:
    """Whether who dropped this may replace what has its name."""
    if not drop.proof:
        return False
    try:
        verify(_signer(write).public, _DOMAIN, _claim(drop, seq), drop.proof)
    except BadSignature:
        return False
    return True


def _signer(write: bytes) -> DeviceKey:
    return keys.signing_key(write)


def _claim(drop: Drop, seq: int) -> bytes:
    return seq.to_bytes(8, "big") + drop.digest + drop.name.encode()
