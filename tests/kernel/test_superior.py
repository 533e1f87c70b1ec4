"""A realm and its superior: near, alive, not too busy, and not another one every minute."""

from __future__ import annotations

import heapq
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.contacts import SECOND, contact, cpus, register
from tests.kernel.laptop import FORM, HOME, LAPTOP, ME, OFFICE, Site, a_parent

from worldos.kernel.effects import Send
from worldos.kernel.superior import Superiors
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.realm import (
    Contact,
    Epoch,
    Level,
    RealmId,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
)
from worldos.model.wire import PeerMessage


def test_a_realm_registers_with_the_nearest_parent_and_renews() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 300)
    site.run(12)
    assert site.superiors.superior() == (OFFICE, "office1")
    assert site.asked() == ["office1"] * 3
    assert site.superiors.spares(site.now_ns) == (HOME,)
    assert [notice.name for notice in site.notices] == ["superior"]
    assert site.superiors.switches == 1
    register_said = site.sent[0][1]
    assert isinstance(register_said, Register)
    assert (register_said.parent, register_said.others) == (OFFICE, 1)


def test_who_is_not_the_center_says_where_it_is() -> None:
    site = Site(a_parent("home"))
    site.superiors.allow(0, {HOME: (contact("home3"), contact("home1"))})
    site.run(1)
    assert site.asked() == ["home3", "home1"]
    assert site.superiors.superior() == (HOME, "home1")
    assert {each.node for each in site.superiors.wanted()} == {"home1", "home2", "home3"}


def test_a_center_that_must_be_dialled_first_is_asked_as_soon_as_there_is_a_link() -> None:
    site = Site(a_parent("home"))
    site.superiors.allow(0, {HOME: (contact("home3"),)})
    site.way("home1", 0)
    site.way("home2", 0)
    site.run(0.1)
    assert "home1" in {each.node for each in site.superiors.wanted()}
    assert site.asked() == ["home3"]
    site.way("home1", 1000)
    site.run(0.1)
    assert site.superiors.superior() == (HOME, "home1")


def test_silent_ones_are_passed_over_within_their_time() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 9000)
    site.silent = {NodeId("home1"), NodeId("home2"), NodeId("home3")}
    site.run(2.9)
    assert site.asked() == ["home1", "home2", "home3"]
    site.run(0.2)
    assert site.superiors.superior() == (OFFICE, "office1")


def test_an_answer_that_is_late_is_good_enough() -> None:
    site = Site(a_parent("home"))
    site.ways("home", 1_200_000)
    site.run(1.5)
    assert site.superiors.superior() == (HOME, "home1")


def test_when_the_active_parent_is_lost_another_one_is_taken_at_once() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 3000)
    site.run(1)
    assert site.superiors.active == HOME
    site.ways("home", 0)
    site.run(0.01)
    assert site.superiors.superior() == (OFFICE, "office1")
    assert [notice.name for notice in site.notices] == ["superior", "superior lost", "superior"]


def test_a_new_primary_of_the_same_parent_is_found_through_its_council() -> None:
    site = Site(a_parent("home"))
    site.run(1)
    site.centers[HOME] = a_parent("home", "home2", "home1", "home3", number=2)
    site.way("home1", 0)
    site.run(0.01)
    assert site.superiors.superior() == (HOME, "home2")
    assert site.superiors.switches == 1, "it is the same parent"


def test_a_parent_that_says_who_is_its_center_now_is_asked_at_once() -> None:
    site = Site(a_parent("home"))
    site.run(1)
    new = site.centers[HOME] = a_parent("home", "home2", "home1", "home3", number=2)
    assert site.superiors.center_told(site.now_ns, NodeId("home3"), new) == []
    assert site.superiors.superior() == (HOME, "home1")
    site.superiors.center_told(site.now_ns, NodeId("home2"), new)
    site.run(0.01)
    assert site.asked() == ["home1", "home2"]
    old = a_parent("home")
    site.superiors.center_told(site.now_ns, NodeId("home1"), old)
    assert site.superiors.superior() == (HOME, "home2"), "an older epoch is fenced out"


def test_a_parent_whose_center_changes_while_it_is_asked_is_asked_anew_at_once() -> None:
    site = Site(a_parent("home"))
    site.run(2)
    site.silent |= {NodeId("home1"), NodeId("home2")}
    site.way("home1", 0)
    site.run(0.1)
    assert site.asked()[-1] == "home2"
    moved = msgspec.structs.replace(a_parent("home", number=2), primary=contact("home3"))
    site.centers[HOME] = moved
    site.perform(site.superiors.center_told(site.now_ns, NodeId("home3"), moved))
    site.run(0.1)
    assert site.asked()[-1] == "home3"
    assert site.superiors.superior() == (HOME, "home3")


