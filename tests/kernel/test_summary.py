"""What a realm has free, in lines: never a no where a node would say yes."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.offers import GB, HOME, ME, cpu, offer, resource
from tests.kernel.worlds import needs, worlds

from worldos.kernel.question import Question, View
from worldos.kernel.summary import OTHER_KINDS, differs, may_fill, merged, promises, summarize
from worldos.model.ids import AccountId
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import ResourceState
from worldos.model.summary import LINES_MAX, Line, Summary
from worldos.model.where import parse_where

LENT = OfferRules(owners_only=False)


def line(kind: str = "CPU", free: int = 4000, **more: object) -> Line:
    return msgspec.convert({"speed": 0, "nodes": 1, "largest": free, "kind": kind, "free": free, **more}, ALine).line()


class ALine(msgspec.Struct):
    """A line by names, so that a test says only what matters."""

    kind: str
    speed: int
    free: int
    largest: int
    nodes: int
    price_uwos: int = 0
    carbon_g_kwh: int = 0
    lent: bool = False

    def line(self) -> Line:
        return Line(**msgspec.structs.asdict(self))


def of(*lines: Line, nodes: int = 1, depth: int = 0) -> Summary:
    return Summary(lines=lines, nodes=nodes, depth=depth)


def test_nodes_of_one_speed_class_share_a_line() -> None:
    summary = summarize([offer("a"), offer("b", free=1000), offer("c", speed_mips=40_000, price=7)], lend=False)
    slow, fast, memory = summary.lines
    assert (slow.kind, slow.speed, slow.free, slow.largest, slow.nodes) == ("CPU", 13, 5000, 4000, 2)
    assert (fast.speed, fast.nodes, fast.price_uwos) == (15, 1, 7)
    assert (memory.kind, memory.free, memory.largest, memory.nodes) == ("Memory", 24 * GB, 8 * GB, 3)
    assert summary.nodes == 3
    assert summary.depth == 0


def test_a_node_that_is_shut_or_on_battery_counts_as_a_node_and_gives_nothing() -> None:
    shut = offer("a", rules=OfferRules(open=False))
    empty = offer("b", rules=OfferRules(not_on_battery=True), battery=True)
    assert summarize([shut, empty], lend=True) == Summary(nodes=2)


def test_what_is_out_of_service_or_leased_is_not_free() -> None:
    broken = resource("a", "GPU", "0", 1000, state=ResourceState.MAINTENANCE)
    assert [item.kind for item in summarize([offer("a", broken, free=0)], lend=True).lines] == ["Memory"]


def test_whole_gpus_of_one_node_add_up_and_those_of_two_nodes_do_not() -> None:
    def gpu(node: str, local: str) -> Offer:
        return offer(node, resource(node, "GPU", local, 1000), resource(node, "GPU", local + "1", 1000))

    summary = summarize([gpu("a", "0"), gpu("b", "0")], lend=True)
    assert may_fill(summary, (Need(kind="GPU", amount=2000),), stranger=False)
    assert not may_fill(summary, (Need(kind="GPU", amount=3000),), stranger=False)


def test_a_stranger_gets_only_what_both_the_site_and_the_node_lend() -> None:
    offers = [offer("a", cores=2), offer("b", cores=8, rules=LENT)]
    lending, keeping = summarize(offers, lend=True), summarize(offers, lend=False)
    eight = (cpu(8000),)
    assert may_fill(lending, eight, stranger=True)
    assert not may_fill(keeping, eight, stranger=True)
    assert may_fill(keeping, eight, stranger=False)
    assert not may_fill(summarize([offer("a", rules=LENT)], lend=True), eight, stranger=True)


def test_a_stranger_gets_nothing_that_is_kept_to_its_owner() -> None:
    need = (Need(kind="Store", amount=GB),)
    for whom, lent in (("me", False), ("family", True)):
        store = resource("a", "Store", "depot", 2 * GB, facts={"for": whom})
        summary = summarize([offer("a", store, rules=LENT)], lend=True)
        assert bool(may_fill(summary, need, stranger=True)) is lent
        assert may_fill(summary, need, stranger=False)
        assert may_fill(summary, (cpu(),), stranger=True)


def test_a_parent_adds_up_what_its_children_have() -> None:
    one = summarize([offer("a"), offer("b")], lend=False)
    two = summarize([offer("c", cores=16)], lend=False)
    both = merged([one, two])
    assert both.nodes == 3
    assert both.depth == 1
    assert both.lines == summarize([offer("a"), offer("b"), offer("c", cores=16)], lend=False).lines
    assert merged([both]).depth == 2
    assert merged([]) == Summary()


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_it_does_not_matter_how_a_realm_is_cut_into_realms(offers: list[Offer]) -> None:
    whole = summarize(offers, lend=True)
    for cut in range(len(offers) + 1):
        both = merged([summarize(offers[cut:], lend=True), summarize(offers[:cut], lend=True)])
        assert both == msgspec.structs.replace(whole, depth=1)


def test_of_too_many_lines_near_speed_classes_are_joined_first() -> None:
    many = of(*(line(kind, speed=at) for kind in ("CPU", "Odd") for at in range(60)), line("GPU"))
    few = merged([many]).lines
    assert len(few) == LINES_MAX
    assert {item.kind for item in few} == {"CPU", "Odd", "GPU"}
    assert sum(item.free for item in few if item.kind == "CPU") == 60 * 4000
    assert list(few) == sorted(few, key=lambda item: (item.kind, item.speed, item.lent))


def test_of_too_many_kinds_the_rare_ones_share_a_line_and_are_still_perhaps_there() -> None:
    many = of(*(line(f"kind {at:03}", nodes=9 if at == 80 else 1) for at in range(90)))
    few = merged([many])
    assert len(few.lines) <= LINES_MAX
    assert few.lines[0].kind == OTHER_KINDS
    assert any(item.kind == "kind 080" for item in few.lines)
    for at in (0, 80, 89):
        assert may_fill(few, (Need(kind=f"kind {at:03}", amount=4000),), stranger=False)
    assert not promises(few, (Need(kind="kind 089", amount=1),), stranger=False)
    again = merged([few, many])
    assert len(again.lines) <= LINES_MAX


def test_garbage_amounts_stay_within_their_bounds() -> None:
    largest = 2**62 - 1
    both = merged([of(line(free=largest, nodes=largest), nodes=largest, depth=16)] * 2)
    assert both.lines[0].free == largest
    assert both.nodes == largest
    assert both.depth == 16
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(both), type=Summary) == both


def test_a_change_of_more_than_a_tenth_is_worth_telling() -> None:
    base = of(line(free=100_000), nodes=100)
    assert not differs(base, base)
    assert not differs(base, of(line(free=90_000), nodes=100))
    assert differs(base, of(line(free=89_000), nodes=100))
    assert differs(base, of(line(free=100_000, price_uwos=1), nodes=100))
    assert differs(base, of(line(free=100_000), nodes=120))
    assert differs(base, of(line(free=100_000), line("GPU"), nodes=100))
    assert differs(base, of(line(free=100_000, lent=True), nodes=100))
    assert differs(base, of(line(free=100_000), nodes=100, depth=1))


def test_each_objective_prefers_its_own_best() -> None:
    fast = of(line(speed=16, price_uwos=900, carbon_g_kwh=800))
    cheap = of(line(speed=12, price_uwos=1, carbon_g_kwh=700))
    green = of(line(speed=12, price_uwos=900, carbon_g_kwh=20))
    for objective, best in {Objective.FASTEST: fast, Objective.CHEAPEST: cheap, Objective.GREENEST: green}.items():
        ranked = max((fast, cheap, green), key=lambda each: may_fill(each, (cpu(objective=objective),), stranger=False))
        assert ranked == best


def test_more_of_a_gang_counts_more_than_speed() -> None:
    gang = (cpu(4000), cpu(4000), Need(kind="GPU", amount=1000))
    roomy = of(line(free=8000, largest=4000), line("GPU", 1000))
    fast = of(line(free=4000, speed=20))
    assert may_fill(roomy, gang, stranger=False) > may_fill(fast, gang, stranger=False) > 0


def test_what_a_summary_cannot_know_is_no_promise() -> None:
    summary = of(line(), line("Memory", 8 * GB))
    assert promises(summary, (cpu(4000),), stranger=False)
    assert promises(summary, (cpu(4000, memory_bytes=GB),), stranger=False)
    assert not promises(summary, (cpu(5000),), stranger=False)
    assert not promises(summary, (cpu(4000, memory_bytes=9 * GB),), stranger=False)
    assert not promises(summary, (cpu(4000, where=parse_where("arch == 'arm64'")),), stranger=False)
    assert not promises(summary, (cpu(4000, near="berlin"),), stranger=False)
    assert not promises(summary, (cpu(4000),), stranger=True)


def test_a_dear_realm_is_not_asked_by_who_cannot_pay() -> None:
    dear = of(line(price_uwos=1000))
    assert not may_fill(dear, (cpu(1000, budget_uwos_hour=999),), stranger=False)
    assert may_fill(dear, (cpu(1000, budget_uwos_hour=1000),), stranger=False)


@given(worlds, needs, st.integers(0, 3), st.booleans(), st.sampled_from(["me", "you", "other"]))
@settings(max_examples=150, deadline=None)
def test_a_summary_never_says_no_where_a_node_would_say_yes(
    offers: list[Offer], need: Need, cut: int, lend: bool, account: str
) -> None:
    question = Question(need, View(home=HOME, account=AccountId(account)))
    strange = account == "other"  # the worlds' offers belong to "me" or "you"
    rightful = [one for one in offers if strange or one.owner == account]
    if strange and not lend:
        rightful = []
    whole = summarize(rightful, lend=lend)
    parts = merged([summarize(rightful[:cut], lend=lend), merged([summarize(rightful[cut:], lend=lend)])])
    if any(question.place(one) is not None for one in rightful):
        for summary in (whole, parts):
            assert may_fill(summary, (need,), stranger=strange) > 0
            assert may_fill(summary, (Need(kind="Nothing", amount=1), need), stranger=strange) > 0
    elif not rightful:
        assert may_fill(whole, (need,), stranger=strange) == 0


def a_node(number: int) -> Offer:
    """Return one of many different machines, as a scan of a real one finds them."""
    node = f"n{number}"
    more = [resource(node, "Storage", "0", 10**12 + number), resource(node, "Network", "0", 10**9)]
    if number % 3 == 0:
        more.append(resource(node, "GPU", "0", 1000, price=50 + number % 7))
    if number % 5 == 0:
        more += [resource(node, "Camera", "0", 1), resource(node, "Display", "0", 1), resource(node, "Sound", "0", 1)]
    rules = OfferRules(owners_only=number % 2 == 0)
    speed = 2_000 + (number * 7919) % 60_000
    return offer(node, *more, cores=2 + number % 63, rules=rules, speed_mips=speed, carbon_g_kwh=20 + number % 500)


def test_ten_thousand_nodes_fit_in_a_kilobyte_and_a_home_in_three_hundred_bytes() -> None:
    sites = [summarize((a_node(site * 100 + at) for at in range(100)), lend=True) for site in range(100)]
    assert len(msgspec.msgpack.encode(merged(sites))) <= 1024
    home = summarize((offer(f"n{at}", resource(f"n{at}", "Storage", "0", 10**12)) for at in range(5)), lend=True)
    assert len(msgspec.msgpack.encode(home)) <= 300


def test_the_account_of_a_site_is_no_stranger_there() -> None:
    assert may_fill(summarize([offer("a", owner=ME)], lend=False), (cpu(),), stranger=False)
