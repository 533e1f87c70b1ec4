"""``wos run --members``: one command on several leases that reach each other, and all of them end together."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import fails, wos

from worldos.cli.members import _code, relay
from worldos.errors import NodeGone, WorkerLost
from worldos.lanes import net_space

MEET = """
import os, socket, time
where, rank = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), os.environ["RANK"]
if rank == "0":
    with socket.create_server(where) as server: print("met", server.accept()[0].recv(9).decode(), open("along").read())
end = time.monotonic() + 20
while rank != "0":
    try:
        with socket.create_connection(where) as sock: sock.sendall(os.environ["WOS_MEMBERS"].encode()); break
    except OSError:
        assert time.monotonic() < end
        time.sleep(0.05)
"""


@pytest.fixture
def _networks() -> None:
    if why := net_space.why_not():
        pytest.skip(f"private networks: {why}")


@pytest.mark.usefixtures("_networks")
def test_members_meet_by_the_names_in_their_environment(agent: RunningAgent, folder: Path) -> None:
    (folder / "along").write_text("here")
    (folder / "meet.py").write_text(MEET)
    words = ("--members", "2", "--cpu", "0.5", "--with", "along", "--with", "meet.py")
    run = wos(agent.home, "run", *words, "--", sys.executable, "meet.py", cwd=folder)
    assert (run.returncode, run.stdout) == (0, "n0: met n0,n1 here\n"), run.stderr
    until(lambda: "CPU" not in str(agent.ask("leases")), "every core is back")


@pytest.mark.usefixtures("_networks")
def test_when_one_fails_all_end(agent: RunningAgent, folder: Path) -> None:
    script = "echo $WOS_MEMBER >&2; test $WOS_MEMBER = 0 && sleep 100; exit 3"
    run = wos(agent.home, "run", "--members", "2", "--cpu", "0.5", "--", "sh", "-c", script, cwd=folder)
    assert run.returncode == 3
    assert "n1: 1\n" in run.stderr
    until(lambda: "CPU" not in str(agent.ask("leases")), "every core is back")


@pytest.mark.parametrize("members", ["0", "-1", "251"])
def test_a_number_of_members_that_cannot_be_is_refused(agent: RunningAgent, members: str) -> None:
    fails(wos(agent.home, "run", "--members", members, "--", "true"), 2, "2 to 250")


def test_a_member_that_is_lost_is_named() -> None:
    run: Future[int] = Future()
    run.set_exception(WorkerLost("its worker was killed"))
    with pytest.raises(NodeGone, match=r"n2 was lost.*its worker was killed"):
        _code(run, "n2")


def test_whole_lines_are_shown_with_the_name_of_the_member(capsys: pytest.CaptureFixture[str]) -> None:
    script = "printf 'one\\ntwo\\n'; printf 'no end'; echo aside >&2"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        relay(process, "n4: ")
    assert capsys.readouterr() == ("n4: one\nn4: two\nn4: no end\n", "n4: aside\n")
