"""What a program learned of its functions is known to the next handle, and to its agent."""

from __future__ import annotations

import time
from functools import partial

import pytest
from tests.sdk.waiting import until

from worldos import NoCapacity, use
from worldos.errors import BadRequest
from worldos.kernel.profile import Profiles, Ran, Took
from worldos.lanes import pack
from worldos.sdk import profiles
from worldos.sdk.connection import connection
from worldos.sdk.needs import parse_need


def nap(seconds: float) -> None:
    time.sleep(seconds)


def test_what_one_handle_learned_the_next_one_knows_and_the_agent_shows() -> None:
    with use("CPU", 1) as cpu:
        list(cpu.map(nap, [0.01] * 5))
    known = profiles.begun(connection())
    (profile,) = (each for each in known.functions.values() if each.name == "nap")
    assert profile.wall_us.count == 5
    assert 10_000 <= profile.wall_us.mean < 200_000
    assert profile.cpu_permille < 500
    until(lambda: any(row["function"] == "nap" for row in connection().ask("profile_show")["functions"]))
    again = Profiles.restore(connection().ask("profiles"))
    assert again.functions.keys() >= known.functions.keys()


def test_what_was_too_short_to_be_measured_is_not_told() -> None:
    before = connection().ask("profile_show")["functions"]
    with use("CPU", 1) as cpu:
        assert cpu.submit(abs, -1).result(60) == 1
    assert connection().ask("profile_show")["functions"] == before


def test_chunks_are_known_by_the_function_in_them() -> None:
    with use("CPU", 1) as cpu:
        list(cpu.map(nap, [0.005] * 4, chunksize=2))
        list(cpu.map(partial(nap), [0.005] * 4, chunksize=4))
    names = {profile.name for profile in profiles.begun(connection()).functions.values()}
    assert {"2 x nap", "_run_chunk"} <= names, "what carries something with it is not pickled twice"


def take(megabytes: int) -> int:
    data = bytearray(b"x") * (megabytes << 20)
    time.sleep(0.02)
    return len(data) >> 20


def no_word(megabytes: int) -> int:
    return megabytes


def test_calls_that_do_not_fit_side_by_side_run_one_after_the_other() -> None:
    with use("CPU", 2, memory="100MB") as cpu:
        assert list(cpu.map(take, [60] * 3)) == [60] * 3, (
            "the first that is stopped is done again, with all of the memory"
        )
    with use("CPU", 2, memory="100MB") as cpu:
        assert list(cpu.map(take, [60] * 3)) == [60] * 3
        assert cpu.statistics().losses == 0, "what was learned holds them apart"


def test_a_lease_for_a_function_comes_with_the_memory_that_it_took() -> None:
    with use("CPU", 2, for_=take) as cpu:
        assert 2 * 60 << 20 < cpu.need.memory_bytes < 2 * 150 << 20
        assert cpu.need.work is None, "what was learned is for the choice"
    with use("CPU", 1, for_=take, memory="300MB") as cpu:
        assert cpu.need.memory_bytes == 300_000_000
    with use("CPU", 1, for_=no_word) as cpu:
        assert cpu.need.memory_bytes == 0


def test_a_lease_that_cannot_be_had_for_what_was_learned_says_so() -> None:
    learned = Profiles()
    key = pack.Functions().of(no_word).key
    learned.learn(key, Ran(node=connection().node(), took=Took(1000, 1000, 10**13), in_bytes=1, out_bytes=1))
    needed = profiles.fitted(parse_need("CPU", 1), no_word, connection())
    assert needed.work is None
    connection().tell("profiles_learned", {"learned": learned.snapshot()})
    profiles._known.clear()
    with pytest.raises(NoCapacity, match="memory free") as caught:
        use("CPU", 1, for_=no_word)
    assert "by earlier runs of no_word it takes 1" in caught.value.hint
    for wrong in ({"for_": 3}, {"for_": take, "kind": "Storage", "amount": "1GB"}):
        with pytest.raises(BadRequest, match="for_="):
            use(**{"kind": "CPU", "amount": 1, **wrong})
