"""Landlock around a process of its own: what was named is there, the rest is not, and there is no way back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worldos.lanes import landlock

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

PROGRAM = """
import os, sys
from worldos.lanes import landlock
read, write, closed = sys.argv[1:]
print(landlock.restrict(["/usr", sys.prefix, sys.base_prefix, read], [write, "/nowhere"], ["/dev/null"]))
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried(lambda: open(read + "/a").read()))
print(tried(lambda: open(read + "/a", "w")))
print(tried(lambda: open(read + "/new", "w")))
print(tried(lambda: open(write + "/new", "w").write("x")))
print(tried(lambda: os.rename(write + "/new", write + "/newer")))
print(tried(lambda: os.rename(read + "/a", write + "/a")))
print(tried(lambda: open(closed + "/a")))
print(tried(lambda: os.truncate(closed + "/a", 0)))
print(tried(lambda: open("/dev/null", "w").write("x")))
print(tried(lambda: open("/dev/zero", "rb").read(1)))
print(tried(lambda: landlock.restrict([], ["/"], [])))
print(tried(lambda: open(closed + "/a")))
print(os.system("cat " + closed + "/a 2>/dev/null") != 0)
"""


def test_what_is_not_named_cannot_be_had(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("read", "write", "closed")]
    for place in places:
        place.mkdir()
        (place / "a").write_text("kept")
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, places)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    refused, done = "PermissionError", "done"
    assert said[0] == str(landlock.version())
    assert said[1:4] == [done, refused, refused], "what may be read is read and not changed"
    assert said[4:6] == [done, done], "what may be changed is changed"
    assert said[6] == refused, "a move from where nothing may be changed"
    assert said[7:9] == [refused, refused], "the rest is not there"
    assert said[9:11] == [done, refused], "devices by name"
    assert said[11:13] == [done, refused], "a second, wider wall takes nothing from the first"
    assert said[13] == "True", "what it starts is behind the same wall"
    assert (tmp_path / "closed" / "a").read_text() == "kept"
