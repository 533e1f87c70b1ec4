"""Who may do what: owners by the key log, others by grants and by what is lent, and nobody else."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.kernel.realms.village import Village, account

from worldos.kernel.authority import BY_DEFAULT, BY_GRANT, BY_LEND, BY_LOG, BY_SELF, LEASED_MAX, Asked, Ruling, level_of
from worldos.kernel.events import KeyLogOffered, PeerSaid, StatementsOffered
from worldos.kernel.kin import Kinsman
from worldos.kernel.realms import GUEST
from worldos.kernel.revocations import STALE_NS
from worldos.kernel.roles import RoleGiven, write_role
from worldos.model.ids import NodeId, UseId
from worldos.model.limits import NEVER_NS, SECOND
from worldos.model.need import Need
from worldos.model.realm import Contact, Level, RealmId
from worldos.model.rights import GRANT_BYTES_MAX, Impact, Op
from worldos.model.statements import Topic
from worldos.model.wire import KeyLogHave, LeaseAsk, LeaseConfirm, LeaseGone, LeaseGranted, LeaseRefused, LeaseRenew
from worldos.node import Node
from worldos.trust import limits as trust_limits
from worldos.trust.block import Limits, Rate
from worldos.trust.grant import issue, narrow, read_chain
from worldos.trust.keylog import remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.revocation import EpochBegan, GrantRevoked, write_revocation
from worldos.trust.statements import sign_statement

NOW_S = 1_900_000_000
OFFICE, HOME = (account(name, 2)[1] for name in ("office", "home"))
STRANGER = DeviceKey.from_seed(b"s" * 32)
HOUR_S = 3600


@pytest.fixture
def village() -> Village:
    village = Village(home=2, office=2)
    village.run(4)
    for node in village.nodes.values():
        node.wall_ahead_ns = NOW_S * SECOND - village.now_ns
    return village


@pytest.fixture
def desk(village: Village) -> Node:
    return village.nodes["office0"]


def grant_of(
    node: Node,
    holder: DeviceKey = STRANGER,
    signer: DeviceKey = OFFICE[0],
    **changed: object,
) -> bytes:
    wanted = {
        "paths": ((node.registry.owner,),),
        "ops": (Op.LEASE,),
        "cls": Impact.PHYSICAL,
        "level": Level.ENTERPRISE,
        "expires_s": NOW_S + HOUR_S,
    }
    limits = Limits(**{**wanted, **changed})
    return issue(signer, account=node.registry.owner, holder=NodeId(holder.node_id), limits=limits)


def rule(
    village: Village, node: Node, who: DeviceKey | str, impact: Impact = Impact.REVERSIBLE, grant: bytes = b""
) -> Ruling:
    principal = NodeId(who if isinstance(who, str) else who.node_id)
    path = (node.registry.owner, "node", node.node, "CPU", "0")
    return node.authority.judge(village.now_ns, principal, Op.LEASE, path, impact, node, grant)


def ask(node: Node, grant: bytes = b"", number: int = 1) -> LeaseAsk:
    resource = next(iter(node.leases.kinds))
    need = Need(kind="CPU", amount=1000)
    return LeaseAsk(
        ask=number, use=UseId("u"), need=need, resources=(resource,), ttl_ns=8 * SECOND, hold=False, grant=grant
    )


def answers(village: Village, node: Node, message: object, who: DeviceKey = STRANGER) -> list[object]:
    """What a node says to a guest that says this."""
    node.realms.kin.table.setdefault(NodeId(who.node_id), _kinsman(who))
    effects = node.handle(PeerSaid(now_ns=village.now_ns, node=NodeId(who.node_id), message=message))  # type: ignore[arg-type]
    return [
        effect.message
        for effect in effects
        if getattr(effect, "node", "") == who.node_id and hasattr(effect, "message")
    ]


def _kinsman(who: DeviceKey) -> object:

    contact = Contact(node=NodeId(who.node_id), name="x", site=RealmId("elsewhere"), root_cert=b"", addresses=())
    return Kinsman(contact=contact, reasons={"card": NEVER_NS})


def tell(village: Village, node: Node, topic: Topic, body: bytes, signer: DeviceKey = OFFICE[0]) -> list[object]:
    statement = sign_statement(signer, topic, body)
    return list(node.handle(StatementsOffered(now_ns=village.now_ns, statements=(statement,))))


# -- members, and nobody -------------------------------------------------------------------------------------------------


def test_a_node_obeys_itself_and_devices_of_its_account(village: Village, desk: Node) -> None:
    assert rule(village, desk, desk.node, Impact.IRREVERSIBLE).by == BY_SELF
    assert rule(village, desk, OFFICE[1]).by == BY_LOG
    assert rule(village, desk, OFFICE[1]).allowed


def test_nobody_else_may_do_anything(village: Village, desk: Node) -> None:
    for who in (STRANGER, HOME[0]):
        ruling = rule(village, desk, who, Impact.READ)
        assert (ruling.allowed, ruling.by) == (False, BY_DEFAULT)
        assert ruling.why


def test_a_ruling_says_of_whom_and_what_it_is(village: Village, desk: Node) -> None:
    ruling = rule(village, desk, STRANGER)
    assert (ruling.principal, ruling.op, ruling.impact) == (STRANGER.node_id, Op.LEASE, Impact.REVERSIBLE)
    assert ruling.path[-2:] == ("CPU", "0")


# -- grants -------------------------------------------------------------------------------------------------------------


def test_who_holds_a_grant_may_do_what_it_says(village: Village, desk: Node) -> None:
    ruling = rule(village, desk, STRANGER, grant=grant_of(desk))
    assert (ruling.allowed, ruling.by) == (True, BY_GRANT)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ops": (Op.READ,)}, "not for lease"),
        ({"cls": Impact.READ}, "impact class 0"),
        ({"paths": (("elsewhere",),)}, "not for"),
        ({"expires_s": NOW_S - 1}, "ended"),
        ({"not_before_s": NOW_S + 2 * HOUR_S, "expires_s": NOW_S + 3 * HOUR_S}, "not yet"),
    ],
)
def test_a_grant_for_something_else_allows_nothing(
    village: Village, desk: Node, changed: dict[str, object], why: str
) -> None:
    ruling = rule(village, desk, STRANGER, grant=grant_of(desk, **changed))
    assert not ruling.allowed
    assert why in ruling.why


def test_a_grant_in_another_hand_is_worth_nothing(village: Village, desk: Node) -> None:
    ruling = rule(village, desk, HOME[0], grant=grant_of(desk))
    assert not ruling.allowed
    assert "another holder" in ruling.why


def test_a_grant_by_who_is_no_device_of_ours_is_worth_nothing(village: Village, desk: Node) -> None:
    assert not rule(village, desk, STRANGER, grant=grant_of(desk, signer=HOME[0])).allowed


def test_garbage_for_a_grant_is_refused_with_a_reason(village: Village, desk: Node) -> None:
    for garbage in (b"\x80", b"\xff" * 4096, bytes(GRANT_BYTES_MAX)):
        ruling = rule(village, desk, STRANGER, grant=garbage)
        assert not ruling.allowed
        assert ruling.why


def test_a_grant_that_a_member_shows_narrows_it(village: Village, desk: Node) -> None:
    reading = grant_of(desk, holder=OFFICE[1], ops=(Op.READ,))
    assert not rule(village, desk, OFFICE[1], grant=reading).allowed
    leasing = grant_of(desk, holder=OFFICE[1])
    assert rule(village, desk, OFFICE[1], grant=leasing).allowed


def test_without_a_clock_no_grant_holds(village: Village, desk: Node) -> None:
    desk.wall_ahead_ns = 0
    assert not rule(village, desk, STRANGER, grant=grant_of(desk)).allowed


def test_the_door_takes_the_largest_grant_that_there_is() -> None:
    assert trust_limits.GRANT_BYTES_MAX == GRANT_BYTES_MAX


def test_a_grant_with_a_rate_is_good_for_so_many_requests(village: Village, desk: Node) -> None:
    grant = grant_of(desk, rate=Rate(per_hour=60, burst=2))
    assert [rule(village, desk, STRANGER, grant=grant).allowed for _ in range(3)] == [True, True, False]
    passed = narrow(grant, STRANGER, holder=NodeId(HOME[0].node_id), limits=Limits(expires_s=NOW_S + 60))
    assert "an hour" in rule(village, desk, HOME[0], grant=passed).why
    village.now_ns += 61 * SECOND
    desk.wall_ahead_ns -= 61 * SECOND
    assert rule(village, desk, STRANGER, grant=grant).allowed


# -- revocation -----------------------------------------------------------------------------------------------------------


def revoked(grant: bytes, at: int = -1) -> bytes:
    return write_revocation(GrantRevoked(block=read_chain(grant).authority.blocks[at]))


def test_a_revoked_grant_holds_no_more_nor_what_was_narrowed_from_it(village: Village, desk: Node) -> None:
    grant = grant_of(desk)
    passed = narrow(grant, STRANGER, holder=NodeId(HOME[0].node_id), limits=Limits(expires_s=NOW_S + 60))
    assert rule(village, desk, HOME[0], grant=passed).allowed
    tell(village, desk, Topic.REVOKED, revoked(grant))
    assert "revoked" in rule(village, desk, STRANGER, grant=grant).why
    assert "revoked" in rule(village, desk, HOME[0], grant=passed).why


def test_a_revocation_by_somebody_else_counts_for_nothing(village: Village, desk: Node) -> None:
    grant = grant_of(desk)
    answers(
        village, desk, LeaseConfirm(lease="x"), HOME[0]
    )  # it is kin: its words are kept, and count for its own grants
    tell(village, desk, Topic.REVOKED, revoked(grant), HOME[0])
    assert rule(village, desk, STRANGER, grant=grant).allowed


def test_who_passed_a_grant_on_may_take_that_part_back_alone(village: Village, desk: Node) -> None:
    grant = grant_of(desk)
    passed = narrow(grant, STRANGER, holder=NodeId(HOME[0].node_id), limits=Limits(expires_s=NOW_S + 60))
    answers(village, desk, LeaseConfirm(lease="x"))
    tell(village, desk, Topic.REVOKED, revoked(passed), STRANGER)
    tell(village, desk, Topic.REVOKED, revoked(grant), HOME[0])
    assert not rule(village, desk, HOME[0], grant=passed).allowed
    assert rule(village, desk, STRANGER, grant=grant).allowed


def test_a_new_epoch_ends_all_grants_from_before_it(village: Village, desk: Node) -> None:
    old, new = grant_of(desk), grant_of(desk, epoch=1)
    tell(village, desk, Topic.REVOKED, write_revocation(EpochBegan(number=1)))
    assert not rule(village, desk, STRANGER, grant=old).allowed
    assert rule(village, desk, STRANGER, grant=new).allowed


def test_a_grant_of_a_device_that_was_put_out_holds_no_more(village: Village, desk: Node) -> None:

    grant = grant_of(desk, signer=OFFICE[1])
    assert rule(village, desk, STRANGER, grant=grant).allowed
    entry = remove_device(desk.keylog, OFFICE[0], OFFICE[1].node_id)
    desk.handle(KeyLogOffered(now_ns=village.now_ns, entries=((entry.body, entry.signature),)))
    assert not rule(village, desk, STRANGER, grant=grant).allowed


# -- how fresh it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(Level))
def test_what_is_costly_takes_fresh_knowledge_of_revocations(village: Village, desk: Node, level: Level) -> None:
    desk.realms.level = level
    desk.realms.centers.known.clear()
    assert level_of(desk) is level
    grant = grant_of(desk, level=Level.PLANET)
    village.now_ns += STALE_NS[level]
    desk.wall_ahead_ns = NOW_S * SECOND - village.now_ns
    desk.authority.revocations.heard = {NodeId(OFFICE[1].node_id): village.now_ns - STALE_NS[level]}
    assert rule(village, desk, STRANGER, Impact.COSTLY, grant).allowed
    village.now_ns += 1
    stale = rule(village, desk, STRANGER, Impact.COSTLY, grant)
    assert not stale.allowed
    assert "revocations" in stale.why
    assert rule(village, desk, STRANGER, Impact.REVERSIBLE, grant).allowed
    assert rule(village, desk, desk.node, Impact.COSTLY).allowed, "who is at the machine is no matter of news"


def test_other_members_keep_it_fresh(village: Village, desk: Node) -> None:
    village.run(20)
    assert desk.authority.revocations.stale_ns(village.now_ns, desk) < 20 * SECOND
    village.cut(["office0"], ["office1"])
    village.run(30)
    assert desk.authority.revocations.stale_ns(village.now_ns, desk) > 20 * SECOND


def test_an_island_is_not_fresh_by_what_it_says_to_itself(village: Village, desk: Node) -> None:
    center = desk.realms.centers.known[desk.realms.site]
    island = msgspec.structs.replace(center, epoch=msgspec.structs.replace(center.epoch, provisional=True))
    desk.realms.centers.known[desk.realms.site] = island
    known, have = desk.authority.revocations, KeyLogHave(heads=desk.keylog.heads())
    before = dict(known.heard)
    known.heard_log(village.now_ns + SECOND, NodeId(OFFICE[1].node_id), have, desk)
    assert known.heard == before
    desk.realms.centers.known[desk.realms.site] = center
    known.heard_log(village.now_ns + SECOND, NodeId(OFFICE[1].node_id), KeyLogHave(heads=("unknown",)), desk)
    assert known.heard == before, "it knows more than we do"
    known.heard_log(village.now_ns + SECOND, NodeId(OFFICE[1].node_id), have, desk)
    assert known.heard[NodeId(OFFICE[1].node_id)] == village.now_ns + SECOND


def test_who_granted_something_does_not_vouch_that_it_may_still(village: Village, desk: Node) -> None:
    desk.realms.level = Level.NATION
    desk.realms.centers.known.clear()
    desk.authority.revocations.heard = {NodeId(OFFICE[1].node_id): village.now_ns}
    mine, theirs = (grant_of(desk, signer=key, level=Level.NATION) for key in OFFICE)
    assert rule(village, desk, STRANGER, Impact.COSTLY, mine).allowed
    assert rule(village, desk, STRANGER, Impact.COSTLY, theirs).allowed, "there is nobody else who could say so"
    third = account("office", 3)
    desk.keylog = type(desk.keylog)(entries=dict(third[0]))
    assert rule(village, desk, STRANGER, Impact.COSTLY, mine).allowed
    assert not rule(village, desk, STRANGER, Impact.COSTLY, theirs).allowed


def test_of_things_elsewhere_a_node_is_a_member_like_others(village: Village, desk: Node) -> None:
    asked = Asked(desk.node, Op.REVOKE, (desk.registry.owner, "devices"), Impact.IRREVERSIBLE)
    assert desk.authority.weigh(village.now_ns, asked, desk).by == BY_SELF
    assert desk.authority.weigh(village.now_ns, asked, desk, here=False).by == BY_LOG


# -- leases ---------------------------------------------------------------------------------------------------------------


def test_a_lease_is_given_by_a_grant_and_ends_with_it(village: Village, desk: Node) -> None:
    grant = grant_of(desk)
    (granted,) = answers(village, desk, ask(desk, grant))
    assert isinstance(granted, LeaseGranted)
    renew = LeaseRenew(lease=granted.terms.lease, number=1)
    assert not isinstance(answers(village, desk, renew)[0], LeaseGone)
    told = tell(village, desk, Topic.REVOKED, revoked(grant))
    assert [e.message.why for e in told if isinstance(getattr(e, "message", None), LeaseGone)] == [
        "the grant was revoked"
    ]
    assert granted.terms.lease not in desk.leases.leases


def test_a_lease_is_not_renewed_when_its_grant_is_over(village: Village, desk: Node) -> None:
    (granted,) = answers(village, desk, ask(desk, grant_of(desk, expires_s=NOW_S + 5)))
    assert isinstance(granted, LeaseGranted)
    desk.wall_ahead_ns += 6 * SECOND
    (gone,) = answers(village, desk, LeaseRenew(lease=granted.terms.lease, number=1))
    assert isinstance(gone, LeaseGone)
    assert "ended" in gone.why


def test_an_ask_without_a_right_is_refused_in_a_sentence(village: Village, desk: Node) -> None:
    (refused,) = answers(village, desk, ask(desk))
    assert isinstance(refused, LeaseRefused)
    assert "own account" in refused.reason


def test_what_is_remembered_of_grants_is_bounded(village: Village, desk: Node) -> None:
    desk.authority.leased = {f"gone{number}": b"" for number in range(LEASED_MAX)}  # type: ignore[misc]
    answers(village, desk, ask(desk, grant_of(desk)))
    assert len(desk.authority.leased) == 1


# -- roles ----------------------------------------------------------------------------------------------------------------


def given(desk: Node, **changed: object) -> bytes:
    return write_role(RoleGiven(grant=grant_of(desk, **changed), name="Ann", account=""))  # type: ignore[arg-type]


def test_who_has_a_role_needs_to_show_nothing(village: Village, desk: Node) -> None:
    tell(village, desk, Topic.ROLE, given(desk))
    ruling = rule(village, desk, STRANGER)
    assert (ruling.allowed, ruling.by) == (True, BY_GRANT)
    (granted,) = answers(village, desk, ask(desk))
    assert isinstance(granted, LeaseGranted)


def test_a_role_reaches_the_other_devices_of_the_account_and_nobody_else(village: Village, desk: Node) -> None:
    statement = sign_statement(OFFICE[0], Topic.ROLE, given(desk))
    village.feed("office0", StatementsOffered(now_ns=village.now_ns, statements=(statement,)))
    village.run(2)
    assert rule(village, village.nodes["office1"], STRANGER).allowed
    assert not village.nodes["home0"].statements.of(Topic.ROLE)


@pytest.mark.parametrize(
    "forge", [lambda desk: given(desk, signer=OFFICE[1]), lambda desk: b"no role", lambda desk: b"\x91"]
)
def test_what_is_no_role_of_ours_is_not_kept(village: Village, desk: Node, forge: Callable[[Node], bytes]) -> None:
    tell(village, desk, Topic.ROLE, forge(desk))
    assert not desk.statements.of(Topic.ROLE)
    assert not rule(village, desk, STRANGER).allowed


def test_a_role_by_another_account_is_not_kept(village: Village, desk: Node) -> None:
    tell(village, desk, Topic.ROLE, given(desk, signer=HOME[0]), HOME[0])
    assert not desk.statements.of(Topic.ROLE)


def test_what_the_site_lends_is_had_without_a_grant(village: Village, desk: Node) -> None:

    answers(village, desk, ask(desk))
    desk.realms.kin.table[NodeId(STRANGER.node_id)].reasons[GUEST] = NEVER_NS
    desk.registry.lends = True
    resource = next(iter(desk.leases.kinds))
    need = Need(kind="CPU", amount=1000)
    ruling = desk.authority.judge_lease(village.now_ns, NodeId(STRANGER.node_id), need, (resource,), desk)
    assert (ruling.allowed, ruling.by) == (True, BY_LEND)


def test_a_snapshot_of_a_node_has_all_that_it_knows_of_rights(village: Village, desk: Node) -> None:
    grant = grant_of(desk, rate=Rate(per_hour=60, burst=2))
    passed = narrow(grant, STRANGER, holder=NodeId(HOME[0].node_id), limits=Limits(expires_s=NOW_S + 60))
    assert rule(village, desk, HOME[0], grant=passed).allowed
    tell(village, desk, Topic.ROLE, given(desk))
    answers(village, desk, ask(desk, grant_of(desk)))
    tell(village, desk, Topic.REVOKED, revoked(passed))
    data = msgspec.msgpack.encode(desk)
    again = msgspec.msgpack.decode(data, type=Node)
    assert msgspec.msgpack.encode(again) == data
    assert again.authority.leased
    assert "revoked" in rule(village, again, HOME[0], grant=passed).why
    assert rule(village, again, STRANGER).allowed
