"""Tokens that an attacker can make, each with all the keys that it may have: its own, and those of a holder of a real grant."""

from __future__ import annotations

import hashlib
import itertools

import msgspec

from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.model.rights import Impact, Op
from worldos.sim.machine import account_of, device_key
from worldos.trust import cbor
from worldos.trust import grant as grants
from worldos.trust.block import Limits
from worldos.trust.grant import Grants, check_chain, issue, narrow
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey, id_of
from worldos.trust.limits import GRANT_BLOCKS_MAX, GRANT_BYTES_MAX, GRANT_PATHS_MAX

NOW_S = 1_800_000_000
ACCOUNT = KeyLog(entries=dict(account_of(3))).account
OWNER, HOLDER, STRANGER = (device_key(number) for number in (0, 7, 8))
UNTIL = Limits(expires_s=NOW_S + 3600)
WORK = Limits(expires_s=NOW_S + 3600, ops=(Op.LEASE,), paths=((ACCOUNT, "node", "n1", "CPU"),), cls=Impact.REVERSIBLE)
REAL = issue(OWNER, account=ACCOUNT, holder=HOLDER.node_id, limits=WORK)
ORDER = (1 << 252) + 27742317777372353535851937790883648493  # of the group of Ed25519
LOW_ORDER = (  # points of order 1, 2, 4 and 8, and other ways to write some: RFC 8032 lets an implementation take them
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def ours(account: AccountId, device: NodeId) -> bool:
    """Whether a grant may begin so here."""
    return account == ACCOUNT and device == OWNER.node_id


def refused(data: bytes, now_s: int = NOW_S) -> str:
    """Return why a node refuses this token; nothing if it takes it. Nothing else may be raised."""
    try:
        check_chain(grants.read_chain(data), root_key_ok=ours, now_s=now_s, cache=Grants())
    except (PeerBroke, BadSignature, NotAllowed) as refusal:
        return str(refusal)
    return ""


def parts_of(data: bytes) -> list[bytes]:
    """Return the blocks and signatures of a grant, one after the other."""
    parts = cbor.decode(data)
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, bytes)]


def signed(body: bytes, key: DeviceKey = HOLDER, below: bytes = REAL) -> bytes:
    """Put any bytes as a block below a grant, signed by a key."""
    return cbor.encode([*parts_of(below), body, key.sign("grant", body)])


def fields(**changed: cbor.Value) -> dict[str | int, cbor.Value]:
    """Return the fields of a good block below the real grant, some changed."""
    parent = parts_of(narrow(REAL, HOLDER, holder=HOLDER.node_id, limits=UNTIL))[2]
    found = cbor.decode(parent)
    assert isinstance(found, dict)
    return {**found, **changed}


def block(**changed: cbor.Value) -> bytes:
    """Return a token whose last block, well signed by the holder, has such fields."""
    return signed(cbor.encode(fields(**changed)))


def deep() -> bytes:
    """As many blocks as there may be and one more, every signature good."""
    data = REAL
    for _ in range(GRANT_BLOCKS_MAX - 1):
        data = narrow(data, HOLDER, holder=HOLDER.node_id, limits=UNTIL)
    parts = parts_of(data)
    return cbor.encode([*parts, *parts[-2:]])


