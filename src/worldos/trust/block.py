"""A block of a grant: what one holder passes on to the next, and the bytes of it that are signed.

A block is a CBOR map (``cbor``) of the fields below under their short names; a field that is absent limits nothing, an
unknown one is refused. The first block names the account that grants (``p``) and the device that signs for it (``k``);
each other names by its hash the block that it narrows (``p``), whose holder signs it. A resource is a *path*, a tuple of
ASCII labels: no prefix of a text, no ``..`` and no look-alike can ever mean another one. Times are unix seconds, shares are
millionths, money is micro-WOSCoin. Source: DESIGN.md section 10.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec

from worldos.errors import BadRequest, PeerBroke
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op
from worldos.trust import cbor
from worldos.trust.keys import PUBLIC_BYTES, id_of
from worldos.trust.limits import GRANT_BYTES_MAX, GRANT_PATHS_MAX, LABEL_CHARS_MAX, PATH_LABELS_MAX

HASH_BYTES: Final = 32
MILLION: Final = 1_000_000
_AMOUNT_MAX: Final = (1 << 62) - 1


_LABEL_PATTERN = rf"^[A-Za-z0-9_+:@=~%-][A-Za-z0-9_+:@=~%.-]{{0,{LABEL_CHARS_MAX - 1}}}\Z"  # no label is . or ..
_LABEL = re.compile(_LABEL_PATTERN)
Label: TypeAlias = Annotated[str, msgspec.Meta(pattern=_LABEL_PATTERN)]
Place: TypeAlias = Annotated[tuple[Label, ...], msgspec.Meta(max_length=PATH_LABELS_MAX)]
Places: TypeAlias = Annotated[tuple[Place, ...], msgspec.Meta(max_length=GRANT_PATHS_MAX)]
Ops: TypeAlias = Annotated[tuple[Op, ...], msgspec.Meta(max_length=len(Op))]
Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_AMOUNT_MAX)]
Share: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
Hash: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Public: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=PUBLIC_BYTES, max_length=PUBLIC_BYTES)]
Salt: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=16)]


class Blast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one command may touch: a share of the nodes in millionths, and so many at most."""

    ppm: Share
    count: Amount


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often: so many requests an hour, and so many at once."""

    per_hour: Amount
    burst: Amount


_SHORT = {
    "level": "lvl",
    "paths": "res",
    "not_before_s": "nbf",
    "expires_s": "exp",
    "epoch": "ep",
    "holder": "h",
    "parent": "p",
    "signer": "k",
    "salt": "n",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename=_SHORT):
    """What a block lets through. ``None`` limits nothing; an empty tuple lets nothing through.

    ``paths`` are resources with all below them; ``cls`` and ``level`` the highest class and level; ``budget`` what may be
    spent in all; ``epoch`` the revocation epoch of the account in which it was granted; ``need`` the hash of a set of
    approvers without whom it holds for nothing. ``role`` is only a name; ``salt`` tells equal grants apart.
    """

    level: Level | msgspec.UnsetType = msgspec.UNSET
    paths: Places | msgspec.UnsetType = msgspec.UNSET
    ops: Ops | msgspec.UnsetType = msgspec.UNSET
    cls: Impact | msgspec.UnsetType = msgspec.UNSET
    blast: Blast | msgspec.UnsetType = msgspec.UNSET
    rate: Rate | msgspec.UnsetType = msgspec.UNSET
    budget: Amount | msgspec.UnsetType = msgspec.UNSET
    not_before_s: Amount = 0
    expires_s: Amount
    epoch: Amount = 0
    need: Hash | msgspec.UnsetType = msgspec.UNSET
    role: Label | msgspec.UnsetType = msgspec.UNSET
    salt: Salt = b""


class Block(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename=_SHORT):
    """Limits for a ``holder``, below a ``parent``: the account in the first block, where ``signer`` is its device."""

    parent: Hash
    holder: Public
    signer: Public | msgspec.UnsetType = msgspec.UNSET


class Written(NamedTuple):
    """A block with its bytes."""

    block: Block
    body: bytes
    digest: bytes  # SHA-256 of the body: what the next block names


def write_block(block: Block) -> bytes:
    """Write a block down; BadRequest unless it could be read again."""
    fields = msgspec.to_builtins(block, builtin_types=(bytes,))
    try:
        _read_fields(fields)
    except PeerBroke as cause:
        raise BadRequest(f"no such grant can be made: {cause}") from cause
    return cbor.encode(fields)


def read_block(body: bytes) -> Written:
    """Read the bytes of a block; PeerBroke unless they are the one way to write a possible one."""
    return Written(_read_fields(cbor.decode(body, GRANT_BYTES_MAX)), body, hashlib.sha256(body).digest())


def _read_fields(fields: cbor.Value) -> Block:
    try:
        block = msgspec.convert(fields, Block, builtin_types=(bytes,))
    except msgspec.ValidationError as cause:
        raise PeerBroke(f"a block of a grant is not well formed: {cause}") from cause
    if not block.not_before_s < block.expires_s:
        raise PeerBroke("a block of a grant ends before it begins")
    if not (_in_order(block.ops) and _in_order(block.paths)):
        raise PeerBroke("a block of a grant names operations and resources in order, each once")
    return block


def _in_order(values: tuple[Any, ...] | msgspec.UnsetType) -> bool:
    if values is msgspec.UNSET or len(values) < 2:
        return True
    return all(one < other for one, other in itertools.pairwise(values))


def read_path(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels as a path; BadRequest if one of them cannot be part of any."""
    path = tuple(labels)
    for label in path:
        if not _LABEL.match(label):
            hint = f"a label has 1 to {LABEL_CHARS_MAX} of A-Z a-z 0-9 _ + : @ = ~ % . - and no . in front"
            raise BadRequest(f"{label!r} cannot be part of the path of a resource", hint=hint)
    if len(path) > PATH_LABELS_MAX:
        raise BadRequest(f"the path of a resource has at most {PATH_LABELS_MAX} labels")
    return path


def block_id(digest: bytes) -> str:
    """Name a block, as revocations do."""
    return id_of(digest)