def test_a_stale_primary_that_woke_up_is_no_superior_any_more() -> None:
    site = Site(a_parent("home"))
    site.run(1)
    site.centers[HOME] = a_parent("home", "home2", "home1", "home3", number=2)
    site.superiors.center_told(site.now_ns, NodeId("home2"), site.centers[HOME])
    site.silent = {NodeId("home2")}
    site.run(0.01)
    site.centers[HOME] = a_parent("home")
    site.run(5)
    assert "home1" in site.asked()[1:]
    assert site.superiors.superior() is None, "rather none than a stale one"
    site.centers[HOME] = a_parent("home", "home2", "home1", "home3", number=2)
    site.silent.clear()
    site.run(5)
    assert site.superiors.superior() == (HOME, "home2")


def test_a_laptop_that_moves_from_the_office_to_home_has_its_center_within_five_seconds() -> None:
    for begin in (0.0, 0.13, 0.49):
        site = Site(a_parent("home"), a_parent("office"))
        site.ways("home", 30_000)
        site.ways("office", 1000)
        site.run(60 + begin)
        assert site.superiors.active == OFFICE
        moved_ns = site.now_ns
        site.ways("home", 1000)
        site.ways("office", 30_000)
        site.run(10)
        assert site.superiors.active == HOME
        assert site.switched[-1][0] - moved_ns < 5 * SECOND
        assert site.superiors.switches == 2


def test_a_laptop_whose_links_die_as_it_moves_waits_less_and_one_whose_line_only_broke_stays() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("home", 30_000)
    site.ways("office", 300)
    site.run(20)
    site.ways("office", 0)
    site.ways("home", 0)
    moved_ns = site.now_ns
    site.ways("office", 30_000)
    site.ways("home", 300)
    site.run(3)
    assert site.superiors.superior() == (HOME, "home1")
    assert site.switched[-1][0] - moved_ns <= 2 * SECOND
    site.run(200)
    for _ in range(20):
        site.ways("home", 0)
        site.ways("home", 300)
        site.run(2)
    assert site.superiors.superior() == (HOME, "home1")
    assert len(site.switched) == 2


def test_jitter_for_an_hour_changes_nothing() -> None:
    for seed, (home_us, office_us) in enumerate([(20_000, 20_000), (24_000, 20_000), (300, 300), (3000, 2000)]):
        site = Site(a_parent("home"), a_parent("office"))
        dice = Random(seed)

        def jitter(site: Site = site, dice: Random = dice, home_us: int = home_us, office_us: int = office_us) -> None:
            site.ways("home", home_us * dice.randrange(80, 121) // 100)
            site.ways("office", office_us * dice.randrange(80, 121) // 100)

        site.every = jitter
        jitter()
        site.run(3600)
        assert site.superiors.switches == 1, (home_us, office_us)


def test_a_short_spike_changes_nothing() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 6000)
    site.run(10)
    for _ in range(50):
        site.ways("home", 90_000)
        site.run(2.5)
        site.ways("home", 1000)
        site.run(2.5)
    assert site.superiors.switches == 1


def test_a_flapping_link_makes_few_switches() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 20_000)
    for _ in range(360):
        site.ways("home", 0)
        site.run(1)
        site.ways("home", 1000)
        site.run(9)
    assert site.now_ns == 3600 * SECOND
    assert 4 < site.superiors.switches <= 50
    gaps = [after[0] - before[0] for before, after in zip(site.switched, site.switched[1:], strict=False)]
    assert max(gaps) >= limits.LEFT_MAX_NS


def test_a_way_that_changes_every_ten_seconds_makes_few_switches() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    for turn in range(360):
        site.ways("home", 1000 if turn % 2 else 40_000)
        site.ways("office", 40_000 if turn % 2 else 1000)
        site.run(10)
    assert 4 < site.superiors.switches <= 50


def test_a_busy_center_sheds_and_the_realm_goes_to_the_other() -> None:
    site = Site(a_parent("home", load=950), a_parent("office"))
    site.ways("office", 2000)
    site.run(1)
    assert site.superiors.active == OFFICE
    assert site.asked() == ["home1", "office1"]
    site.run(20)
    assert site.superiors.active == OFFICE, "the other one is not tried again for a while"


