"""Grants: chains that only narrow."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, NotAllowed, PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op
from worldos.trust import cbor
from worldos.trust import grant as grant_module
from worldos.trust.block import Blast, Limits, Rate
from worldos.trust.grant import Authority, Chain, Grants, check_chain, grant_hash, issue, narrow, read_chain
from worldos.trust.keys import DeviceKey, id_of
from worldos.trust.limits import BLOCKS_KEPT_MAX, GRANT_BLOCKS_MAX, GRANTS_KEPT_MAX, REQUEST_SKEW_S

NOW_S = 1_800_000_000
ACCOUNT = AccountId(id_of(b"a" * 32))
OWNER, ANNE, BEN, CLEO = (DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 5))
CPU = ("acme", "node", "n1", "CPU")
UNTIL = Limits(expires_s=NOW_S + 3600)
WORK = Limits(
    expires_s=NOW_S + 3600,
    ops=(Op.LEASE, Op.READ),
    paths=(("acme", "node"),),
    cls=Impact.COSTLY,
    level=Level.ENTERPRISE,
)


def ours(account: AccountId, device: NodeId) -> bool:
    return account == ACCOUNT and device == OWNER.node_id


def checked(data: bytes, now_s: int = NOW_S) -> Authority:
    return check_chain(read_chain(data), root_key_ok=ours, now_s=now_s, cache=Grants())


def worked(holder: DeviceKey = ANNE, limits: Limits = WORK) -> bytes:
    return issue(OWNER, account=ACCOUNT, holder=holder.node_id, limits=limits)


def test_a_grant_lets_through_what_it_names_and_says_why_not_else() -> None:
    held = checked(worked())
    assert (held.account, held.signer, held.holder) == (ACCOUNT, OWNER.node_id, ANNE.node_id)
    assert held.allows(Op.LEASE, CPU, Impact.REVERSIBLE, Level.HOME, NOW_S) is None
    refusals = [
        held.allows(Op.WRITE, CPU, 0, 0, NOW_S),
        held.allows(Op.LEASE, ("acme", "nodes"), 0, 0, NOW_S),
        held.allows(Op.LEASE, ("acme",), 0, 0, NOW_S),
        held.allows(Op.LEASE, CPU, Impact.PHYSICAL, 0, NOW_S),
        held.allows(Op.LEASE, CPU, 0, Level.GROUP, NOW_S),
        held.allows(Op.LEASE, CPU, 0, 0, NOW_S + 3600),
        held.allows(Op.LEASE, CPU, 0, 0, 0),
    ]
    assert all(refusal is not None and refusal.why for refusal in refusals)
    assert len({refusal.why for refusal in refusals if refusal}) == len(refusals)


def test_a_grant_that_names_nothing_lets_nothing_through() -> None:
    for limits in (Limits(expires_s=NOW_S + 1, ops=()), Limits(expires_s=NOW_S + 1, paths=())):
        assert checked(worked(limits=limits)).allows(Op.READ, CPU, 0, 0, NOW_S)


def test_a_grant_is_passed_on_narrowed() -> None:
    first = worked()
    second = narrow(first, ANNE, holder=BEN.node_id, limits=Limits(expires_s=NOW_S + 60, paths=(CPU,)))
    third = narrow(second, BEN, holder=CLEO.node_id, limits=Limits(expires_s=NOW_S + 60, ops=(Op.READ,)))
    held = checked(third)
    assert held.holder == CLEO.node_id
    assert held.allows(Op.READ, CPU, 0, 0, NOW_S) is None
    assert held.allows(Op.LEASE, CPU, 0, 0, NOW_S)
    assert held.allows(Op.READ, ("acme", "node", "n2", "CPU"), 0, 0, NOW_S)
    assert held.expires_s == NOW_S + 60
    assert held.blocks[0] == checked(first).blocks[0]
    assert held.chain == grant_hash(third)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(expires_s=NOW_S + 3601),
        Limits(expires_s=NOW_S, ops=(Op.ADMIN,)),
        Limits(expires_s=NOW_S, cls=Impact.PHYSICAL),
        Limits(expires_s=NOW_S, level=Level.PLANET),
        Limits(expires_s=NOW_S, paths=(("acme",),)),
        Limits(expires_s=NOW_S, paths=((),)),
        Limits(expires_s=NOW_S, budget=2),
    ],
)
def test_the_honest_are_told_that_they_cannot_widen(limits: Limits) -> None:
    first = worked(limits=msgspec.structs.replace(WORK, budget=1))
    with pytest.raises(BadRequest, match="the grant that you hold"):
        narrow(first, ANNE, holder=BEN.node_id, limits=limits)


def test_only_the_holder_passes_a_grant_on() -> None:
    with pytest.raises(BadRequest):
        narrow(worked(), BEN, holder=BEN.node_id, limits=UNTIL)


def forced(monkeypatch: pytest.MonkeyPatch, data: bytes, key: DeviceKey, holder: DeviceKey, limits: Limits) -> bytes:
    """Narrow as somebody who does not care what is held."""
    with monkeypatch.context() as patch:
        patch.setattr(grant_module, "_check_narrower", lambda *_: None)
        return narrow(data, key, holder=holder.node_id, limits=limits)


def test_a_block_that_names_more_widens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Limits(expires_s=NOW_S * 2, paths=((),), ops=tuple(Op), cls=Impact.IRREVERSIBLE, level=Level.PLANET)
    wider = forced(monkeypatch, worked(), ANNE, BEN, wide)
    was, held = checked(worked()), checked(wider)
    assert (held.ops, held.cls, held.level, held.expires_s) == (was.ops, was.cls, was.level, was.expires_s)
    assert held.allows(Op.LEASE, ("acme", "realm"), 0, 0, NOW_S)


def test_a_grant_of_others_or_of_a_former_device_is_not_allowed() -> None:
    stranger = issue(BEN, account=ACCOUNT, holder=ANNE.node_id, limits=UNTIL)
    other = issue(OWNER, account=AccountId(id_of(b"b" * 32)), holder=ANNE.node_id, limits=UNTIL)
    for data in (stranger, other):
        with pytest.raises(NotAllowed):
            checked(data)


def test_a_grant_holds_in_its_time_only() -> None:
    data = worked(limits=Limits(not_before_s=NOW_S, expires_s=NOW_S + 100))
    assert checked(data, NOW_S - REQUEST_SKEW_S)  # clocks differ
    assert checked(data, NOW_S + 99)
    for now_s in (NOW_S - REQUEST_SKEW_S - 1, NOW_S + 100, NOW_S - 3600, NOW_S + 3600, 0):
        with pytest.raises(NotAllowed):
            checked(data, now_s)


def parts_of(data: bytes) -> list[bytes]:
    parts = cbor.decode(data)
    assert isinstance(parts, list)
    return parts  # type: ignore[return-value]


def test_a_block_cannot_be_dropped_swapped_or_moved() -> None:
    second = narrow(worked(), ANNE, holder=BEN.node_id, limits=Limits(expires_s=NOW_S + 60))
    third = narrow(second, BEN, holder=CLEO.node_id, limits=Limits(expires_s=NOW_S + 30))
    parts = parts_of(third)
    other = parts_of(narrow(worked(BEN), BEN, holder=CLEO.node_id, limits=Limits(expires_s=NOW_S + 60)))
    for changed in (
        parts[2:],
        parts[:2] + parts[4:],
        parts[:2] + parts[4:] + parts[2:4],
        parts[:2] + other[2:],
        [*parts, *parts[4:]],
        parts[:-1],
        [],
    ):
        with pytest.raises(PeerBroke):
            read_chain(cbor.encode(changed))


def test_a_forged_signature_is_seen_in_every_block() -> None:
    data = narrow(worked(), ANNE, holder=BEN.node_id, limits=Limits(expires_s=NOW_S + 60))
    for place in (1, 3):
        parts = parts_of(data)
        parts[place] = parts[place][:9] + bytes([parts[place][9] ^ 1]) + parts[place][10:]
        with pytest.raises(BadSignature):
            checked(cbor.encode(parts))


def test_a_child_that_a_stranger_signed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = parts_of(narrow(worked(BEN), BEN, holder=BEN.node_id, limits=UNTIL))
    theirs = parts_of(narrow(worked(), ANNE, holder=BEN.node_id, limits=UNTIL))
    with pytest.raises(BadSignature):
        checked(cbor.encode([theirs[0], theirs[1], theirs[2], mine[3]]))


def test_only_the_first_block_names_who_signed_it() -> None:
    first, second = parts_of(worked()), parts_of(narrow(worked(), ANNE, holder=BEN.node_id, limits=UNTIL))
    again = cbor.encode([*first, *first])
    with pytest.raises(PeerBroke):
        read_chain(again)
    with pytest.raises(PeerBroke):
        read_chain(cbor.encode(second[2:]))


def test_the_longest_chain_holds_and_a_longer_one_cannot_be_made() -> None:
    data = worked()
    for _ in range(GRANT_BLOCKS_MAX - 1):
        data = narrow(data, ANNE, holder=ANNE.node_id, limits=UNTIL)
    assert len(checked(data).blocks) == GRANT_BLOCKS_MAX
    with pytest.raises(BadRequest):
        narrow(data, ANNE, holder=ANNE.node_id, limits=UNTIL)
    with pytest.raises(PeerBroke):
        read_chain(cbor.encode([*parts_of(data), *parts_of(data)[-2:]]))


def test_what_all_blocks_say_together_is_the_least_of_each() -> None:
    first = worked(limits=Limits(expires_s=NOW_S + 100, blast=Blast(ppm=10, count=5), budget=9, epoch=7, role="boss"))
    need = b"n" * 32
    limits = Limits(
        expires_s=NOW_S + 50, blast=Blast(ppm=20, count=2), rate=Rate(per_hour=5, burst=1), epoch=3, need=need
    )
    held = checked(narrow(first, ANNE, holder=BEN.node_id, limits=limits))
    assert (held.blast, held.budget, held.epoch) == (Blast(ppm=10, count=2), 9, 3)
    assert held.roles == ("boss",)
    assert held.rates == ((held.blocks[1], Rate(per_hour=5, burst=1)),)
    assert held.allows(Op.READ, CPU, 0, 0, NOW_S)
    assert held.allows(Op.READ, CPU, 0, 0, NOW_S, approved=[need]) is None


def test_a_signature_is_checked_once_and_never_remembered_if_it_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    real = grant_module.verify

    def counted(*args: object) -> None:
        nonlocal count
        count += 1
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(grant_module, "verify", counted)
    cache = Grants()
    data = narrow(worked(), ANNE, holder=BEN.node_id, limits=UNTIL)

    def check(data: bytes) -> None:
        check_chain(cache.read(data), root_key_ok=ours, now_s=NOW_S, cache=cache)

    for _ in range(3):
        check(data)
    assert count == 2
    parts = parts_of(data)
    bad = cbor.encode([*parts[:3], bytes(64)])
    for _ in range(2):
        with pytest.raises(BadSignature):
            check(bad)
    assert count == 4


def test_what_nobody_of_ours_signed_is_not_remembered() -> None:
    cache = Grants()
    foreign = issue(BEN, account=ACCOUNT, holder=BEN.node_id, limits=UNTIL)
    forged = cbor.encode([parts_of(worked())[0], bytes(64)])
    for data in (foreign, forged):
        with pytest.raises((NotAllowed, BadSignature)):
            check_chain(cache.read(data), root_key_ok=ours, now_s=NOW_S, cache=cache)
    assert cache == Grants()


def test_what_is_remembered_is_bounded() -> None:
    cache = Grants()
    data = worked()
    for number in range(BLOCKS_KEPT_MAX + 10):
        cache.links[number.to_bytes(32, "big")] = None
    for number in range(GRANTS_KEPT_MAX + 10):
        cache.chains[number.to_bytes(32, "big")] = read_chain(data)
    while len(cache.chains) > GRANTS_KEPT_MAX:
        del cache.chains[next(iter(cache.chains))]
    while len(cache.links) > BLOCKS_KEPT_MAX:
        del cache.links[next(iter(cache.links))]
    for holder in (ANNE, BEN):
        check_chain(cache.read(worked(holder)), root_key_ok=ours, now_s=NOW_S, cache=cache)
    assert len(cache.chains) == GRANTS_KEPT_MAX
    assert len(cache.links) == BLOCKS_KEPT_MAX


def test_a_table_of_grants_can_be_written_to_disk_and_read() -> None:
    cache = Grants()
    check_chain(cache.read(worked()), root_key_ok=ours, now_s=NOW_S, cache=cache)
    encoded = msgspec.msgpack.encode(cache)
    assert msgspec.msgpack.decode(encoded, type=Grants) == cache
    assert isinstance(next(iter(cache.chains.values())), Chain)


OPS = st.lists(st.sampled_from(list(Op)), unique=True).map(tuple)
LABEL = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(st.lists(LABEL, max_size=3).map(tuple), unique=True, max_size=3).map(tuple)
SOME = st.builds(
    Limits,
    ops=OPS | st.just(msgspec.UNSET),
    paths=PATHS | st.just(msgspec.UNSET),
    cls=st.sampled_from(list(Impact)) | st.just(msgspec.UNSET),
    level=st.sampled_from(list(Level)) | st.just(msgspec.UNSET),
    expires_s=st.integers(NOW_S - 2, NOW_S + 2),
)
ASKED = st.tuples(
    st.sampled_from(list(Op)), st.lists(LABEL, max_size=4).map(tuple), st.integers(0, 4), st.integers(0, 5)
)


def lets_through(limits: Limits, op: Op, path: tuple[str, ...], cls: int, level: int) -> bool:
    """The rule said naively, for one block."""
    unset = msgspec.UNSET
    return (
        (limits.ops is unset or op in limits.ops)
        and (limits.paths is unset or any(list(path)[: len(root)] == list(root) for root in limits.paths))
        and (limits.cls is unset or cls <= limits.cls)
        and (limits.level is unset or level <= limits.level)
        and limits.expires_s > NOW_S
    )


@given(st.lists(SOME, min_size=1, max_size=4), st.lists(ASKED, min_size=1, max_size=8))
def test_a_chain_lets_through_what_each_of_its_blocks_would(
    blocks: list[Limits], asked: list[tuple[Op, tuple[str, ...], int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grant_module, "_check_narrower", lambda *_: None)
        data = worked(limits=blocks[0])
        for limits in blocks[1:]:
            data = narrow(data, ANNE, holder=ANNE.node_id, limits=limits)
    held = read_chain(data).authority
    for op, path, cls, level in asked:
        wanted = all(lets_through(limits, op, path, cls, level) for limits in blocks)
        assert (held.allows(op, path, cls, level, NOW_S) is None) == wanted
