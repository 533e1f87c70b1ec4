"""Every test here talks to a real agent: the embedded one, which ends with the module that started it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worldos.sdk import connection


@pytest.fixture(scope="module", autouse=True)
def _no_agent_is_left() -> Iterator[None]:
    yield
    connection.close()