def dearest() -> bytes:
    """Eight blocks of 4 kB, all well signed but the last: what costs a node most before it can say no."""
    data = REAL
    for number in range(GRANT_BLOCKS_MAX - 1):
        room = GRANT_BYTES_MAX - len(data) - 130 * (GRANT_BLOCKS_MAX - 1 - number)
        labels = tuple(sorted((ACCOUNT[:40], f"{many:02}") for many in range(GRANT_PATHS_MAX)))
        paths = labels[: max(1, room // 46 // (GRANT_BLOCKS_MAX - 1 - number))]
        with_paths = msgspec.structs.replace(UNTIL, paths=paths)
        checked, grants._check_narrower = grants._check_narrower, lambda *_: None
        try:
            data = narrow(data, HOLDER, holder=HOLDER.node_id, limits=with_paths)
        finally:
            grants._check_narrower = checked
    parts = parts_of(data)
    return cbor.encode([*parts[:-1], bytes(64)])


def wrapped(body: bytes) -> bytes:
    """A block whose bytes are not CBOR as we write it."""
    return signed(body)


def with_s_plus_l() -> bytes:
    """The real grant with its signature written in another way: S + L."""
    body, signature = parts_of(REAL)
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    return cbor.encode([body, signature[:32] + scalar.to_bytes(32, "little")])


def low_order(point: bytes) -> bytes:
    """A holder whose key is a point of low order, and the signature that such a key would have over everything."""
    own = cbor.encode(fields(h=point))
    parts = [*parts_of(REAL), own, HOLDER.sign("grant", own)]
    parent = hashlib.sha256(own).digest()
    last = cbor.encode({**fields(), "p": parent})
    return cbor.encode([*parts, last, point + bytes(32)])


def others() -> dict[str, bytes]:
    """Tokens of strangers, of former times, of other holders."""
    parts = parts_of(narrow(REAL, HOLDER, holder=HOLDER.node_id, limits=UNTIL))
    stranger = issue(STRANGER, account=ACCOUNT, holder=STRANGER.node_id, limits=UNTIL)
    return {
        "begun by a stranger": stranger,
        "begun by a stranger in our device's name": cbor.encode([parts[0], STRANGER.sign("grant", parts[0])]),
        "of another account": issue(OWNER, account=AccountId(id_of(b"b" * 32)), holder=HOLDER.node_id, limits=UNTIL),
        "ended": issue(OWNER, account=ACCOUNT, holder=HOLDER.node_id, limits=Limits(expires_s=NOW_S)),
        "not yet begun": issue(
            OWNER,
            account=ACCOUNT,
            holder=HOLDER.node_id,
            limits=Limits(not_before_s=NOW_S + 900, expires_s=NOW_S + 999),
        ),
        "narrowed by another than its holder": signed(cbor.encode(fields()), STRANGER),
        "with the first block left out": cbor.encode(parts[2:]),
        "with a block of another grant": cbor.encode([*parts_of(stranger), *parts[2:]]),
        "signed for another purpose": cbor.encode([parts[0], OWNER.sign("keylog", parts[0])]),
        "with its signature as S + L": with_s_plus_l(),
        "without signatures": cbor.encode(parts[::2]),
    }


def malformed() -> dict[str, bytes]:
    """Blocks that the holder of a real grant signed well, and that say what no block may."""
    sorted_twice = cbor.encode(fields())
    twice = bytes([sorted_twice[0] + 1]) + sorted_twice[1:] + b"\x63exp\x1a\x7f\xff\xff\xff"
    long_head = cbor.encode(fields()).replace(b"\x63exp\x1a", b"\x63exp\x1b\0\0\0\0")
    return {
        "8 deep and one more": deep(),
        "a field that nobody knows": block(zzz=1),
        "a duplicate key": wrapped(twice),
        "a number in a longer head": wrapped(long_head),
        "a map without end": wrapped(b"\xbf" + cbor.encode(fields())[1:] + b"\xff"),
        "a tag in a field": wrapped(cbor.encode(fields())[:-5] + b"\xc0\x60"),
        "a float": wrapped(cbor.encode(fields())[:-5] + b"\xf9\x3c\x00"),
        "null for a limit": block(cls=None),
        "true for a class": block(cls=True),
        "text for bytes": block(h="h" * 32),
        "a path that climbs": block(res=[[ACCOUNT, "node", "n1", "CPU", "..", "GPU"]]),
        "a path with a slash": block(res=[[ACCOUNT, "node/n1"]]),
        "a look-alike": block(res=[[ACCOUNT, "node", "n1", "СPU"]]),  # noqa: RUF001 Cyrillic
        "a wide letter": block(res=[[ACCOUNT, "node", "n1", "ＣPU"]]),  # noqa: RUF001
        "a zero byte": block(res=[[ACCOUNT, "node", "n1", "CPU\0"]]),
        "a newline at the end": block(res=[[ACCOUNT, "node", "n1", "CPU\n"]]),
        "letters in another order of marks": block(role="e\u0301"),
        "a class that is not": block(cls=9),
        "a negative epoch": block(ep=-1),
        "an end after all time": block(exp=1 << 63),
        "a key of 31 bytes": block(h=b"h" * 31),
        "a second root in the middle": block(k=STRANGER.public),
    }


def bombs() -> dict[str, bytes]:
    """Bytes that are meant to cost."""
    return {
        "4 kB of arrays in arrays": b"\x81" * GRANT_BYTES_MAX,
        "4 kB of maps in maps": (b"\xa1\x00" * GRANT_BYTES_MAX)[:GRANT_BYTES_MAX],
        "4 kB of numbers": cbor.encode([1] * (GRANT_BYTES_MAX - 3)),
        "4 kB of keys": b"\xb9\x0f\xff" + bytes(GRANT_BYTES_MAX - 3),
        "4 kB of empty maps": b"\x99\x0f\xfd" + b"\xa0" * (GRANT_BYTES_MAX - 3),
        "4 kB of text": b"\x79\x0f\xfd" + b"a" * (GRANT_BYTES_MAX - 3),
        "4 kB of marks": b"\x79\x0f\xfd" + ("a" + "\u0301" * 2046).encode(),
        "4 kB in a block of numbers": wrapped(cbor.encode(list(range(400)))),
        "4 kB in a block of fields": wrapped(cbor.encode({f"f{number}": number for number in range(250)})),
        "an array of 2^63": b"\x9b\x7f" + b"\xff" * 7,
        "1 MB": bytes(1 << 20),
        "nothing": b"",
        "the dearest, 8 blocks of 4 kB": dearest(),
    }


HOSTILE: dict[str, bytes] = {
    **others(),
    **malformed(),
    **bombs(),
    **{f"a key of low order, {number}": low_order(bytes.fromhex(point)) for number, point in enumerate(LOW_ORDER)},
    **{f"cut after {size} bytes": REAL[:size] for size in itertools.islice(range(1, len(REAL)), 0, None, 37)},
}
