"""Functions and commands go into the line from a program, and what cannot is refused with a hint."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import worldos
from worldos.errors import BadRequest, NoAgent, WorldError
from worldos.jobs.desk import Desk
from worldos.jobs.job import Job
from worldos.jobs.submit import spec_of, submit
from worldos.model.work import ARRAY_TASKS_MAX

pytestmark = pytest.mark.usefixtures("at_home")


def square(number: int, plus: int = 0) -> int:
    return number * number + plus


def test_a_function_runs_elsewhere_and_its_result_comes_back() -> None:
    assert worldos.submit is submit
    assert submit(square, 3).result(30) == 9
    assert submit(square, array=[1, 2, 3], kwargs={"plus": 1}).result(30) == [2, 5, 10]
    assert submit(square, array="5-6").result(30) == [25, 36]
    assert list(submit(lambda item: item * 2, array=range(3))) == [0, 2, 4]


def test_what_it_raises_is_raised_here() -> None:
    job = submit(lambda: {}["key"])
    with pytest.raises(KeyError):
        job.result(30)


def test_a_command_brings_files_along_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("abc")
    job = submit(["sh", "-c", "tr a-z A-Z < in.txt > out.txt; exit 4"], files=["in.txt"], name="upper")
    assert job.result(30) == 4
    job.save(tmp_path / "back")
    assert (tmp_path / "back" / "out.txt").read_text() == "ABC"
    assert not (tmp_path / "back" / "in.txt").exists()
    with pytest.raises(BadRequest, match="is there already"):
        job.save(tmp_path / "back")
    job.save(tmp_path / "back", force=True)


def test_a_large_parcel_lies_in_the_realms_files() -> None:
    data = random.Random(1).randbytes(400_000)
    job = submit(len, data)
    assert job.result(60) == 400_000


def test_how_many_owners_must_agree_is_said_in_plain_words() -> None:
    words: tuple[bool | int | None, ...] = (None, False, True, 2, 3)
    assert [spec_of(argv=["true"], checked=word).copies for word in words] == [0, 1, 2, 2, 3]
    with pytest.raises(BadRequest, match="2 to 3"):
        spec_of(argv=["true"], checked=9)


def test_one_job_waits_for_another() -> None:
    first = submit(square, 2, name="first")
    second = submit(square, 3, after=[first])
    assert second.result(30) == 9
    assert first.state == "done"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"array": []}, "array"),
        ({"array": "1-1000000000"}, "1000000"),
        ({"deadline": datetime.now().astimezone() - timedelta(1)}, "passed"),
        ({"deadline": "yesterday"}, "not a time"),
        ({"budget": -1}, "WOSCoin"),
        ({"cpu": "many"}, "many"),
        ({"where": "arch =="}, "value"),
        ({"priority": 101}, "priority"),
        ({"retries": -1}, "retries"),
        ({"runtime": "0s"}, "not a time"),
        ({"runtime": "10ms"}, "runtime"),
        ({"isolation": "glass"}, "isolation"),
        ({"name": "n" * 129}, "name"),
        ({"after": ["x" * 10] * 65}, "64"),
        ({"after": ["nosuchjob1"]}, "no job"),
        ({"files": ["/nowhere/at/all"]}, "there is no"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint_or_a_reason(words: dict[str, Any], said: str) -> None:
    with pytest.raises(WorldError, match=said):
        submit(square, 1, **words)


def test_what_is_neither_a_function_nor_a_command_is_refused() -> None:
    for wrong in ("ls -l", [], [1, 2], None):
        with pytest.raises(BadRequest):
            submit(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        submit(["ls"], "an argument")
    with pytest.raises(BadRequest):
        submit(square, (number for number in range(3)))


def test_an_array_has_its_bound() -> None:
    with pytest.raises(BadRequest, match=str(ARRAY_TASKS_MAX)):
        submit(square, array=range(ARRAY_TASKS_MAX + 1))


def test_a_job_needs_an_agent_that_outlives_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr("worldos.jobs.submit._connection", None)
    with pytest.raises(NoAgent):
        submit(square, 1)
    monkeypatch.setattr("worldos.jobs.submit._connection", None)


def test_the_words_become_a_job() -> None:
    spec = spec_of(
        argv=["prog"], cpu=2, memory="1GB", deadline="in 2h", budget=5, runtime="90s", grace="5s", preemptible=True
    )
    assert (spec.need.amount, spec.need.memory_bytes, spec.need.workers) == (2000, 10**9, 1)
    assert (spec.budget_uwos, spec.runtime_s, spec.grace_s, spec.preemptible) == (5_000_000, 90, 5, True)
    assert spec.deadline_s > 0
    assert isinstance(Job("abcd", Desk(print)), Job)
