"""The lanes of the tests that try to get out of a sandbox: made once a file, and found whole at its end."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from tests.attacks.escaping import APART, Lanes
from tests.lanes.harness import Here


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    host = Here()
    with host.lane(1, **APART) as inside, host.lane(1) as outside:
        yield Lanes(host, inside, outside)
        assert inside.submit(lambda: "goes on").result(30) == "goes on", "the sandbox itself survived all of this"
        assert outside.submit(lambda: "goes on").result(30) == "goes on"
    host.stop()
    assert not [each for each in psutil.Process().children(recursive=True) if "bwrap" in each.name()]
