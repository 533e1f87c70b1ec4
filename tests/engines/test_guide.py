"""The guide docs/guides/write-an-engine.md, done: its files are taken out of the text, installed, and its program is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "write-an-engine.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The guide's package as pip leaves it: its module, and its metadata with the entry point."""
    files = dict(BLOCK.findall(GUIDE.read_text()))
    assert set(files) == {"pyproject.toml", "worldos_redis.py", "counts.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = tmp_path / "worldos_redis-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["worldos.engines"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[worldos.engines]", *lines]) + "\n")
    return tmp_path


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *words], cwd=site, env=environ, capture_output=True, text=True, check=False, timeout=150
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_the_guides_engine_runs_and_its_program_counts(installed: Path) -> None:
    done = run(installed, "counts.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["+OK", ":1", ":2"]


def test_the_guides_engine_is_found_by_its_name(installed: Path) -> None:
    program = "from worldos.sdk.engines import engine_named; print(engine_named('redis').software({}).programs)"
    done = run(installed, "-c", program)
    assert done.stdout == "('redis-server',)\n", done.stderr
