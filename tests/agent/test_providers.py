"""What a home knows of providers outlives its agent, and a damaged file costs a new probation, no more."""

from __future__ import annotations

from pathlib import Path

from worldos.agent.providers import Providers
from worldos.kernel.auditing import PROBATION_CHECKS
from worldos.model.ids import NodeId

ANN, BOB = NodeId("ann"), NodeId("bob")


def test_records_are_there_again_in_the_next_life(tmp_path: Path) -> None:
    providers = Providers(tmp_path / "providers")
    for _ in range(PROBATION_CHECKS):
        assert providers.wants_check(ANN)
        providers.checked(ANN, is_right=True)
    providers.checked(BOB, is_right=False)
    again = Providers(tmp_path / "providers")
    assert again.rows() == providers.rows()
    assert [(row["node"], row["probation"]) for row in again.rows()] == [("ann", False), ("bob", True)]
    assert not again.why_out(ANN)
    assert "wrong answer" in again.why_out(BOB)


def test_a_damaged_file_is_a_new_beginning(tmp_path: Path) -> None:
    (tmp_path / "providers").write_bytes(b"\xc1 garbage")
    providers = Providers(tmp_path / "providers")
    assert providers.rows() == []
    assert providers.wants_check(ANN)
