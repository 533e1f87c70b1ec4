"""The guide docs/guides/write-a-driver.md, done: its files are taken out of the text, installed, and its own test is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "write-a-driver.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The guide's package as pip leaves it: its module, and its metadata with the entry point."""
    site = tmp_path_factory.mktemp("site")
    files = dict(BLOCK.findall(GUIDE.read_text()))
    assert set(files) == {"pyproject.toml", "worldos_thermometer.py", "test_thermometer.py", "warm.py"}
    for name, text in files.items():
        (site / name).write_text(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = site / "worldos_thermometer-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["worldos.drivers"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    info.joinpath("entry_points.txt").write_text("\n".join(["[worldos.drivers]", *lines]) + "\n")
    (site / "pyproject.toml").unlink()
    return site


def run(site, *command):
    environ = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=site, env=environ, capture_output=True, text=True, check=False, timeout=50)


def test_the_guides_own_test_passes(installed):
    done = run(installed, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_thermometer.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


MOUNT = """
mount -t tmpfs none /sys/class/thermal
mkdir /sys/class/thermal/thermal_zone0
echo x86_pkg_temp > /sys/class/thermal/thermal_zone0/type
echo 41000 > /sys/class/thermal/thermal_zone0/temp
exec "$@"
"""


def test_the_guides_program_leases_a_sensor_and_reads_it(installed):
    """The whole way, in a mount namespace in which this machine has a sensor: scan, offer, lease, lane, event."""
    unshare = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")
    if run(installed, *unshare, "sh", "-ec", MOUNT, "sh", "true").returncode != 0:
        pytest.skip("this user can make no mount namespace")
    done = run(installed, *unshare, "sh", "-ec", MOUNT, "sh", sys.executable, "-W", "error", "warm.py")
    assert done.returncode == 0, done.stderr
    assert "41.0 degrees" in done.stdout
    assert "it is hot: {'millidegrees': 41000}" in done.stdout
