"""Grants: signed chains that say who may do what to which resources, until when. Each block may only narrow.

A grant is a CBOR array of blocks (``block``), each followed by its signature: the first by a device of the account that
grants, each other by the holder of the one before. What it lets through is the *intersection* of all blocks, so no block
can widen anything; there is no language in it and nothing to evaluate, and its cost is bounded by its size. A grant is
good only in the hand of its last holder, who signs each request (``request``): a copy is worth nothing.

Reading checks form, checking checks signatures; both are remembered in a bounded table, for chains and for links, since
most requests come by a grant that was seen before. Cheap refusals come first: a stranger's token costs no signature unless
its first block is from a device of this account. Source: DESIGN.md section 10; macaroons (Birgisson et al., NDSS 2014).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from worldos.errors import BadRequest, NotAllowed, PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op, Path, covers, shown
from worldos.trust import cbor
from worldos.trust.block import Blast, Block, Limits, Places, Rate, Written, block_id, read_block, write_block
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, bytes_of, id_of, node_id_of, public_of, verify
from worldos.trust.limits import BLOCKS_KEPT_MAX, GRANT_BLOCKS_MAX, GRANT_BYTES_MAX, GRANTS_KEPT_MAX, REQUEST_SKEW_S

_DOMAIN = "grant"
_CHAIN_DEPTH = 1

_Row = TypeVar("_Row")

RootKeyOk: TypeAlias = Callable[[AccountId, NodeId], bool]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """No, and which limit says so: for the honest to read."""

    why: str


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole chain lets through: the intersection of its blocks.

    ``blocks`` are the ids of all blocks, the first one first: what a revocation names. ``epoch`` is the lowest of all.
    ``paths`` has for each block that names resources those that it names; a path must be below one of each.
    """

    chain: bytes  # SHA-256 of the grant, as requests name it
    account: AccountId
    signer: NodeId
    holder: NodeId
    blocks: tuple[str, ...]
    roles: tuple[str, ...]
    level: Level
    cls: Impact
    ops: tuple[Op, ...]
    paths: tuple[Places, ...]
    blast: Blast | None
    rates: tuple[tuple[str, Rate], ...]  # by block: all that was narrowed from a block shares its rate
    budget: int | None
    not_before_s: int
    expires_s: int
    epoch: int
    needs: tuple[bytes, ...]

    def allows(
        self, op: Op, path: Path, cls: int, level: int, now_s: int, approved: Sequence[bytes] = ()
    ) -> Refusal | None:
        """Return None if this may be done now, else why not. ``approved``: hashes of sets whose approvers said yes."""
        if (late := _at(self.not_before_s, self.expires_s, now_s)) is not None:
            return late
        if op not in self.ops:
            return Refusal(why=f"the grant is for {', '.join(self.ops) or 'nothing'}, not for {op}")
        if cls > self.cls:
            return Refusal(why=f"the grant is for impact class {int(self.cls)} at most, this is class {int(cls)}")
        if level > self.level:
            return Refusal(why=f"the grant is for level {self.level.name.lower()} at most")
        if not all(any(covers(root, path) for root in roots) for roots in self.paths):
            return Refusal(why=f"the grant is not for {shown(path)}")
        if not set(self.needs).issubset(approved):
            return Refusal(why="the grant holds only with approvals that are not here")
        return None


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that was read: well formed, and no signature of it checked yet."""

    data: bytes
    digest: bytes  # of the data
    account: AccountId
    signer: NodeId
    written: tuple[Written, ...]
    links: tuple[tuple[bytes, bytes], ...]  # of each block: who must have signed it, and the signature

    @property
    def authority(self) -> Authority:
        """What it would let through, were it checked: for its holder to read and to narrow."""
        return _intersection(self)


class Grants(msgspec.Struct, kw_only=True):
    """Grants read and checked lately, and links, so that each costs its signatures once. Bounded: the oldest goes."""

    chains: dict[bytes, Chain] = {}
    authorities: dict[bytes, Authority] = {}
    links: dict[bytes, None] = {}

    def read(self, data: bytes) -> Chain:
        """Read a grant, or remember it; raise PeerBroke for anything that is none. What nobody signed is not remembered."""
        return self.chains.get(_digest(data)) or read_chain(data)

    def verify(self, chain: Chain) -> Authority:
        """Return what a grant lets through if every signature of it is good, or remember it; raise BadSignature."""
        authority = self.authorities.pop(chain.digest, None)
        if authority is None:
            for written, (signer, signature) in zip(chain.written, chain.links, strict=True):
                self._verify_link(signer, written.body, signature)
            authority = chain.authority
        self.chains.pop(chain.digest, None)
        _keep(self.chains, chain.digest, chain, GRANTS_KEPT_MAX)
        _keep(self.authorities, chain.digest, authority, GRANTS_KEPT_MAX)
        return authority

    def _verify_link(self, signer: bytes, body: bytes, signature: bytes) -> None:
        link = _digest(signer, signature, body)
        if link not in self.links:
            verify(signer, _DOMAIN, body, signature)
        self.links.pop(link, None)
        _keep(self.links, link, None, BLOCKS_KEPT_MAX)


def issue(key: DeviceKey, *, account: AccountId, holder: NodeId, limits: Limits) -> bytes:
    """Grant, as a device of ``account``, to the holder of a key; BadRequest if no such grant can be."""
    block = Block(parent=bytes_of(account), signer=key.public, holder=public_of(holder), **_fields(limits))
    return _appended((), key, block)


def narrow(data: bytes, key: DeviceKey, *, holder: NodeId, limits: Limits) -> bytes:
    """Pass a grant on, narrowed, as its last holder; BadRequest for what the grant itself does not let through."""
    return narrow_chain(read_chain(data), key, holder=holder, limits=limits)


def narrow_chain(chain: Chain, key: DeviceKey, *, holder: NodeId, limits: Limits) -> bytes:
    """Pass on a grant that was read before; see ``narrow``."""
    last = chain.written[-1]
    if last.block.holder != key.public:
        raise BadRequest("only the last holder of a grant can pass it on")
    _check_narrower(chain, limits)
    block = Block(parent=last.digest, holder=public_of(holder), **_fields(limits))
    links = [(each.body, signature) for each, (_, signature) in zip(chain.written, chain.links, strict=True)]
    return _appended(links, key, block)


def read_chain(data: bytes) -> Chain:
    """Read a grant: form, size and that each block names the one before it; raise PeerBroke."""
    parts = cbor.decode(data, GRANT_BYTES_MAX, _CHAIN_DEPTH)
    if not isinstance(parts, list) or not 2 <= len(parts) <= 2 * GRANT_BLOCKS_MAX or len(parts) % 2:
        raise PeerBroke(f"a grant has 1 to {GRANT_BLOCKS_MAX} blocks, each with a signature")
    bodies = [part for part in parts[::2] if isinstance(part, bytes)]
    signatures = [part for part in parts[1::2] if isinstance(part, bytes) and len(part) == SIGNATURE_BYTES]
    if not len(bodies) == len(signatures) == len(parts) // 2:
        raise PeerBroke("a grant has blocks and signatures of 64 bytes, and nothing else")
    written = tuple([read_block(body) for body in bodies])
    signers = _signers([each.block for each in written])
    for one, other in itertools.pairwise(written):
        if other.block.parent != one.digest:
            raise PeerBroke("a block of a grant does not follow from the one before it")
    return Chain(
        data=data,
        digest=_digest(data),
        account=AccountId(id_of(written[0].block.parent)),
        signer=node_id_of(signers[0]),
        written=written,
        links=tuple(zip(signers, signatures, strict=True)),
    )


def check_chain(chain: Chain, *, root_key_ok: RootKeyOk, now_s: int, cache: Grants) -> Authority:
    """Return what a grant lets through; NotAllowed where it is of others or out of its time, BadSignature if forged.

    ``root_key_ok(account, device)``: whether this account's grants count here, and the device may grant for it now.
    Whether a block was revoked is the caller's to see (``Authority.blocks``, ``epoch``).
    """
    if not root_key_ok(chain.account, chain.signer):
        raise NotAllowed("the grant is not from a device that may grant here")
    not_before_s, expires_s = _times(chain)
    if (late := _at(not_before_s, expires_s, now_s)) is not None:
        raise NotAllowed(late.why)
    return cache.verify(chain)


def grant_hash(data: bytes) -> bytes:
    """Return what a request names a grant by: the SHA-256 of its bytes."""
    return _digest(data)


def _signers(blocks: list[Block]) -> list[bytes]:
    """Return who must have signed each block: the root's own signer, then the holder of the block before."""
    root = blocks[0].signer
    if root is msgspec.UNSET or any(block.signer is not msgspec.UNSET for block in blocks[1:]):
        raise PeerBroke("the first block of a grant names who signed it, and only the first")
    return [root, *(block.holder for block in blocks[:-1])]


