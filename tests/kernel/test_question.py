"""Both sides must agree: each constraint of the need and each rule of the provider, alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import GB, HOME, cpu, offer, resource, view
from tests.kernel.worlds import needs, views, worlds

from worldos.errors import BadRequest
from worldos.kernel.match import Choice, choose
from worldos.kernel.question import Question, View, check_need, draw, is_within, memory_of, node_key, way_to
from worldos.kernel.score import RTT_US_DEFAULT
from worldos.model.ids import NodeId
from worldos.model.need import Compare, KnownNode, Need, Work
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import ResourceState
from worldos.model.where import parse_where

LENDS = OfferRules(owners_only=False)
KEPT = resource("b", "Store", "kept", GB, facts={"for": "me"})
LENT = resource("b", "Store", "lent", GB, facts={"for": "family"})


def excluded(need: Need, told: Offer, **known: object) -> str | None:
    question = Question(need, view(**known))
    stage = question.standing(told).stage
    assert (question.place(told) is None) == (stage < len(question.texts))
    return question.texts[stage] if stage < len(question.texts) else None


@pytest.mark.parametrize(
    ("need", "told", "constraint"),
    [
        (cpu(), offer("b"), None),
        (Need(kind="GPU", amount=1000), offer("b"), "offers GPU"),
        (cpu(), offer("b", rules=OfferRules(open=False)), "is open to new leases"),
        (cpu(), offer("b", owner="you"), "is open to this account"),
        (cpu(), offer("b", owner="you", rules=OfferRules(owners_only=False)), None),
        (Need(kind="Store", amount=1), offer("b", KEPT, owner="you", rules=LENDS), "is open to this account"),
        (Need(kind="Store", amount=1), offer("b", KEPT), None),
        (Need(kind="Store", amount=1), offer("b", LENT, owner="you", rules=LENDS), None),
        (Need(kind="Store", amount=1), offer("b", LENT, owner="you"), "is open to this account"),
        (Need(kind="Store", amount=1), offer("b", KEPT, LENT, owner="you", rules=LENDS), None),
        (cpu(near="munich"), offer("b"), "is near munich"),
        (cpu(near="Berlin"), offer("b"), None),
        (cpu(near="b"), offer("b"), None),
        (cpu(near="desk"), offer("b", name="desk"), None),
        (cpu(near=HOME), offer("b"), None),
        (cpu(), offer("b", battery=True), None),
        (cpu(), offer("b", battery=True, rules=OfferRules(not_on_battery=True)), "lends while on battery"),
        (cpu(), offer("b", battery=False, rules=OfferRules(not_on_battery=True)), None),
        (cpu(where=parse_where("arch == arm64 and memory >= 4GB")), offer("b"), "arch == 'arm64'"),
        (cpu(where=parse_where("memory >= 4GB and arch == arm64")), offer("b"), "arch == 'arm64'"),
        (cpu(where=parse_where("memory >= 64GB")), offer("b"), "memory >= 64GB"),
        (cpu(where=parse_where("kind == CPU and name == desk and free > 1")), offer("b", name="desk"), None),
        (cpu(where=parse_where("node == b and node != a")), offer("b"), None),
        (cpu(where=parse_where("node != b")), offer("b"), "node != 'b'"),
        (cpu(5000), offer("b"), "5 cores in one piece"),
        (cpu(2000), offer("b", free=1000), "2 cores free"),
        (cpu(memory_bytes=2 * GB), offer("b", memory_free=GB), "2.0 GB of memory free"),
        (cpu(2000, budget_uwos_hour=199), offer("b", price=100), "at most 199 uWOS an hour"),
        (cpu(2000, budget_uwos_hour=200), offer("b", price=100), None),
        (
            cpu(2000, budget_uwos_hour=200),
            offer("b", price=1, rules=OfferRules(price_min_uwos=101)),
            "at most 200 uWOS an hour",
        ),
        (cpu(2000), offer("b", price=10**12), "at most 100000000000 uWOS an hour"),
        (Need(kind="Memory", amount=9 * GB), offer("b"), "9.0 GB in one piece"),
        (Need(kind="Memory", amount=GB), offer("b"), None),
    ],
)
def test_the_first_constraint_that_fails_is_named(need: Need, told: Offer, constraint: str | None) -> None:
    assert excluded(need, told) == constraint


def test_what_the_chooser_knows_of_a_node_excludes_it() -> None:
    assert excluded(cpu(), offer("b"), gone=frozenset({"b"})) == "is alive"
    assert excluded(cpu(), offer("b"), passed_over=frozenset({"b"})) == "has not just refused"
    assert excluded(cpu(), offer("b"), doubted=frozenset({"b"})) is None


def test_a_resource_in_maintenance_takes_nothing_new_and_one_in_use_does() -> None:
    for state, says in [("maintenance", "is in service"), ("offline", "is in service"), ("in use", None)]:
        disk = resource("b", "Storage", "sda", 10**12, state=ResourceState(state))
        assert excluded(Need(kind="Storage", amount=GB), offer("b", disk)) == says


def test_an_amount_must_fit_in_one_resource() -> None:
    disks = [resource("b", "Storage", name, 6 * GB) for name in ("sda", "sdb")]
    assert excluded(Need(kind="Storage", amount=10 * GB), offer("b", *disks)) == "10.0 GB in one piece"


def test_whole_gpus_add_up_on_one_node() -> None:
    gpus = [resource("b", "GPU", str(number), 1000, free) for number, free in enumerate((1000, 400, 1000, 1000))]
    place = Question(Need(kind="GPU", amount=3000), view()).place(offer("b", *gpus))
    assert place is not None
    assert place.resources == ("b/GPU/0", "b/GPU/2", "b/GPU/3")
    assert excluded(Need(kind="GPU", amount=4000), offer("b", *gpus)) == "4 GPUs free"
    assert excluded(Need(kind="GPU", amount=5000), offer("b", *gpus)) == "5 GPUs on one node"
    assert excluded(Need(kind="GPU", amount=1500), offer("b", *gpus)) == "1.5 GPUs in one piece"


def test_the_price_of_memory_beside_a_cpu_counts() -> None:
    dear = offer("b")
    memory = resource("b", "Memory", "1", 64 * GB, price=10)
    told = Offer(
        **{**{name: getattr(dear, name) for name in dear.__struct_fields__}, "resources": (*dear.resources, memory)}
    )
    assert memory_of(told) == memory
    assert excluded(cpu(memory_bytes=4 * GB, budget_uwos_hour=39), told) == "at most 39 uWOS an hour"
    assert excluded(cpu(memory_bytes=4 * GB, budget_uwos_hour=40), told) is None


def test_a_network_to_somewhere_begins_at_home_unless_said_otherwise() -> None:
    link = resource("b", "Network", "eth0", 10**9)
    told = offer("b", link)
    assert excluded(Need(kind="Network", amount=10**8, to="c"), told) == "begins at this node"
    assert excluded(Need(kind="Network", amount=10**8, to="c", near="b"), told) is None
    assert excluded(Need(kind="Network", amount=10**8), told) is None


@pytest.mark.parametrize(
    ("near", "within"),
    [
        ("berlin", True),
        ("acme/berlin", True),
        ("Earth", True),
        ("lab", True),
        ("ber", False),
        ("acme/lab", False),
        ("", False),
    ],
)
def test_a_place_lies_in_each_part_of_its_path(near: str, within: bool) -> None:
    assert is_within(near, "earth/eu/acme/berlin/lab") is within


@given(
    st.integers(-(2**70), 2**70),
    st.integers(-(2**70), 2**70),
    st.integers(-(2**70), 2**70),
    st.integers(1, 2**62 - 1),
    st.integers(0, 2**62 - 1),
)
def test_wild_figures_of_a_peer_neither_crash_nor_overflow(
    capacity: int, free: int, price: int, amount: int, memory_bytes: int
) -> None:
    told = offer("b", resource("b", "Storage", "sda", capacity, free, price=price), memory_free=free)
    question = Question(Need(kind="Storage", amount=amount, memory_bytes=memory_bytes), view(rtt_us={"b": price}))
    question.standing(told)
    place = question.place(told)
    assert place is None or abs(place.score) < 2**62


@pytest.mark.parametrize(
    "need",
    [
        cpu(0),
        cpu(-1),
        cpu(2**62),
        cpu(memory_bytes=-1),
        cpu(near="x" * 300),
        cpu(near="\x1b"),
        cpu(workers=-1),
        cpu(budget_uwos_hour=-1),
        Need(kind="", amount=1),
        Need(kind="K" * 99, amount=1),
        cpu(where=Compare("a", "~", 1)),
    ],
)
def test_a_need_out_of_bounds_is_refused_at_the_door(need: Need) -> None:
    with pytest.raises(BadRequest):
        check_need(need)
    check_need(cpu())


def test_an_unmeasured_node_is_far_and_home_is_near() -> None:
    known = view(rtt_us={"b": 250, "c": -1, "d": 10**30}, flaps={"b": 2, "c": 10**9})
    assert way_to(known, HOME).rtt_us == 0
    assert way_to(known, NodeId("b")) == (250, 100)
    assert way_to(known, NodeId("c")) == (0, 300)
    assert way_to(known, NodeId("d")).rtt_us == 10_000_000
    assert way_to(known, NodeId("e")).rtt_us == RTT_US_DEFAULT


def test_lots_are_fair_between_nodes() -> None:
    keys = [node_key(NodeId(f"n{number}")) for number in range(4)]
    wins = [0] * 4
    for nonce in range(4000):
        lots = [draw(key, nonce.to_bytes(4, "little")) for key in keys]
        wins[lots.index(min(lots))] += 1
    assert all(850 < count < 1150 for count in wins), wins


def chosen(work: Work, *, cores: int = 1) -> NodeId:
    """Return who gets cores for this work: a slow machine here, or one that is ten times as fast, 20 ms away."""
    offers = [offer(HOME, cores=8, speed_mips=2000), offer("fast", cores=8, speed_mips=20_000)]
    choice = choose(cpu(1000 * cores, data=work), offers, view(rtt_us={"fast": 5_000}))
    assert isinstance(choice, Choice)
    return choice.node


def test_what_computes_goes_to_the_fast_machine_and_what_waits_or_brings_much_stays() -> None:
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=0)) == "fast"
    assert chosen(Work(cpu_mi=0, wait_us=10**6, move_bytes=0)) == HOME
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=10**8)) == HOME, "two seconds on the way for a second of work"
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=10**7)) == "fast"
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=10**7), cores=6) == HOME, "all cores share the way"


def test_what_was_measured_counts_more_than_what_machines_say() -> None:
    fast = NodeId("fast")
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=0, known=(KnownNode(fast, run_us=1_500_000),))) == HOME
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=10**7, known=(KnownNode(fast, bytes_s=10**6),))) == HOME
    assert chosen(Work(cpu_mi=2000, wait_us=0, move_bytes=10**8, known=(KnownNode(fast, bytes_s=10**9),))) == fast


def test_what_is_learned_says_nothing_of_what_does_not_compute() -> None:
    need = Need(kind="Storage", amount=1000, data=Work(cpu_mi=2000, wait_us=0, move_bytes=10**9))
    assert Question(need, view()).work is None


@given(needs, worlds, views)
def test_whatever_was_learned_scores_stay_in_64_bits(need: Need, told: list[Offer], seen: View) -> None:
    question = Question(need, seen)
    for each in told:
        place = question.place(each)
        assert place is None or abs(place.score) < 2**62
