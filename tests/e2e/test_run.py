"""``wos run`` on another machine: input, output, exit code, files and Ctrl-C as if it ran here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.lab import Run
from tests.e2e.realm import WOS, Realm, no_leases, realm_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

SLEEPER = "import time, os; print('pid', os.getpid(), flush=True); time.sleep(300)"


@pytest.fixture(scope="module")
def built() -> Iterator[Realm]:
    with realm_of(["a", "b"]) as realm:
        yield realm


@pytest.fixture
def realm(built: Realm) -> Iterator[Realm]:
    yield built
    for machine in built.machines:
        if not machine.running:
            machine.wos("up")
    built.linked()
    no_leases(built.machines, 15)


def on_b(realm: Realm, *words: str, cwd: Path | None = None, stdin: int | None = None) -> Run:
    """Start ``wos run`` on a, for b."""
    a, b = realm.machines
    argv = [*WOS, "run", "--where", f"node == '{b.node}'", *words]
    return realm.lab.run("a", argv, home=a.home.path, env={"TMPDIR": str(a.scratch)}, cwd=cwd, stdin=stdin)


def test_input_output_and_exit_code_are_those_of_the_command(realm: Realm) -> None:
    script = "tr a-z A-Z; echo $WORLDOS_NODE; echo oh >&2; exit 7"
    source, sink = os.pipe()
    run = on_b(realm, "--", "sh", "-c", script, stdin=source)
    os.close(source)
    with os.fdopen(sink, "wb") as words:
        words.write(b"said here, heard there\n")
    assert run.wait(20) == 7, run.said()
    assert run.text().split("\n")[:2] == ["SAID HERE, HEARD THERE", realm.machines[1].node]
    assert run.err.read_text() == "oh\n"


def test_files_go_along_and_come_back(realm: Realm) -> None:
    here = realm.lab.folder / "work"
    here.mkdir()
    (here / "numbers.txt").write_text("3\n1\n2\n")
    run = on_b(realm, "--with", "numbers.txt", "--", "sh", "-c", "sort numbers.txt > sorted.txt", cwd=here)
    assert run.wait(20) == 0, run.said()
    assert (here / "sorted.txt").read_text() == "1\n2\n3\n"
    assert (here / "numbers.txt").read_text() == "3\n1\n2\n"


def test_ctrl_c_ends_the_command_there(realm: Realm) -> None:
    run = on_b(realm, "--", "python3", "-c", SLEEPER)
    far = psutil.Process(int(run.expect(r"^pid (\d+)", 20)[1]))
    run.signal(signal.SIGINT)
    assert run.wait(10) == 130, run.said()
    psutil.wait_procs([far], 5)
    assert not far.is_running()


def test_a_killed_wos_run_leaves_nothing_there(realm: Realm) -> None:
    run = on_b(realm, "--", "python3", "-c", SLEEPER)
    far = psutil.Process(int(run.expect(r"^pid (\d+)", 20)[1]))
    run.signal(signal.SIGKILL)
    psutil.wait_procs([far], 5)
    assert not far.is_running()


def test_the_loss_of_the_node_is_said(realm: Realm) -> None:
    run = on_b(realm, "--", "python3", "-c", SLEEPER)
    run.expect(r"^pid (\d+)", 20)
    realm.machines[1].kill()
    assert run.wait(20) == 4, run.said()
    assert "lost" in run.err.read_text()


def test_a_command_that_is_not_there_and_a_need_that_cannot_be_met(realm: Realm) -> None:
    run = on_b(realm, "--", "no-such-command-at-all")
    assert run.wait(20) == 127, run.said()
    assert "no-such-command-at-all" in run.err.read_text()
    code, said = realm.machines[0].refused("run", "--cpu", "1000", "--", "true")
    assert code == 3
    assert "1000 cores" in said
