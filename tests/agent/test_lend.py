"""What a machine lends, between two accounts with real agents: the other account gets the share, at the price, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.agent.accounts import Two, two_accounts
from tests.agent.agents import RunningAgent, until

from worldos.config import read_settings
from worldos.errors import BadRequest, NotAllowed
from worldos.lanes import sandbox

pytestmark = pytest.mark.skipif(
    not sandbox.bubblewrap(), reason="bubblewrap is not installed: nothing is lent to others"
)

WORK = """
import sys, worldos
try:
    cpu = worldos.use("CPU", sys.argv[1], realm="acme/office", timeout=10, budget=float(sys.argv[2]) or None)
except worldos.errors.WorldError as error:
    print("refused:", error)
    sys.exit(3)
print(cpu.submit(pow, 2, 10).result(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """``office``, whose realm lends; and ``den``, another account below the same realm."""
    with two_accounts(lends=True) as two:
        yield two


def work(agent: RunningAgent, amount: str, budget: str = "0") -> subprocess.Popen[str]:
    """A program of an agent that wants cores of the office."""
    environment = {**os.environ, "WORLDOS_HOME": str(agent.home.path)}
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", WORK, amount, budget]
    return subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def rule(agent: RunningAgent, **fields: object) -> None:
    agent.ask("lend_forget", number=0)
    agent.ask("lend_rule", rule={"to": "realm", "memory_permille": 1000, **fields})


def test_another_account_gets_the_share_and_no_more_and_goes_when_lending_ends(two: Two) -> None:
    office, den = two
    cores = next(row["capacity"] for row in office.ask("resources", kind="CPU"))
    rule(office, cpu_permille=500)
    working = work(den, f"{cores // 2}m")
    assert working.stdout is not None
    assert working.stdout.readline() == "1024\n", working.communicate(timeout=60)
    (guest,) = office.ask("lend_show")["guests"]
    assert (guest["name"], guest["amount"], guest["ends_s"]) == ("den", cores // 2, -1)
    refused = work(den, "0.1").communicate(timeout=120)[0]
    assert "refused" in refused
    office.ask("lend_off", off=True)
    (guest,) = office.ask("lend_show")["guests"]
    assert 0 <= guest["ends_s"] <= 60
    assert "its owner said so" in guest["why"]
    working.communicate("\n", timeout=60)
    until(lambda: not office.ask("leases")["granted"], "it gave back what it had")


APART = """
import os, sys, worldos
def seen():
    import os
    return os.environ["WORLDOS_ISOLATION"], os.getuid(), sorted(os.listdir("/")), os.path.exists(sys.argv[1])
with worldos.use("CPU", 1, realm="acme/office", timeout=10) as cpu:
    print(*cpu.submit(seen).result(), sep="|")
with worldos.use("Memory", "1MB", realm="acme/office", timeout=10) as memory:
    memory["a"] = b"kept"
    memory["b"] = bytearray(200_000)
    memory["c"] = memoryview(bytes(100_000))
    print(memory["a"], len(memory["b"]) + len(memory["c"]))
    try:
        print(memory._part.lane.submit(seen).result())
    except worldos.errors.BadRequest:
        print("no code")
"""


def test_the_work_of_another_account_is_in_a_sandbox_whatever_it_says(two: Two) -> None:
    office, den = two
    office.ask("lend_off", off=False)
    rule(office, cpu_permille=1000)
    environment = {**os.environ, "WORLDOS_HOME": str(den.home.path)}
    words = [sys.executable, "-c", APART, str(office.home.path)]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=180)
    isolation, uid, root, is_home_seen = said.stdout.splitlines()[0].split("|")
    assert isolation == "sandbox", said.stderr
    assert int(uid) != os.getuid() or os.getuid()
    assert "var" not in root
    assert is_home_seen == "False"
    assert said.stdout.splitlines()[1:] == ["b'kept' 300000", "no code"], said.stderr
    until(lambda: not office.ask("leases")["granted"], "it gave back what it had")


def test_the_price_is_known_to_who_has_a_budget(two: Two) -> None:
    office, den = two
    rule(office, cpu_permille=500, price_uwos_hour=20_000)
    office.ask("lend_off", off=False)
    until(lambda: office.ask("lend_show")["rules"][0]["holds"], "it lends")
    assert "refused" in work(den, "1", "0.01").communicate(timeout=120)[0]
    paying = work(den, "1", "0.05")
    assert "1024" in paying.communicate("\n", timeout=120)[0]


def test_the_rules_outlive_the_agent_and_the_storage_that_it_lends(two: Two) -> None:
    office, _ = two
    rule(office, cpu_permille=250, when="22:00-07:00", idle_only=True)
    office.ask("lend", amount_bytes=0)
    (kept,) = read_settings(office.home).lend.rules
    assert (kept.cpu_permille, kept.when, kept.idle_only) == (250, "22:00-07:00", True)


def test_a_rule_said_again_takes_the_place_of_the_old_one_and_a_contradiction_is_refused(two: Two) -> None:
    office, _ = two
    rule(office, cpu_permille=250, when="22:00-07:00")
    office.ask("lend_rule", rule={"cpu_permille": 300, "when": "22:00-07:00"})
    assert [row["cpu_permille"] for row in office.ask("lend_show")["rules"]] == [300]
    with pytest.raises(BadRequest, match="rules 1 and 2 contradict each other"):
        office.ask("lend_rule", rule={"cpu_permille": 100, "when": "06:00-08:00"})
    with pytest.raises(BadRequest, match="nobody is called 'bob'"):
        office.ask("lend_rule", rule={"cpu_permille": 100, "to": "bob"})
    with pytest.raises(BadRequest, match="no rule 7"):
        office.ask("lend_forget", number=7)
    for number in range(15):
        office.ask("lend_rule", rule={"cpu_permille": 100, "when": f"{number}:00-{number}:30", "to": "anyone"})
    with pytest.raises(NotAllowed, match="16 rules are the most"):
        office.ask("lend_rule", rule={"cpu_permille": 100, "when": "20:00-20:30", "to": "anyone"})
