"""The best offer, exactly; and why there is none."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import GB, HOME, ME, cpu, offer, resource, view
from tests.kernel.worlds import needs, views, worlds

from worldos.kernel import match
from worldos.kernel.match import Choice, Refusal, choose, explain, feasible
from worldos.kernel.question import View, draw, memory_of, node_key
from worldos.model.ids import AccountId, NodeId
from worldos.model.need import DataAt, Need, Objective
from worldos.model.offer import Offer
from worldos.model.where import parse_where


def chosen(need: Need, offers: list[Offer], known: View) -> str:
    answer = choose(need, offers, known)
    assert isinstance(answer, Choice), answer
    return answer.node


def refused(need: Need, offers: list[Offer], known: View) -> Refusal:
    answer = choose(need, offers, known)
    assert isinstance(answer, Refusal), answer
    return answer


LAN = view(rtt_us={"b": 300, "c": 300, "d": 9000})


def test_among_equal_machines_the_own_one_is_fastest() -> None:
    for nonce in range(20):
        known = msgspec.structs.replace(LAN, nonce=bytes([nonce]))
        assert chosen(cpu(), [offer("b"), offer("home"), offer("c")], known) == HOME


def test_a_faster_or_less_loaded_machine_is_worth_the_way() -> None:
    assert chosen(cpu(), [offer("home"), offer("b", speed_mips=12_000)], LAN) == "b"
    assert chosen(cpu(), [offer("home", load_percent=95), offer("b", load_percent=10)], LAN) == "b"
    assert chosen(cpu(), [offer("home"), offer("b", load_percent=95, speed_mips=10_100)], LAN) == HOME


def test_work_goes_to_the_data_when_carrying_it_would_take_longer() -> None:
    offers = [offer("home"), offer("b"), offer("c", speed_mips=20_000)]
    assert chosen(cpu(), offers, LAN) == "c"
    assert chosen(cpu(data=(DataAt(NodeId("b"), 10 * GB),)), offers, LAN) == "b"
    assert chosen(cpu(data=(DataAt(NodeId("b"), 10_000),)), offers, LAN) == "c"
    split = (DataAt(NodeId("b"), 9 * GB), DataAt(NodeId("c"), 10 * GB))
    assert chosen(cpu(data=split), offers, LAN) == "c"


def test_a_little_load_at_home_does_not_send_work_away() -> None:
    assert chosen(cpu(), [offer("home", load_percent=15), offer("b")], LAN) == HOME


def test_a_doubted_node_and_one_on_battery_are_second_choice() -> None:
    assert chosen(cpu(), [offer("b"), offer("c")], view(rtt_us={"b": 100, "c": 900}, doubted=frozenset({"b"}))) == "c"
    assert chosen(cpu(), [offer("b", battery=True), offer("c")], LAN) == "c"
    assert chosen(cpu(), [offer("b"), offer("c")], view(rtt_us={"b": 100, "c": 900}, flaps={"b": 1})) == "c"


def test_each_objective_has_its_own_best() -> None:
    offers = [
        offer("b", speed_mips=40_000, price=9000, carbon_g_kwh=600),
        offer("c", price=10, carbon_g_kwh=600),
        offer("d", price=9000, carbon_g_kwh=15),
        offer("home", speed_mips=2000, price=9000, carbon_g_kwh=600),
    ]
    best = {objective: chosen(cpu(objective=objective), offers, LAN) for objective in Objective}
    assert best == {"fastest": "b", "cheapest": "c", "greenest": "d", "nearest": "home"}


def test_near_me_weighs_the_way_and_excludes_nobody() -> None:
    offers = [offer("b"), offer("d", speed_mips=90_000)]
    assert chosen(cpu(), offers, LAN) == "d"
    assert chosen(cpu(near=HOME), offers, LAN) == "b"


def test_the_choice_names_the_runner_up() -> None:
    answer = choose(cpu(), [offer("d"), offer("b"), offer("home", free=0)], LAN)
    assert isinstance(answer, Choice)
    assert (answer.node, answer.runner_up, answer.considered) == ("b", "d", 3)
    assert answer.resource == answer.resources[0] == "b/CPU/0"
    assert answer.runner_up_score > answer.score
    alone = choose(cpu(), [offer("b")], LAN)
    assert isinstance(alone, Choice)
    assert (alone.runner_up, alone.runner_up_score) == ("", 0)


def test_ties_are_drawn_by_the_nonce() -> None:
    offers = [offer(name) for name in ("b", "c", "d", "e")]
    winners = [chosen(cpu(), offers, view(nonce=bytes([nonce]))) for nonce in range(200)]
    for name in ("b", "c", "d", "e"):
        assert 25 < winners.count(name) < 80, winners.count(name)
    lots = {name: draw(node_key(NodeId(name)), b"\x07") for name in ("b", "c", "d", "e")}
    assert winners[7] == min(lots, key=lots.__getitem__)


def test_a_refusal_says_which_constraint_excluded_how_many_and_what_would_be_free() -> None:
    need = cpu(3000, memory_bytes=4 * GB, where=parse_where("arch == x86_64 and not battery"))
    offers = [
        offer("home", battery=True),
        offer("b", arch="arm64"),
        offer("c", arch="arm64"),
        offer("d", free=2500, memory_free=6 * GB),
        offer("e", memory_free=GB),
        offer("f", cores=2),
    ]
    answer = refused(need, offers, LAN)
    assert answer.considered == 6
    assert answer.excluded == (
        ("arch == 'x86_64'", 2),
        ("not battery", 1),
        ("3 cores in one piece", 1),
        ("3 cores free", 1),
        ("4.0 GB of memory free", 1),
    )
    assert answer.best_free == "4 cores with 1.0 GB of memory"
    assert [(miss.node, miss.constraint, miss.free) for miss in answer.near_misses] == [
        ("e", "4.0 GB of memory free", "4 cores"),
        ("d", "3 cores free", "2.5 cores"),
        ("f", "3 cores in one piece", "2 cores"),
    ]
    assert explain(need, answer).startswith(
        "no node can give 3 cores: of 6 nodes 2 excluded by arch == 'x86_64', 1 by not battery, 1 by"
    )
    assert explain(need, refused(need, offers[1:2], LAN)) == (
        "no node can give 3 cores: the only node is excluded by arch == 'x86_64'"
    )


def test_without_offers_the_refusal_says_so() -> None:
    answer = refused(cpu(), [], LAN)
    assert answer == Refusal(considered=0, excluded=(), best_free="", near_misses=())
    assert explain(cpu(), answer) == "no node can give 1 core: no offers are known"


def test_a_price_is_what_an_hour_of_the_whole_need_costs() -> None:
    told = offer("b", resource("b", "GPU", "0", 1000, price=7))
    gpu = told.resources[-1]
    assert match.price_hour_uwos(Need(kind="GPU", amount=3000), told, gpu) == 21
    assert match.price_hour_uwos(Need(kind="GPU", amount=500), told, gpu) == 4


@given(needs, worlds, views)
def test_the_choice_is_the_feasible_offer_with_the_least_score(need: Need, offers: list[Offer], known: View) -> None:
    answer = choose(need, offers, known)
    good = [told for told in offers if feasible(need, told, known) is None]
    if isinstance(answer, Refusal):
        assert not good
        assert sum(count for _, count in answer.excluded) == answer.considered == len(offers)
        return
    assert answer.node in {told.node for told in good}
    if need.kind == "GPU" and need.amount > 1000:
        return
    least = min(
        match.score(need, told, item, known)
        for told in good
        for item in told.resources
        if item.kind == need.kind and _fits(need, told, item.id, known)
    )
    assert answer.score == least


def _fits(need: Need, told: Offer, item: str, known: View) -> bool:
    memory = memory_of(told)
    kept = tuple(other for other in told.resources if other.id == item or (other is memory and need.kind != "Memory"))
    return feasible(need, msgspec.structs.replace(told, resources=kept), known) is None


@given(needs, worlds, views, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(need: Need, offers: list[Offer], known: View, random: object) -> None:
    shuffled = list(offers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(need, shuffled, known) == choose(need, offers, known)


@given(needs, worlds, views)
def test_names_owners_and_other_nations_change_no_score(need: Need, offers: list[Offer], known: View) -> None:
    need = msgspec.structs.replace(need, near="", where=None)
    open_rules = [
        msgspec.structs.replace(
            told,
            rules=msgspec.structs.replace(told.rules, owners_only=False),
            resources=tuple(item for item in told.resources if "for" not in item.facts),
        )
        for told in offers
    ]
    disguised = [
        msgspec.structs.replace(t, name="x", owner=AccountId("x"), place="mars", addresses=("x",)) for t in open_rules
    ]
    assert choose(need, disguised, known) == choose(need, open_rules, known)


def test_a_choice_and_a_refusal_survive_the_wire() -> None:
    decoder = msgspec.msgpack.Decoder(Choice | Refusal)
    for answer in (choose(cpu(), [offer("b"), offer("c")], LAN), choose(cpu(99_000), [offer("b")], LAN)):
        assert decoder.decode(msgspec.msgpack.encode(answer)) == answer


@pytest.mark.parametrize("account", ["me", "you"])
def test_only_the_own_account_is_served_by_default(account: str) -> None:
    known = View(home=HOME, account=AccountId(account))
    assert isinstance(choose(cpu(), [offer("b", owner=ME)], known), Choice if account == "me" else Refusal)
