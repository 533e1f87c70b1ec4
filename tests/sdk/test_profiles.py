"""What a program learned of its functions is known to the next handle, and to its agent."""

from __future__ import annotations

import time
from functools import partial

from tests.sdk.waiting import until

from worldos import use
from worldos.kernel.profile import Profiles
from worldos.sdk import profiles
from worldos.sdk.connection import connection


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
        assert cpu.submit(abs, -1).result(20) == 1
    assert connection().ask("profile_show")["functions"] == before


def test_chunks_are_known_by_the_function_in_them() -> None:
    with use("CPU", 1) as cpu:
        list(cpu.map(nap, [0.005] * 4, chunksize=2))
        list(cpu.map(partial(nap), [0.005] * 4, chunksize=4))
    names = {profile.name for profile in profiles.begun(connection()).functions.values()}
    assert {"2 x nap", "_run_chunk"} <= names, "what carries something with it is not pickled twice"
