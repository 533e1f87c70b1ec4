"""Depots of one account in this process, and the files of one of its devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of, site

from worldos.files.files import Files


@pytest.fixture
def five() -> Iterator[Site]:
    with site(5) as made:
        yield made


@pytest.fixture
def files(five: Site, tmp_path: Path) -> Iterator[Files]:
    with files_of(five, tmp_path / "home") as opened:
        yield opened
