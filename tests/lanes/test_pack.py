"""Functions travel as what they are at submit, as rarely as is safe."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worldos.errors import BadRequest
from worldos.lanes import pack
from worldos.lanes.wire import Status

BASE = 10


def load(function: pack.Function) -> Any:
    return pickle.loads(function.blob)


def outside(source: str, **names: Any) -> Callable[..., Any]:
    """Return a function ``f`` as a script would define it: of no module that could be imported."""
    space = {"__name__": "__main__", **names}
    exec(source, space)
    made: Callable[..., Any] = space["f"]
    return made


def test_a_function_is_pickled_once() -> None:
    functions = pack.Functions()
    f = outside("def f(x): return x + 1")
    assert functions.of(f) is functions.of(f)
    assert load(functions.of(f))(1) == 2


def test_equal_functions_are_one_function() -> None:
    functions = pack.Functions()
    makes = [outside("def f(x): return x + 1") for _ in range(2)]
    assert functions.of(makes[0]).number == functions.of(makes[1]).number


def test_a_function_whose_surroundings_change_is_pickled_again() -> None:
    functions = pack.Functions()
    f = outside("def f(x): return x + base", base=1)
    assert load(functions.of(f))(1) == 2
    f.__globals__["base"] = 5
    assert load(functions.of(f))(1) == 6

    def counter() -> tuple[Callable[[], int], Callable[[], None]]:
        count = 0

        def more() -> None:
            nonlocal count
            count += 1

        return lambda: count, more

    read, more = counter()
    assert load(functions.of(read))() == 0
    more()
    assert load(functions.of(read))() == 1


def test_a_function_that_refers_to_what_can_change_inside_is_as_it_is_now() -> None:
    functions = pack.Functions()
    kept: list[int] = []
    f = outside("def f(): return len(kept)", kept=kept)
    assert load(functions.of(f))() == 0
    kept.append(1)
    assert load(functions.of(f))() == 1


def test_a_helper_that_changes_is_noticed_through_its_user() -> None:
    functions = pack.Functions()
    helper = outside("def f(): return base", base=1)
    f = outside("def f(): return helper()", helper=helper)
    assert load(functions.of(f))() == 1
    helper.__globals__["base"] = 2
    assert load(functions.of(f))() == 2
    f.__globals__["helper"] = outside("def f(): return 7")
    assert load(functions.of(f))() == 7


def test_new_code_in_an_old_function_is_noticed() -> None:
    functions = pack.Functions()
    f = outside("def f(): return 1")
    assert load(functions.of(f))() == 1
    f.__code__ = outside("def f(): return 2").__code__
    assert load(functions.of(f))() == 2


def test_methods_and_partials_carry_their_state_as_it_is() -> None:
    functions = pack.Functions()
    values = [3, 4]
    assert load(functions.of(values.copy))() == [3, 4]
    values.append(5)
    assert load(functions.of(values.copy))() == [3, 4, 5]
    assert load(functions.of(functools.partial(pow, 2)))(5) == 32


def test_functions_of_modules_go_by_name() -> None:
    assert len(pack.Functions().of(pickle.dumps).blob) < 60


def test_old_functions_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "FUNCTIONS_MAX", 3)
    functions = pack.Functions()
    numbers = [functions.of(outside(f"def f(): return {n}")).number for n in range(5)]
    assert functions.forgotten == numbers[:2]


def test_what_cannot_be_called_or_pickled_is_refused() -> None:
    with pytest.raises(BadRequest, match="cannot be called"):
        pack.Functions().of(3)
    lock = threading.Lock()
    with pytest.raises(BadRequest, match="cannot be sent"):
        pack.Functions().of(lambda: lock)


@pytest.mark.parametrize(
    "args",
    [
        (),
        (1, 2.5, "x", None, True, b"b"),
        ([1, {"a": (2,)}],),
        (b"x" * 100_000,),
        (bytearray(b"y" * 100_000), "z" * 100_000),
        (np.arange(50_000), {"k": np.arange(5)}),
    ],
)
def test_arguments_come_back_as_they_were(args: tuple[Any, ...]) -> None:
    data, buffers = pack.pack_arguments(args, {"key": 1})
    back, named = pack.unpack(data, [memoryview(bytes(b)) for b in buffers])
    assert named == {"key": 1}
    for one, other in zip(args, back, strict=True):
        assert type(one) is type(other)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else str(one) == str(other)


def test_large_buffers_stay_out_of_the_pickle() -> None:
    data, buffers = pack.pack_arguments((np.zeros(1_000_000), b"x" * 1_000_000, np.zeros(10)), {})
    assert len(data) < 2000
    assert sorted(b.nbytes for b in buffers) == [1_000_000, 8_000_000]


def test_the_argument_at_fault_is_named() -> None:
    with pytest.raises(BadRequest, match=r"argument 2 \(lock\)"):
        pack.pack_arguments((1, threading.Lock()), {})
    with pytest.raises(BadRequest, match=r"argument where= \(lock\)"):
        pack.pack_arguments((1,), {"where": threading.Lock()})


class Picky(Exception):
    """An exception that pickles and does not come back, as many do."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def test_exceptions_that_do_not_survive_pickling_are_described() -> None:
    status, data, buffers = pack.pack_exception(Picky(1, 2))
    error, _text = pack.unpack(data, buffers)
    assert status == Status.RAISED
    assert isinstance(error, RuntimeError)
    assert "Picky: 1 2" in str(error)


def test_a_result_that_cannot_be_pickled_is_described() -> None:
    status, data, buffers = pack.pack_result(threading.Lock())
    assert status == Status.UNSENDABLE
    assert "lock" in pack.unpack(data, buffers)
