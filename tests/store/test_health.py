"""What is repaired and what is let sleep, which comes first, and who does it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from worldos.store.erasure import Code
from worldos.store.health import Health, Reason, is_turn, lazy_at, plan, plan_one, standing, surplus
from worldos.store.limits import TRIM_NS, TURN_NS

HOME = Code(3, 6)
WIDE = Code(4, 12)
SPARE = ("x", "y", "z")


def health(
    code: Code = HOME,
    *,
    asleep: str = "",
    lost: str = "",
    debts: int = 0,
    segment: bytes = b"s",
    domains: dict[str, str] | None = None,
    unknown: int = 0,
) -> Health:
    """Share i lies on the i-th letter; the last ``debts`` were never written."""
    have = {index: (chr(ord("a") + index),) for index in range(code.n - debts)}
    return Health(
        segment=segment,
        code=code,
        have=have,
        asleep=frozenset(asleep),
        lost=frozenset(lost),
        domains=domains or {},
        unknown=unknown,
    )


def test_a_whole_segment_needs_nothing() -> None:
    assert plan_one(health(), SPARE) is None
    assert standing(health()).whole
    assert standing(health()).survives == 3


def test_sleepers_are_not_repaired_however_many() -> None:
    assert plan_one(health(asleep="abc"), SPARE) is None
    assert plan_one(health(asleep="abcdef"), SPARE) is None
    assert standing(health(asleep="abc")).survives == 3


def test_in_a_home_the_first_loss_is_repaired() -> None:
    repair = plan_one(health(lost="b", asleep="a"), SPARE)
    assert repair is not None
    assert (repair.indices, repair.reason, repair.survives) == ((1,), Reason.LOST, 2)
    assert [index for index, _ in repair.sources] == [2, 3, 4, 5]
    assert set(repair.targets) == set(SPARE)


def test_a_wide_code_is_repaired_lazily_and_then_all_at_once() -> None:
    assert (lazy_at(WIDE), lazy_at(Code(10, 16)), lazy_at(HOME), lazy_at(Code(1, 4))) == (9, 13, 5, 3)
    assert plan_one(health(WIDE, lost="ab"), SPARE) is None
    repair = plan_one(health(WIDE, lost="abc"), SPARE)
    assert repair is not None
    assert repair.indices == (0, 1, 2)


def test_debts_are_paid_at_once_and_with_them_what_is_lost() -> None:
    repair = plan_one(health(WIDE, lost="a", debts=1), SPARE)
    assert repair is not None
    assert repair.indices == (0, 11)
    repair = plan_one(health(WIDE, debts=1), SPARE)
    assert repair is not None
    assert repair.reason is Reason.DEBT


def test_what_an_unknown_sleeper_may_hold_is_not_called_a_debt() -> None:
    assert plan_one(health(debts=1, unknown=1), SPARE) is None
    repair = plan_one(health(debts=2, unknown=1), SPARE)
    assert repair is not None
    assert repair.indices == (5,)


def test_without_enough_shares_here_or_a_free_device_it_waits() -> None:
    assert plan_one(health(lost="a", asleep="bcdef"), SPARE) is None
    assert plan_one(health(lost="a"), ()) is None
    assert plan_one(health(lost="a"), ("b", "c")) is None, "a second share on one device survives nothing more"
    assert plan_one(health(lost="abcd"), SPARE) is None, "two of three are left: it is gone"
    assert standing(health(lost="abcd")).survives == -1


def test_devices_that_are_never_on_together_are_met_one_after_the_other() -> None:
    repair = plan_one(health(lost="a", asleep="bcd"), SPARE)
    assert repair is not None
    assert (repair.indices, [index for index, _ in repair.sources]) == ((), [4, 5])
    met = replace(health(lost="a", asleep="cdef"), gathered=frozenset([4, 5]))
    repair = plan_one(met, SPARE)
    assert repair is not None
    assert (repair.indices, [index for index, _ in repair.sources]) == ((0,), [1])
    waits = replace(health(lost="a", asleep="bcdf"), gathered=frozenset([4]))
    assert plan_one(waits, SPARE) is None, "it has been fetched already"


def test_a_returning_device_brings_its_share_back() -> None:
    assert plan_one(health(lost="a"), SPARE) is not None
    assert plan_one(health(), SPARE) is None
    repaired = Health(segment=b"s", code=HOME, have={**health().have, 0: ("a", "x")})
    assert plan_one(repaired, SPARE) is None
    assert standing(repaired).survives == 3


def test_the_copy_too_many_goes_late_and_the_crowded_place_loses_it() -> None:
    doubled = Health(segment=b"s", code=HOME, have={**health().have, 0: ("a", "x")}, domains={"a": "p", "b": "p"})
    assert surplus(doubled, whole_since_ns=1, now_ns=TRIM_NS) == []
    assert surplus(doubled, whole_since_ns=0, now_ns=9 * TRIM_NS) == []
    assert surplus(doubled, whole_since_ns=1, now_ns=TRIM_NS + 1) == [(0, "a")]
    asleep = Health(segment=b"s", code=HOME, have=doubled.have, asleep=frozenset("b"))
    assert surplus(asleep, whole_since_ns=1, now_ns=9 * TRIM_NS) == [], "not while one is away"


def test_the_most_endangered_comes_first() -> None:
    near = health(lost="abc", segment=b"near")
    worse = health(lost="ab", segment=b"worse")
    bad = health(lost="a", segment=b"bad")
    debt = health(debts=1, segment=b"debt")
    assert [repair.segment for repair in plan([debt, bad, near, worse], SPARE)] == [b"near", b"worse", b"debt", b"bad"]
    assert [repair.segment for repair in plan([bad, near, worse], SPARE, repairs_max=1)] == [b"near"]


def test_new_shares_go_where_the_fewest_are() -> None:
    domains = {"b": "home", "c": "home", "x": "home", "y": "office"}
    repair = plan_one(health(lost="a", domains=domains), ("x", "y"))
    assert repair is not None
    assert repair.targets[0] == "y"


def test_shares_that_crowd_on_one_device_move_out_to_new_ones() -> None:
    two = Health(segment=b"s", code=Code(1, 4), have={0: ("a",), 1: ("b",), 2: ("a",), 3: ("b",)})
    assert plan_one(two, ("a", "b")) is None
    assert standing(two).survives == 1
    repair = plan_one(two, ("a", "b", "x"))
    assert repair is not None
    assert (repair.reason, repair.indices) == (Reason.SPREAD, (2,))
    moved = replace(two, have={**two.have, 2: ("a", "x")})
    assert plan_one(moved, ("a", "b", "x")) is None
    assert standing(moved).survives == 2
    asleep = replace(two, asleep=frozenset("a"))
    repair = plan_one(asleep, ("b", "x"))
    assert repair is not None
    assert repair.indices == (2,), "any share makes any other"


@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)), st.integers(0, 6))
def test_a_repair_never_touches_what_is_kept_and_never_doubles_a_device(
    asleep: set[int], lost: set[int], spare: int
) -> None:
    names = "abcdef"
    case = health(asleep="".join(names[i] for i in asleep - lost), lost="".join(names[i] for i in lost))
    devices = [*names, *(f"x{number}" for number in range(spare))]
    repair = plan_one(case, devices)
    if repair is None:
        return
    assert all(not case.kept(index) for index in repair.indices)
    assert len(repair.indices) <= len(repair.targets)
    assert not set(repair.targets) & {node for index in range(6) for node in case.kept(index)}
    assert len(repair.sources) >= HOME.k or not repair.indices
    assert all(nodes and not set(nodes) & (case.asleep | case.lost) for _, nodes in repair.sources)


def test_one_carer_at_a_time_the_next_when_it_does_not() -> None:
    here = ["a", "b", "c"]
    assert sum(is_turn(b"L", me, here, waiting_ns=0) for me in here) == 1
    assert sum(is_turn(b"L", me, here, waiting_ns=TURN_NS) for me in here) == 2
    assert is_turn(b"L", "me", [], waiting_ns=0)
