"""One host for the tests of a module: starting one is quick, but not free."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Here


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    """Give a running host."""
    host = Here()
    yield host
    host.stop()
