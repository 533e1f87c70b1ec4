"""Roles between two accounts, with real agents: a machine of another account works here by right of a role, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.agent.accounts import Two, two_accounts
from tests.agent.agents import RunningAgent, until

WORK = """
import sys, worldos
try:
    cpu = worldos.use("CPU", 1, realm="acme/office")
except worldos.errors.WorldError as error:
    print("refused:", error)
    sys.exit(3)
print(cpu.submit(pow, 2, 10).result(), flush=True)
sys.stdin.readline()
try:
    print(cpu.submit(pow, 2, 11).result(timeout=30))
except worldos.errors.WorldError as error:
    print("ended:", error)
"""


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """``office``, which lends to nobody; and ``den``, another account below the same realm."""
    with two_accounts() as two:
        yield two


def work(agent: RunningAgent) -> subprocess.Popen[str]:
    """A program of an agent that wants a core of the office."""
    environment = {**os.environ, "WORLDOS_HOME": str(agent.home.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", WORK], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def test_a_role_opens_what_is_lent_to_nobody_and_closes_it_again(two: Two) -> None:
    office, den = two
    refused = work(den)
    assert "refused" in refused.communicate(timeout=120)[0]
    given = office.ask("role_grant", who="den", role="guest", resource="office/CPU")
    assert [(each["who"], each["own"]) for each in given["given"]] == [("den", False)]
    working = work(den)
    assert working.stdout is not None
    assert working.stdin is not None
    assert working.stdout.readline() == "1024\n", working.communicate(timeout=60)
    (lease,) = office.ask("grants")["leased"]
    assert lease["kind"] == "CPU"
    office.ask("role_revoke", role=given["given"][0]["id"])
    until(lambda: not office.ask("leases")["granted"], "the lease ended with its grant")
    working.stdin.write("\n")
    working.stdin.flush()
    said = working.communicate(timeout=120)[0]
    assert "2048" not in said
    assert "refused" in work(den).communicate(timeout=120)[0]


def test_a_role_for_something_else_opens_nothing_more(two: Two) -> None:
    office, den = two
    office.ask("role_grant", who="den", role="auditor")
    office.ask("role_grant", who="den", role="guest", resource="office/Memory")
    assert "refused" in work(den).communicate(timeout=120)[0]
    office.ask("role_revoke", role="den")
    assert not any(row["holds"] for row in office.ask("role_list"))
