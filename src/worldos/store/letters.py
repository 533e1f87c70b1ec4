"""Letters: something small sealed to a person, whichever of their devices opens it.

One content key, and for each device that may open it a *stanza*: the first 8 bytes of a hash of the device's key, so that it
finds its own at once, and the content key sealed to it: to its hybrid key where it is known, else to its device key
(X25519 alone). One more stanza is for the recovery key. The seal of the contents is bound to all stanzas and to the account,
and inside stand who wrote it, and a signature for this reader over it: a reader cannot pass a letter on as if it were
written to somebody else. Sizes are padded. A bound for the stanzas keeps a letter within one statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from worldos.errors import Damaged, OverQuota, PeerBroke, WorldError
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.store.boxes import open_with_key, seal_to_key
from worldos.trust.epochs import NONCE_BYTES, open_under, seal_under
from worldos.trust.hybrid import HybridKey, seal_hybrid
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, bytes_of, public_of, verify

LETTER_BYTES_MAX = 15 * 1024
VALUE_BYTES_MAX = 4096
NOTE_CHARS_MAX = 500
HYBRID_MAX = 8  # stanzas of 1.2 kB in one letter; further devices get a short one
STANZAS_MAX = 64
KEY_BYTES = 32
_DOMAIN = "letter"
_INDEX_BYTES = 8

Kind = Literal["file", "lease", "session", "note"]
_T = TypeVar("_T")
KINDS: tuple[Kind, ...] = ("file", "lease", "session", "note")


class Contents(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a letter brings: a code of a file, a grant for a lease, a session's words, or a note alone."""

    kind: Kind
    title: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX * 4)]
    value: Annotated[bytes, msgspec.Meta(max_length=VALUE_BYTES_MAX)]
    note: Annotated[str, msgspec.Meta(max_length=NOTE_CHARS_MAX)]
    at_s: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Written(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The contents with who wrote them: account and device, and that device's signature for this reader."""

    account: Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
    device: Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
    contents: bytes
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class _Stanza(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    index: Annotated[bytes, msgspec.Meta(min_length=_INDEX_BYTES, max_length=_INDEX_BYTES)]
    hybrid: bool
    box: Annotated[bytes, msgspec.Meta(max_length=2048)]


class _Sealed(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    stanzas: Annotated[tuple[_Stanza, ...], msgspec.Meta(min_length=1, max_length=STANZAS_MAX)]
    sealed: Annotated[bytes, msgspec.Meta(max_length=LETTER_BYTES_MAX)]


_encode = msgspec.msgpack.Encoder().encode
_read_sealed = msgspec.msgpack.Decoder(_Sealed)
_read_written = msgspec.msgpack.Decoder(Written)
_read_contents = msgspec.msgpack.Decoder(Contents)


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a letter is sealed to: a device's or the recovery key's public half, and a hybrid key if it has one."""

    public: bytes
    hybrid: bytes = b""


def sign_contents(key: DeviceKey, account: AccountId, to: AccountId, contents: Contents) -> Written:
    """Sign contents as this device of an account, for one reader."""
    body = _encode(contents)
    return Written(
        account=account, device=key.node_id, contents=body, signature=key.sign(_DOMAIN, _signed(account, to, body))
    )


def seal_letter(to: AccountId, readers: Sequence[Reader], written: Written, chance: bytes) -> bytes:
    """Seal to the keys of an account; ``chance`` is ``chance_bytes(len(readers))`` fresh random bytes."""
    if len(chance) != chance_bytes(len(readers)):
        raise ValueError("a letter takes another number of random bytes")
    if not 1 <= len(readers) <= STANZAS_MAX:
        raise OverQuota(f"a letter is for 1 to {STANZAS_MAX} keys, not {len(readers)}")
    key, nonce, left = (
        chance[:KEY_BYTES],
        chance[KEY_BYTES : KEY_BYTES + NONCE_BYTES],
        chance[KEY_BYTES + NONCE_BYTES :],
    )
    stanzas: list[_Stanza] = []
    for place, reader in enumerate(readers):
        hybrid = bool(reader.hybrid) and sum(stanza.hybrid for stanza in stanzas) < HYBRID_MAX
        if hybrid:
            box = seal_hybrid(reader.hybrid, key, about=_about(to))
        else:
            box = seal_to_key(reader.public, key, left[32 * place : 32 * place + 32], about=_about(to))
        stanzas.append(_Stanza(index=_index(reader.hybrid if hybrid else reader.public), hybrid=hybrid, box=box))
    sealed = seal_under(key, b"letter", _encode(written), nonce, about=_bound(to, tuple(stanzas)))
    letter = _encode(_Sealed(stanzas=tuple(stanzas), sealed=sealed))
    if len(letter) > LETTER_BYTES_MAX:
        raise OverQuota(f"a letter has at most {LETTER_BYTES_MAX} bytes", hint="share a file instead, and its code")
    return letter


def chance_bytes(readers: int) -> int:
    """Return how many random bytes a letter to so many keys takes."""
    return KEY_BYTES + NONCE_BYTES + 32 * readers


def open_letter(letter: bytes, to: AccountId, key: DeviceKey, hybrid: HybridKey | None) -> tuple[Written, Contents]:
    """Open a letter as a device of the account it is for, or with the recovery key; check who signed it.

    Raise Damaged if it is not for this key or was changed, PeerBroke for garbage, BadSignature if nobody wrote it so. Whether
    the device that signed is one of the account that it names is for a card to say.
    """
    read = _decoded(_read_sealed, letter)
    content_key = _content_key(read, to, key, hybrid)
    written = _decoded(_read_written, open_under(content_key, b"letter", read.sealed, about=_bound(to, read.stanzas)))
    verify(
        public_of(written.device), _DOMAIN, _signed(AccountId(written.account), to, written.contents), written.signature
    )
    contents = _decoded(_read_contents, written.contents)
    if not (contents.title + contents.note).isprintable():
        raise PeerBroke("a letter has a title or note that cannot be shown")
    return written, contents


def writer_of(written: Written) -> tuple[AccountId, NodeId]:
    """Return the account and the device that a letter says it is from."""
    return AccountId(written.account), NodeId(written.device)


def _content_key(read: _Sealed, to: AccountId, key: DeviceKey, hybrid: HybridKey | None) -> bytes:
    wanted = {_index(key.public)} | ({_index(hybrid.public)} if hybrid is not None else set())
    for stanza in read.stanzas:
        if stanza.index not in wanted:
            continue
        try:
            if stanza.hybrid and hybrid is not None:
                opened = hybrid.open(stanza.box, about=_about(to))
            else:
                opened = open_with_key(key, stanza.box, about=_about(to))
        except WorldError:  # an index that is equal by chance
            continue
        if len(opened) == KEY_BYTES:
            return opened
    raise Damaged("this letter is not for this device, or was changed")


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a letter cannot be read") from cause


def _index(public: bytes) -> bytes:
    return hashlib.sha256(b"worldos/letter\0" + public).digest()[:_INDEX_BYTES]


def _about(to: AccountId) -> bytes:
    return b"letter" + bytes_of(to)


def _bound(to: AccountId, stanzas: tuple[_Stanza, ...]) -> bytes:
    return hashlib.sha256(bytes_of(to) + _encode(stanzas)).digest()


def _signed(account: AccountId, to: AccountId, contents: bytes) -> bytes:
    return bytes_of(account) + bytes_of(to) + contents