def test_who_has_nowhere_else_to_go_is_taken_by_a_busy_center() -> None:
    site = Site(a_parent("home", load=950), a_parent("office", load=950))
    site.run(3)
    assert site.superiors.active in {HOME, OFFICE}
    last = site.sent[-1][1]
    assert isinstance(last, Register)
    assert last.others == 0


def test_a_parent_below_this_realm_is_no_superior() -> None:
    site = Site(a_parent("home", above=("laptop",)), a_parent("office"))
    site.ways("office", 9000)

    def accept(node: NodeId, message: PeerMessage) -> None:
        assert isinstance(message, Register)
        said = Registered(child=LAPTOP, center=site.centers[message.parent])
        heapq.heappush(site.inbox, (site.now_ns + MS, len(site.sent), node, said))

    site.answer = accept  # type: ignore[method-assign]
    site.run(3)
    assert site.superiors.active == OFFICE
    assert site.asked() == ["home1", "office1"]


def test_a_newer_epoch_of_the_own_realm_is_heard_of() -> None:
    site = Site(a_parent("home"))
    site.answer(NodeId("home1"), register("laptop", "me", parent="home", level=Level.PERSONAL, number=5))
    site.inbox.clear()
    site.run(1)
    assert site.superiors.seen == Epoch(5)
    assert site.superiors.active == ""
    site.form = register("laptop", "me", level=Level.PERSONAL, number=6)
    site.run(5)
    assert site.superiors.active == HOME


def test_a_change_of_who_stands_for_the_realm_is_said_at_once_and_of_what_it_has_once_a_second() -> None:
    site = Site(a_parent("home"))
    site.run(2)
    site.form = register("laptop", "me", "you", level=Level.PERSONAL)
    site.perform(site.superiors.tick(site.now_ns, site.form))
    site.run(0.01)
    assert len(site.asked()) == 2
    site.form = msgspec.structs.replace(site.form, summary=cpus(950))
    site.perform(site.superiors.tick(site.now_ns + SECOND, site.form))
    assert len(site.sent) == 2, "less than a tenth"
    for free in (500, 100):
        site.form = msgspec.structs.replace(site.form, summary=cpus(free))
        site.perform(site.superiors.tick(site.now_ns + SECOND, site.form))
    told = [message for _, message in site.sent if isinstance(message, SummaryTold)]
    assert [message.summary for message in told] == [cpus(500)]


def test_a_superior_that_forgot_the_realm_hears_from_it_again() -> None:
    site = Site(a_parent("home"))
    site.run(3)
    forgot = RegisterRefused(parent=HOME, child=LAPTOP, why="not registered here", center=None)
    assert site.superiors.refused(site.now_ns, NodeId("home1"), forgot) == []
    site.run(0.01)
    assert len(site.asked()) == 2
    for _ in range(100):
        site.superiors.refused(site.now_ns, NodeId("home1"), forgot)
        site.run(0.01)
    assert len(site.asked()) <= 4, "not as often as somebody says so"


def test_a_center_that_resigns_says_where_the_new_one_is() -> None:
    site = Site(a_parent("home"))
    site.run(3)
    new = site.centers[HOME] = a_parent("home", "home3", "home1", "home2", number=2)
    resigned = RegisterRefused(parent=HOME, child=LAPTOP, why="its center changed", center=new)
    site.superiors.refused(site.now_ns, NodeId("home1"), resigned)
    assert site.superiors.superior() == (HOME, "home1"), "what others say of it is only a hint"
    site.run(0.01)
    assert site.asked() == ["home1", "home3"]
    assert site.superiors.superior() == (HOME, "home3")


def test_a_redirect_with_an_epoch_of_its_own_making_locks_nobody_out() -> None:
    site = Site(a_parent("home"))
    site.silent = {NodeId("home1")}
    site.superiors.allow(0, {HOME: (contact("home2"),)})
    site.perform(site.superiors.tick(0, FORM))
    lie = RegisterRefused(parent=HOME, child=LAPTOP, why="", center=a_parent("home", "nobody", number=900_000))
    site.superiors.refused(1, NodeId("home2"), lie)
    site.silent.clear()
    site.run(9)
    assert site.superiors.superior() == (HOME, "home1")


