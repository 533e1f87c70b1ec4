"""``wos demo``: the main job, with a node killed and another asleep, by the real command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image
from tests.e2e.lab import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
LIMIT_S = 150


class Done:
    """A run of the demo that has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.stdout, self.stderr = process.communicate(timeout=LIMIT_S)
        self.returncode = process.returncode
        self.tag = f"wos{process.pid % 100000}"  # its namespaces are called so


def trial(folder: Path, *words: str) -> Done:
    """Run the demo with a scratch folder of its own; nothing of it may be left."""
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "worldos.cli.main", "demo", *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(scratch), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        done = Done(process)
    finally:
        process.kill()
        process.wait()
    shown = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    assert [line for line in shown.splitlines() if line.startswith(done.tag)] == []
    return done


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, and nothing left behind: no process, no file."""
    path = Path("/tmp") / f"wd{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    until(lambda: not _of(path), 5, "every process of the demo ended")
    assert list((path / "tmp").iterdir()) == []
    shutil.rmtree(path)


def _of(folder: Path) -> list[psutil.Process]:
    """Every process that has this folder in its environment or its words."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and str(folder) in " ".join(
                [*process.cmdline(), *process.environ().values()]
            ):
                found.append(process)
    return found


def test_the_demo_loses_two_of_three_nodes_and_no_photo(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    for file in sorted(PHOTOS.glob("*.jpg"))[:8]:
        shutil.copy(file, photos)
    done = trial(folder, str(photos), "--repeat", "3", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    print({key: facts[key] for key in ("seconds", "seconds_on_one_node", "reruns", "by_node", "events")})
    assert facts["photos"] == 24
    assert facts["problems"] == []
    assert len(facts["events"]) == 2
    assert any("SIGKILL" in what for what in facts["events"].values())
    assert any("SIGSTOP" in what for what in facts["events"].values())
    assert sum(facts["by_node"].values()) == 24
    assert len(facts["by_node"]) == 3
    edited = sorted((folder / "wos-demo").glob("*.jpg"))
    assert len(edited) == 25
    for file in edited:
        with Image.open(file) as image:
            image.verify()


def test_the_demo_shows_a_table_to_a_person(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    for file in sorted(PHOTOS.glob("*.jpg"))[8:14]:
        shutil.copy(file, photos)
    done = trial(folder, str(photos), "--repeat", "2")
    assert done.returncode == 0, done.stderr
    for words in ("killed (SIGKILL)", "put to sleep (SIGSTOP)", "all right, each exactly once", "WHAT HAPPENED TO IT"):
        assert words in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_of_a_folder_without_photos_says_so(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = trial(folder, str(folder / "empty"))
    assert done.returncode == 2
    assert "holds no photos" in done.stderr
    done = trial(folder, str(folder / "absent"))
    assert done.returncode == 2
    assert "no folder" in done.stderr
