"""The demo's stage: it says what failed, and takes everything away however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.agent.agents import until

from worldos.agent import home as homes
from worldos.cli.stage import Actor, Stage, StageFailed
from worldos.home import Home


def test_a_stage_that_is_left_at_once_leaves_nothing() -> None:
    with Stage() as stage:
        folder = stage.folder
        assert [actor.name for actor in stage.actors] == ["desk", "attic", "laptop"]
        assert folder.is_dir()
    assert not folder.exists()
    assert not namespaces_of(stage)


def test_a_play_that_breaks_off_leaves_nothing_either() -> None:
    with pytest.raises(RuntimeError), Stage() as stage:
        raise RuntimeError("the play breaks off")
    assert not stage.folder.exists()
    assert not namespaces_of(stage)


def test_a_node_lives_sleeps_wakes_and_dies(folder: Path) -> None:
    actor = Actor("desk", Home(folder / "desk"), [], "127.0.0.1:0")
    try:
        actor.up()
        assert len(actor.node) == 52
        pid = homes.running_pid(actor.home)
        assert pid is not None
        actor.sleep()
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it sleeps")
        actor.wake()
        until(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED, "it is awake")
        actor.kill()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 5)
        assert homes.running_pid(actor.home) is None
    finally:
        actor.end()


def test_a_command_that_fails_is_named_with_what_it_said(folder: Path) -> None:
    actor = Actor("desk", Home(folder / "desk"), [], "nonsense")
    with pytest.raises(StageFailed, match=r"wos up on desk failed.*not an address"):
        actor.up()


def test_what_a_killed_node_left_running_is_ended_before_its_home_is_removed() -> None:
    with Stage(("desk",)) as stage:
        home = stage.actors[0].home.path
        words = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\n"
        words += "while True: os.makedirs(os.environ['WORLDOS_HOME'] + f'/{time.monotonic_ns()}')"
        environ = {**os.environ, "WORLDOS_HOME": str(home)}
        writer = subprocess.Popen([sys.executable, "-c", words], env=environ, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on\n"
        stage.end_s = 0.1
    writer.wait(5)
    writer.stdout.close()
    assert not stage.folder.exists()


def namespaces_of(stage: Stage) -> list[str]:
    place = Path("/run/netns")
    return [path.name for path in place.iterdir() if path.name.startswith(stage._tag)] if place.is_dir() else []
