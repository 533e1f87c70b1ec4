"""Debts: what a sleeping store did not take is paid when the session ends, if somebody can take it then."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.files.depots import files_of, site

MIB = 1 << 20


@pytest.mark.slow
def test_a_store_that_woke_up_gets_its_share_before_the_session_ends(tmp_path: Path) -> None:
    data = os.urandom(5 * MIB)
    with site(6, own_process=True) as six:
        with files_of(six, tmp_path / "home") as files:
            files.put(b"warm up" * 2000, "first")
            six.depots[5].tell(signal.SIGSTOP)
            files.put(data, "big")
            six.depots[5].tell(signal.SIGCONT)
            end = files.session.stores.on(six.depots[5].node)
            assert end is not None
            while end.doubted:
                end.probe()
        with files_of(six, tmp_path / "home") as files:
            assert {each.name: each.debt for each in files.status()} == {"big": 0, "first": 0}
        for depot in six.depots[:3]:
            depot.end()
        with files_of(six, tmp_path / "home") as files:
            assert files.read("big") == data, "the shares that were paid are as good as the others"


@pytest.mark.slow
def test_a_store_that_sleeps_on_is_left_to_the_carers(tmp_path: Path) -> None:
    with site(6, own_process=True) as six:
        six.depots[5].tell(signal.SIGSTOP)
        with files_of(six, tmp_path / "home") as files:
            files.put(os.urandom(MIB), "big")
            assert files.storage().debt > 0
        with files_of(six, tmp_path / "home") as files:
            standing = files.status("big")[0]
            assert standing.debt > 0
            assert standing.survives == 2
        six.depots[5].tell(signal.SIGCONT)
