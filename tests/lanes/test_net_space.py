"""Namespaces of a network: what a system lacks is said, and what is made is there for who joins it and for nobody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from worldos.lanes import net_space

MAKER = """
import os, sys
from worldos.lanes import net_space
net_space.make("n7")
first = net_space.own_pids()
tun = net_space.open_tun()
net_space.set_address("10.3.4.5")
print(first, net_space.started_at(first), flush=True)
sys.stdin.read()
"""
JOINER = """
import os, sys
from worldos.lanes import net_space
first = int(sys.argv[1])
users = os.stat(f"/proc/{first}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
net_space.join(os.pidfd_open(first), users=users)
os.system("hostname; cat /proc/net/fib_trie | grep -c 10.3.4.5; ls /proc | grep -c '^[0-9]'; pwd")
"""


def namespaces() -> None:
    if why := net_space.why_not():
        pytest.skip(f"private networks: {why}")
    tried = subprocess.run(
        ["unshare", *(["-n"] if os.geteuid() == 0 else ["-Urn"]), "true"], check=False, capture_output=True
    )
    if tried.returncode:
        pytest.skip("private networks: no namespaces here")


def test_a_system_without_the_device_or_the_right_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "tun"
    monkeypatch.setattr(net_space, "TUN", str(device))
    assert "tun" in net_space.why_not()
    device.touch()
    assert net_space.why_not() == "" or os.geteuid() != 0
    (tmp_path / "none").write_text("0\n")
    monkeypatch.setattr(net_space, "NETNS_FILE", str(tmp_path / "none"))
    assert "no network namespaces" in net_space.why_not()


def test_ordinary_users_may_be_forbidden_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_space, "TUN", os.devnull)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for file, off in (("clone", "0"), ("apparmor", "1")):
        (tmp_path / file).write_text(off + "\n")
        monkeypatch.setattr(net_space, "RESTRICTED_FILES", {str(tmp_path / file): off})
        assert "ordinary users" in net_space.why_not()
    monkeypatch.setattr(net_space, "RESTRICTED_FILES", {str(tmp_path / "absent"): "0"})
    monkeypatch.setattr(net_space, "USERNS_FILE", str(tmp_path / "absent"))
    assert net_space.why_not() == ""


def test_a_process_is_named_by_its_number_and_its_beginning() -> None:
    assert net_space.started_at(os.getpid()) == net_space.started_at(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as other:
        assert net_space.started_at(other.pid) != net_space.started_at(os.getpid())
        other.kill()
    with pytest.raises(OSError, match="No such"):
        net_space.started_at(other.pid)


def test_an_ordinary_user_can_where_the_system_lets_it() -> None:
    namespaces()
    if os.geteuid() != 0:
        pytest.skip("whoever runs this is an ordinary user: the other tests are of that")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copy(net_space.__file__, folder)
        code = "import net_space; print(net_space.why_not() or 'can')\n" + MAKER.replace("from worldos.lanes ", "")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-B", "-c"]
        with subprocess.Popen([*nobody, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder) as maker:
            assert maker.stdin is not None
            assert maker.stdout is not None
            if (said := maker.stdout.readline().decode().strip()) != "can":
                pytest.skip(f"private networks of ordinary users: {said}")
            first, _began = maker.stdout.readline().split()
            ask = JOINER.replace("from worldos.lanes ", "") + "\nos.system('id -u; grep CapEff /proc/self/status')"
            joined = subprocess.run([*nobody, ask, first], capture_output=True, text=True, check=True, cwd=folder)
            name, _address, _processes, _folder, user, _, rights = joined.stdout.split()
            assert (name, user, int(rights, 16)) == ("n7", "65534", 0)
            maker.stdin.close()


def test_who_joins_sees_that_network_those_processes_and_its_own_folder(tmp_path: Path) -> None:
    namespaces()
    with subprocess.Popen([sys.executable, "-c", MAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        assert maker.stdin is not None
        assert maker.stdout is not None
        first, _began = maker.stdout.readline().split()
        joined = subprocess.run(
            [sys.executable, "-c", JOINER, first], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        name, address, processes, folder = joined.stdout.split()
        assert (name, folder) == ("n7", str(tmp_path))
        assert int(address) > 0
        assert int(processes) < 10
        assert "10.3.4.5" not in Path("/proc/net/fib_trie").read_text()
        maker.stdin.close()
        maker.wait(15)
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{int(first)}"):  # the first process inside ends with its maker
        assert time.monotonic() < end
        time.sleep(0.01)