def _times(chain: Chain) -> tuple[int, int]:
    """Return from when and until when all blocks hold."""
    blocks = [each.block for each in chain.written]
    return max([block.not_before_s for block in blocks]), min([block.expires_s for block in blocks])


def _at(not_before_s: int, expires_s: int, now_s: int) -> Refusal | None:
    if now_s <= 0:
        return Refusal(why="this machine does not know what time it is, and the grant is for a time")
    if now_s < not_before_s - REQUEST_SKEW_S:
        return Refusal(why=f"the grant is not yet good: in {not_before_s - now_s} s")
    if now_s >= expires_s:
        return Refusal(why=f"the grant ended {now_s - expires_s} s ago")
    return None


def _ops(blocks: Sequence[Block]) -> tuple[Op, ...]:
    ops = tuple(Op)
    for block in blocks:
        if block.ops is not msgspec.UNSET:
            ops = tuple([op for op in block.ops if op in ops])
    return ops


class _Least(NamedTuple):
    """The least of what blocks say, where there is a least."""

    ops: tuple[Op, ...]
    cls: Impact
    level: Level
    expires_s: int
    budget: int | None
    paths: tuple[Places, ...]


def _least(blocks: Sequence[Block]) -> _Least:
    return _Least(
        ops=_ops(blocks),
        cls=min([block.cls for block in blocks if block.cls is not msgspec.UNSET], default=Impact.IRREVERSIBLE),
        level=min([block.level for block in blocks if block.level is not msgspec.UNSET], default=Level.PLANET),
        expires_s=min([block.expires_s for block in blocks]),
        budget=min([block.budget for block in blocks if block.budget is not msgspec.UNSET], default=None),
        paths=tuple([block.paths for block in blocks if block.paths is not msgspec.UNSET]),
    )