def test_redirects_end() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 90_000)
    seats = ("home1", "home2", "home3")

    def redirect(node: NodeId, message: PeerMessage) -> None:
        if node not in seats:
            return
        assert isinstance(message, Register)
        there = a_parent("home", seats[(seats.index(node) + 1) % 3])
        refused = RegisterRefused(parent=HOME, child=LAPTOP, why="not me", center=there)
        heapq.heappush(site.inbox, (site.now_ns + MS, len(site.sent), node, refused))

    site.answer = redirect  # type: ignore[method-assign]
    site.run(0.2)
    assert 3 <= len(site.asked()) <= limits.REDIRECTS_MAX + 5
    assert site.asked()[-1] == "office1"


def test_a_doubted_parent_costs_more_for_a_while() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 8000)
    site.ways("home", 7500)
    site.run(1)
    assert site.superiors.active == HOME
    for _ in range(6):
        site.superiors.doubt(site.now_ns, HOME)
    site.run(5)
    assert site.superiors.active == OFFICE
    site.superiors.doubt(site.now_ns, RealmId("nobody"))


def test_a_parent_that_is_not_allowed_any_more_is_forgotten() -> None:
    site = Site(a_parent("home"), a_parent("office"))
    site.ways("office", 9000)
    site.run(1)
    site.superiors.allow(site.now_ns, {OFFICE: site.centers[OFFICE].council})
    site.run(1)
    assert site.superiors.superior() == (OFFICE, "office1")
    site.superiors.allow(site.now_ns, {})
    site.run(1)
    assert site.superiors.superior() is None
    assert site.superiors.due_ns == limits.NEVER_NS


def test_a_node_may_be_the_center_of_its_own_parent() -> None:
    superiors = Superiors(node=ME, realm=LAPTOP)
    superiors.allow(0, {HOME: (contact("me"),)})
    (said,) = superiors.tick(0, FORM)
    assert isinstance(said, Send)
    assert said.node == ME
    superiors.registered(1, ME, Registered(child=LAPTOP, center=a_parent("home", "me")))
    assert superiors.superior() == (HOME, ME)
    assert superiors.wanted() == ()


_NODES = st.sampled_from(["home1", "home2", "office1", "me", "other"])
_REALMS = st.sampled_from(["home", "office", "laptop", "other"])
_steps = st.lists(
    st.tuples(
        st.sampled_from(["linked", "unlinked", "rtt", "registered", "refused", "center", "tick", "tick", "allow"]),
        _NODES,
        _REALMS,
        st.integers(0, 3),
        st.booleans(),
        st.integers(0, 3000),
    ),
    max_size=60,
)


@given(_steps)
@settings(max_examples=150, deadline=None)
def test_whatever_is_said_it_stays_in_order_and_one_registration_is_under_way(
    steps: list[tuple[str, str, str, int, bool, int]],
) -> None:
    superiors, now = Superiors(node=ME, realm=LAPTOP), 0
    parents: dict[RealmId, tuple[Contact, ...]] = {
        HOME: (contact("home1"), contact("home2")),
        OFFICE: (contact("office1"),),
    }
    superiors.allow(0, parents)
    for verb, node, realm, number, flag, wait_ms in steps:
        now += wait_ms * MS
        who, there = (
            NodeId(node),
            a_parent(realm, node, number=number, provisional=flag, above=("laptop",) * (number == 3)),
        )
        match verb:
            case "linked":
                superiors.linked(now, who)
            case "unlinked":
                superiors.unlinked(now, who)
            case "rtt":
                superiors.path_measured(now, who, number * 10_000)
            case "registered":
                superiors.registered(now, who, Registered(child=RealmId(realm) if number else LAPTOP, center=there))
            case "refused":
                message = RegisterRefused(
                    parent=RealmId(realm),
                    child=LAPTOP,
                    why="",
                    center=there if flag else None,
                    seen=Epoch(number),
                    shed=number == 2,
                )
                superiors.refused(now, who, message)
            case "center":
                superiors.center_told(now, who, there)
            case "allow":
                superiors.allow(now, parents if flag else {HOME: parents[HOME]})
            case _:
                effects = superiors.tick(now, FORM)
                assert sum(isinstance(each, Send) for each in effects) <= 1
                assert superiors.due_ns > now
        assert superiors.active in {"", *superiors.parents}
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(superiors), type=Superiors) == superiors
        if superiors.active:
            assert superiors.superior() is not None
            known = superiors.center()
            assert known is not None
            assert LAPTOP not in known.lineage
