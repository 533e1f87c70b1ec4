"""Results of strangers are vouched for: liars are found by the first check and get no more work; the honest earn a record.

The machines are lane hosts of this test, real processes each; a liar is one whose workers have WOS_LIES in their environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldos import use
from worldos.agent.providers import Providers
from worldos.errors import BadRequest
from worldos.kernel.auditing import PROBATION_CHECKS
from worldos.model.ids import NodeId
from worldos.sdk.checked import Checked, Worker, checked

sys.path.append(str(Path(__file__).parent.parent / "lanes"))
from harness import Here


class File:
    """The agent's records, without the agent."""

    def __init__(self, folder: Path) -> None:
        self.providers = Providers(folder / "providers")

    def did(self, node: str) -> bool:
        return self.providers.wants_check(NodeId(node))

    def checked(self, node: str, *, is_right: bool) -> str:
        self.providers.checked(NodeId(node), is_right=is_right)
        return self.providers.why_out(NodeId(node))

    def row(self, node: str) -> dict[str, object]:
        return next(row for row in self.providers.rows() if row["node"] == node)


@pytest.fixture
def here() -> Iterator[Here]:
    made = Here()
    yield made
    made.stop()


def machine(here: Here, node: str, owner: str, *, is_own: bool = False, lies: str = "") -> Worker:
    return Worker(node, owner, is_own, here.lane(workers=1, env={"WOS_LIES": lies}))


def work(number: int) -> int:
    lies = os.environ.get("WOS_LIES")
    if lies == "crash":
        raise ValueError("no")
    return number * number + (1 if lies else 0)


def dice(_number: int) -> bytes:
    return os.urandom(8)


def test_an_honest_stranger_earns_its_record(here: Here, tmp_path: Path) -> None:
    file = File(tmp_path)
    with Checked([machine(here, "ann", "a")], machine(here, "me", "", is_own=True), file) as cpu:
        assert list(cpu.map(work, range(PROBATION_CHECKS + 2))) == [n * n for n in range(PROBATION_CHECKS + 2)]
    row = file.row("ann")
    assert (row["jobs"], row["out"], row["probation"]) == (PROBATION_CHECKS + 2, "", False)


@pytest.mark.parametrize("lies", ["yes", "crash"])
def test_a_liar_is_found_and_its_answers_are_not_believed(here: Here, tmp_path: Path, lies: str) -> None:
    file = File(tmp_path)
    workers = [machine(here, "ann", "a"), machine(here, "bob", "b", lies=lies)]
    with Checked(workers, machine(here, "me", "", is_own=True), file) as cpu:
        assert list(cpu.map(work, range(20))) == [n * n for n in range(20)]
    assert "wrong answer" in str(file.row("bob")["out"])
    assert not file.row("ann")["out"]


def test_two_machines_of_one_owner_do_not_vouch_for_each_other(here: Here, tmp_path: Path) -> None:
    file = File(tmp_path)
    workers = [machine(here, "bob", "b", lies="yes"), machine(here, "bea", "b", lies="yes")]
    with Checked(workers, machine(here, "me", "", is_own=True), file) as cpu:
        assert list(cpu.map(work, range(6))) == [n * n for n in range(6)]
    assert file.row("bob")["out"] or file.row("bea")["out"]


def test_own_machines_are_not_checked(here: Here, tmp_path: Path) -> None:
    file = File(tmp_path)
    with Checked([machine(here, "mine", "me", is_own=True)], machine(here, "me", "", is_own=True), file) as cpu:
        assert cpu.submit(work, 3).result() == 9
    assert file.providers.rows() == []


def test_what_differs_each_time_blames_nobody(here: Here, tmp_path: Path) -> None:
    file = File(tmp_path)
    with Checked([machine(here, "ann", "a")], machine(here, "me", "", is_own=True), file) as cpu:
        with pytest.raises(BadRequest, match="cannot be checked"):
            cpu.submit(dice, 1).result()
        assert cpu.submit(work, 2).result() == 4
    assert not file.row("ann")["out"]


def test_with_a_real_agent_ones_own_machine_needs_no_checks() -> None:
    with checked(1) as cpu:
        assert list(cpu.map(work, range(4))) == [0, 1, 4, 9]
    with use("CPU", 1) as free:  # the leases went back
        assert free.submit(work, 5).result() == 25
