"""Who is registered with a realm, until when, and how far it is believed."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.contacts import SECOND, center, cpus, register

from worldos.kernel.children import FITNESS_MAX, Children
from worldos.kernel.effects import Effect, Notice, Send
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import Center, Epoch, Level, RealmId, Register, Registered, RegisterRefused, SummaryTold
from worldos.model.summary import Summary

ACME = center("acme", "p", above=("earth",))
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
HOME = RealmId("home")


def acme() -> Children:
    return Children(realm=RealmId("acme"))


def hear(children: Children, message: Register, now: int = 0, peer: str = "", me: Center = ACME) -> list[Effect]:
    return children.registered(now, NodeId(peer or message.council[0].node), message, me)


def answer(effects: list[Effect]) -> Registered | RegisterRefused:
    said = [each.message for each in effects if isinstance(each, Send)]
    assert len(said) == 1
    assert isinstance(said[0], Registered | RegisterRefused)
    return said[0]


def refused(effects: list[Effect]) -> RegisterRefused:
    said = answer(effects)
    assert isinstance(said, RegisterRefused), said
    return said


def told(child: str, free: int, number: int = 1) -> SummaryTold:
    return SummaryTold(child=RealmId(child), epoch=Epoch(number), summary=cpus(free))


def test_a_realm_registers_and_is_told_who_is_its_superior() -> None:
    children = acme()
    effects = hear(children, register("home", "a", "b"))
    assert answer(effects) == Registered(child=HOME, center=ACME)
    assert children.summary() == Summary(lines=cpus(1000).lines, nodes=1, depth=1)
    assert [each.name for each in effects if isinstance(each, Notice)] == ["child"]
    assert [each for each in hear(children, register("home", "a", "b"), 1) if isinstance(each, Notice)] == []


def test_a_realm_that_does_not_renew_is_gone_after_its_time() -> None:
    children = acme()
    hear(children, register("home", "a"))
    hear(children, register("lab", "b"), 10 * SECOND)
    assert children.due_ns == limits.REGISTER_TTL_NS
    assert children.tick(limits.REGISTER_TTL_NS - 1) == []
    lost = children.tick(limits.REGISTER_TTL_NS)
    assert lost == [Notice(name="child lost", fields={"realm": "acme", "child": "home"})]
    assert children.due_ns == 10 * SECOND + limits.REGISTER_TTL_NS
    assert children.summary().nodes == 1
    children.tick(limits.NEVER_NS - 1)
    assert children.due_ns == limits.NEVER_NS


def test_a_realm_whose_primary_lost_its_links_has_a_short_grace() -> None:
    children = acme()
    hear(children, register("home", "a"))
    hear(children, register("lab", "b"))
    children.unlinked(SECOND, A)
    assert children.tick(SECOND + limits.CHILD_GRACE_NS) != []
    assert list(children.children) == ["lab"]
    children.unlinked(4 * SECOND, B)
    hear(children, register("lab", "c", number=2), 5 * SECOND)
    assert children.tick(4 * SECOND + limits.CHILD_GRACE_NS) == []


def test_a_stale_primary_is_refused_and_told_the_newer_epoch_also_after_the_realm_was_lost() -> None:
    children = acme()
    hear(children, register("home", "b", number=4))
    for at in (1, limits.REGISTER_TTL_NS + 1):
        children.tick(at)
        assert refused(hear(children, register("home", "a", number=3), at)).seen == Epoch(4)
    assert refused(hear(children, register("home", "a", number=4, provisional=True))).seen == Epoch(4)
    assert isinstance(answer(hear(children, register("home", "a", number=5, provisional=True))), Registered)
    assert isinstance(answer(hear(children, register("home", "b", number=5))), Registered)


def test_of_two_islands_with_one_number_the_smaller_node_stays_whoever_comes_first() -> None:
    for first, second in (("a", "b"), ("b", "a")):
        children = acme()
        hear(children, register("home", first, number=7, provisional=True))
        hear(children, register("home", second, number=7, provisional=True))
        assert children.children[HOME].primary == "a"


def test_an_epoch_that_leaps_is_not_believed() -> None:
    children = acme()
    hear(children, register("home", "a"))
    assert refused(hear(children, register("home", "b", number=2**62 - 1))).seen == Epoch(1)
    assert isinstance(answer(hear(children, register("home", "a", number=2))), Registered)


def test_only_its_primary_registers_a_realm_and_says_what_it_has() -> None:
    children = acme()
    assert "primary" in refused(hear(children, register("home", "a", "b"), peer="b")).why
    hear(children, register("home", "a", "b"))
    assert refused(children.summary_told(1, B, told("home", 9))).why
    assert refused(children.summary_told(1, A, told("home", 9, number=0))).seen == Epoch(1)
    assert refused(children.summary_told(1, A, told("lab", 9))).why
    assert children.summary().lines[0].free == 1000
    assert children.summary_told(1, A, told("home", 9)) == []
    assert children.summary().lines[0].free == 9


def test_what_the_charter_does_not_allow_is_refused_with_its_reason() -> None:
    children = acme()
    other = center("acme", "q", number=2)
    message = register("home", "a")
    effects = children.registered(0, A, message, ACME, refusal="home is no child of acme", alternative=other)
    assert refused(effects).why == "home is no child of acme"
    assert refused(effects).center == other
    assert children.children == {}


def test_a_loop_and_a_realm_of_too_high_a_level_are_refused() -> None:
    children = acme()
    assert "below itself" in refused(hear(children, register("earth", "a"))).why
    assert "below itself" in refused(hear(children, register("acme", "a"))).why
    assert "level" in refused(hear(children, register("eu", "a", level=Level.NATION))).why
    assert "another realm" in refused(hear(children, register("home", "a", parent="other"))).why


def test_a_busy_center_sends_away_newcomers_and_others_one_a_second_but_none_that_has_nowhere_to_go() -> None:
    children = acme()
    for name, others in (("one", 1), ("two", 1), ("alone", 0)):
        hear(children, register(name, name, others=others))
    busy = msgspec.structs.replace(ACME, load_permille=limits.SHED_PERMILLE + 1)
    assert refused(hear(children, register("new", "n", others=2), SECOND, me=busy)).shed
    assert isinstance(answer(hear(children, register("one", "one", others=1), SECOND, me=busy)), Registered)
    assert isinstance(answer(hear(children, register("alone", "alone"), 9 * SECOND, me=busy)), Registered)
    assert refused(hear(children, register("one", "one", others=1), 3 * SECOND, me=busy)).shed
    assert isinstance(answer(hear(children, register("two", "two", others=1), 3 * SECOND, me=busy)), Registered)
    assert sorted(children.children) == ["alone", "two"]


def test_the_table_is_bounded() -> None:
    children = acme()
    for number in range(limits.CHILDREN_MAX):
        hear(children, register(f"r{number}", "a"))
    assert children.load_permille() == 1000
    assert "registered here" in refused(hear(children, register("more", "a"))).why
    assert isinstance(answer(hear(children, register("r7", "a"))), Registered)
    for number in range(limits.CHILDREN_MAX + 10):
        children.children.clear()
        hear(children, register(f"s{number}", "a"))
    assert len(children.records) == 2 * limits.CHILDREN_MAX


def test_broken_promises_cost_credibility_and_time_brings_it_back() -> None:
    children = acme()
    hear(children, register("home", "a"))
    assert children.credibility(0, HOME) == 1000
    children.failed(0, HOME)
    assert children.credibility(0, HOME) == 750
    children.failed(0, HOME)
    assert children.credibility(10 * SECOND, HOME) == 662
    hear(children, register("home", "a", number=2), 10 * SECOND)
    assert children.credibility(10 * SECOND, HOME) == 662
    assert children.credibility(60 * SECOND, HOME) == 1000
    for _ in range(100):
        children.failed(60 * SECOND, HOME)
    assert children.credibility(60 * SECOND, HOME) == 0
    children.failed(0, RealmId("nobody"))
    assert children.credibility(0, RealmId("nobody")) == 1000


def test_the_fittest_children_inherit_in_order_and_a_boast_is_capped() -> None:
    children = acme()
    hear(children, register("liar", "z", fitness=2**62 - 1))
    hear(children, register("good", "y", fitness=FITNESS_MAX))
    for number in range(20):
        hear(children, register(f"r{number}", f"n{number:02}", fitness=number))
    heirs = [each.node for each in children.heirs()]
    assert heirs == ["y", "z", "n19", "n18", "n17", "n16", "n15", "n14"]


def test_one_primary_of_several_realms_inherits_once() -> None:
    children = acme()
    hear(children, register("one", "a", fitness=5))
    hear(children, register("two", "a", fitness=9))
    assert [each.node for each in children.heirs()] == ["a"]


def test_the_way_to_a_child_is_measured_and_forgotten_with_its_primary() -> None:
    children = acme()
    hear(children, register("home", "a"))
    children.path_measured(A, 700)
    assert children.children[HOME].rtt_us == 700
    hear(children, register("home", "a"))
    assert children.children[HOME].rtt_us == 700
    hear(children, register("home", "b", number=2))
    assert children.children[HOME].rtt_us == 0


def test_who_leaves_is_forgotten() -> None:
    children = acme()
    hear(children, register("home", "a", number=9))
    children.leave(HOME)
    assert children.summary() == Summary()
    assert isinstance(answer(hear(children, register("home", "a"))), Registered)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["register", "told", "tick", "unlinked", "failed", "leave"]),
        st.sampled_from(["home", "lab", "acme"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 4),
        st.booleans(),
        st.integers(0, 20),
    ),
    max_size=40,
)


@given(_steps)
@settings(max_examples=100, deadline=None)
def test_whatever_is_said_epochs_never_go_back_and_the_table_is_a_snapshot(
    steps: list[tuple[str, str, str, int, bool, int]],
) -> None:
    children, now = acme(), 0
    for verb, realm, node, number, provisional, seconds in steps:
        now += seconds * SECOND
        before = {each: (child.epoch.number, not child.epoch.provisional) for each, child in children.children.items()}
        match verb:
            case "register":
                hear(children, register(realm, node, number=number, provisional=provisional), now)
            case "told":
                children.summary_told(now, NodeId(node), told(realm, 5, number))
            case "tick":
                children.tick(now)
            case "unlinked":
                children.unlinked(now, NodeId(node))
            case "failed":
                children.failed(now, RealmId(realm))
            case _:
                children.leave(RealmId(realm))
        for each, child in children.children.items():
            if verb != "leave" and each in before:
                assert (child.epoch.number, not child.epoch.provisional) >= before[each]
            assert 0 <= children.credibility(now, each) <= 1000
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(children), type=Children) == children
        assert "acme" not in children.children
