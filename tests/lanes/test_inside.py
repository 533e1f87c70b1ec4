"""What the first process of a sandbox has left of itself when its doors are shut."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worldos.lanes import seccomp

pytestmark = pytest.mark.skipif(not seccomp.is_known(), reason="no filter for this processor")

PROGRAM = """
import ctypes, os, resource, sys
from worldos.lanes import inside
inside.shut(inside.Walls(uid=int(sys.argv[1]), reads=["/usr", "/proc"], writes=["/tmp"], devices=[], processes=64))
print(os.getuid(), os.getgid(), os.getgroups())
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs", "Seccomp:")):
        print(line.split()[1].lstrip("0") or "0")
libc = ctypes.CDLL(None, use_errno=True)
print(libc.prctl(3, 0, 0, 0, 0))
for call in (lambda: libc.unshare(0x10000000), lambda: libc.ptrace(0, 0, 0, 0), lambda: libc.setns(0, 0)):
    print(call(), ctypes.get_errno())
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC)[0])
"""


def shut(uid: int) -> list[str]:
    """Run the program and return what it says."""
    words = [sys.executable, "-c", PROGRAM, str(uid)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_as_root_it_becomes_a_user_that_nobody_is_and_keeps_no_capability() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another")
    said = shut(0x7000_0001)
    assert said[0].startswith(f"{0x7000_0001} {0x7000_0001} ")
    assert said[1:6] == ["0"] * 5, "inheritable, permitted, effective, bounding and ambient"
    assert said[6:8] == ["1", "2"], "no new privileges, and a filter"
    assert said[8] == "0", "not dumpable: its memory cannot be read"
    assert said[9:12] == ["-1 1"] * 3
    assert said[12] == "(1, 1) 64", "a bound of 1 also keeps the machine's own catcher of crashes out; 0 would not"


def test_without_root_it_gives_up_what_it_can() -> None:
    said = shut(0)
    assert said[2:4] == ["0", "0"], "permitted and effective"
    assert said[6:8] == ["1", "2"]
    assert said[9:12] == ["-1 1"] * 3
