"""What is counted in a window."""

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.limits import TARGETS_PER_WINDOW_MAX
from worldos.kernel.behaviour.millibits import millibits
from worldos.kernel.behaviour.window import Feature, Window, mark_of


def asked(target: str = "a", cls: int = 0, *, is_allowed: bool = True) -> Asked:
    return Asked(principal="p", target=target, cls=cls, is_allowed=is_allowed)


def window_of(*requests: Asked, known: tuple[str, ...] = ("a", "b")) -> Window:
    window = Window(start_ns=0)
    for request in requests:
        window.add(request, {mark_of(name) for name in known})
    return window


def test_the_four_figures_count_requests_things_denials_and_weight() -> None:
    window = window_of(asked("a"), asked("a", is_allowed=False), asked("b", cls=1))
    assert window.figures() == (millibits(4), millibits(3), millibits(2), millibits(1 + 1 + 1 + 8))


def test_what_was_never_asked_for_weighs_as_much_as_eight_known_things() -> None:
    assert window_of(asked("c")).figures()[Feature.FAN_OUT] == millibits(9)
    assert window_of(asked("c"), asked("c")).figures()[Feature.FAN_OUT] == millibits(9)


def test_one_lock_weighs_more_than_many_reads() -> None:
    locks, reads = window_of(asked(cls=3)), window_of(*[asked()] * 100)
    assert locks.figures()[Feature.LEVEL] > reads.figures()[Feature.LEVEL]


def test_a_class_that_there_is_not_counts_as_the_nearest_one() -> None:
    assert window_of(asked(cls=77)).figures() == window_of(asked(cls=4)).figures()
    assert window_of(asked(cls=-1)).figures() == window_of(asked()).figures()


def test_however_many_things_are_asked_for_a_window_keeps_a_bounded_number() -> None:
    window = window_of(*(asked(str(number)) for number in range(TARGETS_PER_WINDOW_MAX + 100)), known=())
    assert len(window.strange) == TARGETS_PER_WINDOW_MAX
    assert window.requests == TARGETS_PER_WINDOW_MAX + 100


@given(st.lists(st.builds(asked, st.sampled_from("abcd"), st.integers(0, 4), is_allowed=st.booleans()), max_size=30))
def test_no_figure_ever_falls_while_a_window_is_open(requests: list[Asked]) -> None:
    window = Window(start_ns=0)
    before = window.figures()
    for request in requests:
        window.add(request, {mark_of("a")})
        assert all(new >= old for new, old in zip(window.figures(), before, strict=True))
        before = window.figures()