def _intersection(chain: Chain) -> Authority:
    blocks = [each.block for each in chain.written]
    names = [block_id(each.digest) for each in chain.written]
    blasts = [block.blast for block in blocks if block.blast is not msgspec.UNSET]
    least = _least(blocks)
    return Authority(
        chain=chain.digest,
        account=chain.account,
        signer=chain.signer,
        holder=node_id_of(blocks[-1].holder),
        blocks=tuple(names),
        roles=tuple(block.role for block in blocks if block.role is not msgspec.UNSET),
        level=least.level,
        cls=least.cls,
        ops=least.ops,
        paths=least.paths,
        blast=Blast(ppm=min(b.ppm for b in blasts), count=min(b.count for b in blasts)) if blasts else None,
        rates=tuple((name, b.rate) for name, b in zip(names, blocks, strict=True) if b.rate is not msgspec.UNSET),
        budget=least.budget,
        not_before_s=max(block.not_before_s for block in blocks),
        expires_s=least.expires_s,
        epoch=min(block.epoch for block in blocks),
        needs=tuple(sorted({block.need for block in blocks if block.need is not msgspec.UNSET})),
    )


def _check_narrower(chain: Chain, limits: Limits) -> None:
    """Raise BadRequest for a block that names more than is held: it would be void, and its maker should know."""
    held = _least([each.block for each in chain.written])
    if limits.ops is not msgspec.UNSET and not all(op in held.ops for op in limits.ops):
        raise BadRequest(f"the grant that you hold is for {', '.join(held.ops)}: no other operations can be passed on")
    if limits.cls is not msgspec.UNSET and limits.cls > held.cls:
        raise BadRequest(f"the grant that you hold is for impact class {int(held.cls)} at most")
    if limits.level is not msgspec.UNSET and limits.level > held.level:
        raise BadRequest(f"the grant that you hold is for level {held.level.name.lower()} at most")
    if limits.expires_s > held.expires_s:
        raise BadRequest("the grant that you hold ends before that")
    if limits.budget is not msgspec.UNSET and held.budget is not None and limits.budget > held.budget:
        raise BadRequest(f"the grant that you hold is for {held.budget} micro-WOSCoin at most")
    for path in limits.paths if limits.paths is not msgspec.UNSET else ():
        if not all(any(covers(root, path) for root in roots) for roots in held.paths):
            raise BadRequest(f"the grant that you hold is not for {shown(path)}")


def _fields(limits: Limits) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(limits, name) for name in Limits.__struct_fields__}
    for name in ("ops", "paths"):
        if fields[name] is not msgspec.UNSET:
            fields[name] = tuple(sorted(set(fields[name])))
    return fields


def _appended(links: Sequence[tuple[bytes, bytes]], key: DeviceKey, block: Block) -> bytes:
    body = write_block(block)
    parts: list[cbor.Value] = [part for link in links for part in link]
    data = cbor.encode([*parts, body, key.sign(_DOMAIN, body)])
    if len(data) > GRANT_BYTES_MAX or len(links) >= GRANT_BLOCKS_MAX:
        raise BadRequest(f"a grant has at most {GRANT_BLOCKS_MAX} blocks and {GRANT_BYTES_MAX} bytes")
    return data


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _keep(table: dict[bytes, _Row], key: bytes, row: _Row, rows_max: int) -> None:
    """Put a row at the end of a table; the one that was used least lately goes where it is full."""
    table[key] = row
    if len(table) > rows_max:
        del table[next(iter(table))]
