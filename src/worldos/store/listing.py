"""The listing of a folder that was given away: names, and what opens each of them.

A listing is a manifest of kind folder: the same frame, the same binding of the read secret to the public key that signs it,
an empty map. It holds small files whole, and of each other file the read secret of a manifest that was made for this code, so
that taking the code back touches nothing of the owner's own. Paths are relative to the folder, in the one spelling of
names, each once, in order. Sizes in bytes, times in ns.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import BadRequest, BadSignature, PeerBroke
from worldos.store import keys
from worldos.store.entry import Entry, sign_entry
from worldos.store.keys import Bytes32
from worldos.store.limits import (
    FILE_INLINE_BYTES_MAX,
    LISTING_ROWS_MAX,
    MEDIA_BYTES_MAX,
    NAME_BYTES_MAX,
    NAME_PART_BYTES_MAX,
)
from worldos.store.manifest import FOLDER, Map, Maybe32, Size, check_signer, decode_part, open_second, seal_parts
from worldos.store.names import is_clean


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One name in the folder: a folder, a small file whole, or a file and what opens it."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    folder: bool = False
    size_bytes: Size = 0
    modified_ns: int = 0
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)] = 0
    media: Annotated[str, msgspec.Meta(max_length=MEDIA_BYTES_MAX)] = ""
    digest: Maybe32 = b""
    inline: Annotated[bytes, msgspec.Meta(max_length=FILE_INLINE_BYTES_MAX)] = b""
    read: Maybe32 = b""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A whole folder, with the key that signs it."""

    public: Bytes32
    salt: Bytes32
    name: Annotated[str, msgspec.Meta(max_length=NAME_PART_BYTES_MAX)] = ""
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=LISTING_ROWS_MAX)] = ()


_encode = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Listing)


def sign_listing(write: bytes, seq: int, name: str, rows: tuple[Row, ...], nonces: tuple[bytes, bytes]) -> Entry:
    """Make number ``seq`` of a folder's listing; raise BadRequest for a folder that is too large for one."""
    if len(rows) > LISTING_ROWS_MAX:
        raise BadRequest(
            f"a folder of {len(rows)} names: one code gives {LISTING_ROWS_MAX} at most", hint="share its parts"
        )
    key, salt = keys.signing_key(write), keys.salt_of(write)
    read = keys.read_secret(key.public, salt)
    listing = Listing(public=key.public, salt=salt, name=name, rows=rows)
    check_listing(listing, read)
    body = seal_parts(FOLDER, _encode(Map(segments=(), version=seq)), _encode(listing), read, nonces)
    return sign_entry(key, keys.locator_of(keys.verify_of(read)), seq, body, register=True)


def read_listing(entry: Entry, read: bytes) -> Listing:
    """Open a listing and see that the folder's own key signed it; errors as ``manifest.read_manifest``."""
    listing = decode_part(_read, open_second(entry.body, FOLDER, read))
    check_listing(listing, read)
    check_signer(entry, listing.public, read)
    return listing


def check_listing(listing: Listing, read: bytes) -> None:
    """Raise BadSignature unless R is of this key, PeerBroke unless each path is one that may be written to a disk."""
    if keys.read_secret(listing.public, listing.salt) != read:
        raise BadSignature("a folder names another key than the one that its code was made of")
    paths = [row.path for row in listing.rows]
    if paths != sorted(set(paths)) or not all(is_clean(path) for path in paths):
        raise PeerBroke("a folder has a name that no folder has")
    for row in listing.rows:
        whole = (
            row.folder or not row.size_bytes or len(row.inline) == row.size_bytes or len(row.read) == keys.SECRET_BYTES
        )
        if (
            not whole
            or len(row.read) not in {0, keys.SECRET_BYTES}
            or (row.inline and len(row.inline) != row.size_bytes)
        ):
            raise PeerBroke("a folder has a file that it gives no way to open")
