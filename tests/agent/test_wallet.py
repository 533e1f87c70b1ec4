"""The wallet keeps grants that are for this machine, and passes over what is none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from worldos.agent import wallet
from worldos.agent.wallet import Wallet
from worldos.config import Home
from worldos.errors import BadRequest, NotAllowed, OverQuota
from worldos.model.ids import AccountId, NodeId
from worldos.model.realm import Level
from worldos.trust.grant import issue
from worldos.trust.keys import DeviceKey
from worldos.trust.roles import RoleName, role_limits

ME = DeviceKey.from_seed(b"m" * 32)
THEM = DeviceKey.from_seed(b"t" * 32)
ACCOUNT = AccountId(DeviceKey.from_seed(b"a" * 32).node_id)
NOW_S = 1_900_000_000


def given(days: int = 1, holder: DeviceKey = ME) -> bytes:
    limits = role_limits(RoleName.GUEST, Level.PERSONAL, ((ACCOUNT,),), NOW_S, NOW_S + days * 86_400)
    return issue(THEM, account=ACCOUNT, holder=NodeId(holder.node_id), limits=limits)


@pytest.fixture
def mine(tmp_path: Path) -> Wallet:
    return Wallet(Home(tmp_path), NodeId(ME.node_id))


def test_what_is_put_in_is_there_again_in_private(mine: Wallet, tmp_path: Path) -> None:
    kept = mine.put(given())
    assert [each.id for each in Wallet(Home(tmp_path), NodeId(ME.node_id)).all()] == [kept.id]
    (file,) = (tmp_path / "grants").glob("*.grant")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_of_one_account_the_grant_that_lasts_longest_is_shown(mine: Wallet) -> None:
    for days in (3, 9, 1):
        mine.put(given(days))
    assert mine.by_account() == {str(ACCOUNT): given(9)}


def test_grants_for_others_and_garbage_are_refused(mine: Wallet) -> None:
    with pytest.raises(NotAllowed):
        mine.put(given(holder=THEM))
    for garbage in (b"", b"\x80", b"x" * 5000):
        with pytest.raises(BadRequest):
            mine.put(garbage)
    assert mine.all() == []


def test_files_that_are_none_are_passed_over(mine: Wallet, tmp_path: Path) -> None:
    mine.put(given())
    (tmp_path / "grants" / "x.grant").write_bytes(b"\xff\xfe")
    assert len(mine.all()) == 1


def test_one_is_removed_by_the_beginning_of_its_id(mine: Wallet) -> None:
    kept = mine.put(given())
    for named in ("", "zzzz", kept.id[:3]):
        with pytest.raises(BadRequest):
            mine.remove(named)
    assert mine.remove(kept.id[:8]) == kept.id
    assert mine.all() == []


def test_a_wallet_has_an_end(mine: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet, "GRANTS_MAX", 1)
    mine.put(given(1))
    with pytest.raises(OverQuota):
        mine.put(given(2))
