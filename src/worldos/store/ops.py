r"""What a device says in its log of the directory: changes, each a few operations made with one knowledge.

One entry of the log is one ``Change``. It says which entries of other devices its author had seen (``seen``: only what
is new since the author's entry before, which is ``after``), and so everybody can tell what was done knowing of what. An
operation is named by who, which entry and which place in it: ``OpId``. Times are the author's wall clock, for people
and for the 30 days of history; no decision compares them. Bytes: ``version(1)`` and msgpack, arrays all of it; see
docs/reference/formats/directory.md.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from worldos.errors import BadRequest, PeerBroke
from worldos.store.keys import Bytes32
from worldos.store.limits import (
    DIRECTORY_DEVICES_MAX,
    ENTRY_SEQ_MAX,
    FILE_BYTES_MAX,
    FILE_INLINE_BYTES_MAX,
    MEDIA_BYTES_MAX,
    NAME_BYTES_MAX,
    OPS_MAX,
)
from worldos.store.names import is_clean

VERSION: Final = 1
_INT63 = (1 << 63) - 1

Seq = Annotated[int, Meta(ge=1, le=ENTRY_SEQ_MAX)]
Secret = Annotated[bytes, Meta(max_length=32)]  # 32 bytes, or none
PathText = Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]


class OpId(msgspec.Struct, frozen=True, array_like=True):
    """Which device, which entry of its log, which operation in that."""

    device: Bytes32
    seq: Seq
    index: Annotated[int, Meta(ge=0, lt=OPS_MAX)]


class FileRef(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a name stands for: the secret that opens it, and what is worth knowing without opening it.

    ``write`` is the write secret of a file of our own, ``read`` the read secret of one of another's. A file of at most
    4 KiB may lie here whole (``inline``) and then needs neither; several small ones may share one sealed file
    (``packed``), each at its ``offset``. ``target`` is where a symbolic link points.
    """

    write: Secret = b""
    read: Secret = b""
    kind: Annotated[str, Meta(max_length=16)] = "file"
    size_bytes: Annotated[int, Meta(ge=0, le=FILE_BYTES_MAX)] = 0
    modified_ns: Annotated[int, Meta(ge=-_INT63, le=_INT63)] = 0
    digest: Secret = b""
    inline: Annotated[bytes, Meta(max_length=FILE_INLINE_BYTES_MAX)] = b""
    media: Annotated[str, Meta(max_length=MEDIA_BYTES_MAX)] = ""
    mode: Annotated[int, Meta(ge=0, le=0o177777)] = 0
    target: Annotated[str, Meta(max_length=NAME_BYTES_MAX)] = ""
    offset: Annotated[int, Meta(ge=0, le=FILE_BYTES_MAX)] = 0
    packed: bool = False

    @property
    def cap(self) -> bytes:
        """Return the secret by which the shares of this file are found; empty where it has none."""
        return self.write or self.read


class Put(msgspec.Struct, frozen=True, kw_only=True, tag="p", array_like=True):
    """A file has this name now; ``over`` are the versions that it takes the place of."""

    path: PathText
    file: FileRef
    over: Annotated[tuple[OpId, ...], Meta(max_length=DIRECTORY_DEVICES_MAX)] = ()


class Folder(msgspec.Struct, frozen=True, kw_only=True, tag="f", array_like=True):
    """A folder is here, be it empty."""

    path: PathText


class Remove(msgspec.Struct, frozen=True, kw_only=True, tag="r", array_like=True):
    """One version of a name goes, or, without ``only``, a folder with everything in it that the author had seen."""

    path: PathText
    only: OpId | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True, tag="m", array_like=True):
    """The same of a new name: one version, or a folder with everything in it that the author had seen."""

    source: PathText
    target: PathText
    only: OpId | None = None


Op = Put | Folder | Remove | Move


class Change(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One entry of a device's directory log. One without operations acknowledges what its device has seen."""

    at_ns: Annotated[int, Meta(ge=-_INT63, le=_INT63)]
    after: Annotated[int, Meta(ge=0, le=ENTRY_SEQ_MAX)]
    seen: Annotated[tuple[tuple[Bytes32, Seq], ...], Meta(max_length=DIRECTORY_DEVICES_MAX)] = ()
    ops: Annotated[tuple[Op, ...], Meta(max_length=OPS_MAX)] = ()


_encoder = msgspec.msgpack.Encoder()
_changes = msgspec.msgpack.Decoder(Change)
_files = msgspec.msgpack.Decoder(FileRef)


def encode_change(change: Change) -> bytes:
    """Write a change as the plaintext of its entry."""
    return bytes([VERSION]) + _encoder.encode(change)


def read_change(data: bytes) -> Change:
    """Read what ``encode_change`` wrote, all of it checked; raise PeerBroke, or BadRequest for a later version."""
    if data[:1] != bytes([VERSION]):
        if data[:1] > bytes([VERSION]):
            raise BadRequest("a change of the directory was made by a newer World OS", hint="update World OS here")
        raise PeerBroke("a change of the directory is of no known version")
    try:
        change = _changes.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a change of the directory is not laid out as it must be") from cause
    for op in change.ops:
        _check_op(op)
    return change


def encode_file(file: FileRef) -> bytes:
    """Write what a name stands for as it lies in memory and in snapshots."""
    return _encoder.encode(file)


def decode_file(data: bytes) -> FileRef:
    """Read what ``encode_file`` wrote."""
    return _files.decode(data)


def _check_op(op: Op) -> None:
    """Raise PeerBroke unless the paths are in the one spelling and the secrets whole."""
    paths = (op.source, op.target) if isinstance(op, Move) else (op.path,)
    if not all(map(is_clean, paths)):
        raise PeerBroke("a change of the directory names what no file can be named")
    if not isinstance(op, Put):
        return
    if any(len(secret) not in {0, 32} for secret in (op.file.write, op.file.read, op.file.digest)):
        raise PeerBroke("a change of the directory has a secret or a digest cut short")
