"""Depots of one account in this process, and the files of one of its devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of, site
from tests.files.strangers import files_of_another

from worldos.files.files import Files


@pytest.fixture
def five() -> Iterator[Site]:
    with site(5) as made:
        yield made


@pytest.fixture
def files(five: Site, tmp_path: Path) -> Iterator[Files]:
    with files_of(five, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def stores() -> Iterator[Site]:
    with site(4) as made:
        yield made


@pytest.fixture
def mine(stores: Site, tmp_path: Path) -> Iterator[Files]:
    with files_of(stores, tmp_path / "mine") as opened:
        yield opened


@pytest.fixture
def theirs(stores: Site, tmp_path: Path) -> Iterator[Files]:
    """The files of another account that reaches the same stores."""
    with files_of_another(stores, tmp_path / "theirs") as opened:
        yield opened
