"""Ways out of a sandbox, from public lists of escapes, each tried by code that runs as the work of a stranger.

Each attempt is also made outside, by a lease without a sandbox, where that is safe: it works there, so it is the sandbox that
stops it here, not a mistake in the attempt. After all of them the same sandbox and the same host go on working.
What stops which: docs/concepts/isolation.md. Calls, settings and devices of the kernel: test_escapes_by_kernel.py. What is tried
against the machine's room and time: test_exhaustion.py.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
from tests.attacks.escaping import APART, IS_ROOT, NEEDS_A_SANDBOX, Lanes, read, tried
from tests.lanes.harness import eventually

from worldos.lanes import sandbox

pytestmark = NEEDS_A_SANDBOX
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # what runs inside cannot see this file


# -- files ----------------------------------------------------------------------------------------------------------------


def test_no_file_of_the_machine_can_be_read(lanes: Lanes, tmp_path: Path) -> None:
    secret = tmp_path / "device.key"
    secret.write_text("the key of this device")
    near_home = Path.home() / f".wos-test-{os.getpid()}"
    near_home.write_text("a diary")
    try:
        for path in (str(secret), str(near_home)):
            assert tried(lanes.outside, read, path)
            assert not tried(lanes.inside, read, path)
    finally:
        near_home.unlink()
    for path in ("/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/var/log/syslog", "/run/secrets", "/proc/1/environ"):
        assert not tried(lanes.inside, read, path), path


def test_nothing_is_there_that_was_not_put_there(lanes: Lanes) -> None:
    def seen() -> list[str]:
        return sorted(os.listdir("/"))

    assert not {"home", "var", "sys", "boot", "mnt", "run", "opt", "srv", "media"} & set(tried(lanes.inside, seen))
    home = tried(
        lanes.inside, lambda: sorted(os.listdir(os.path.expanduser("~root"))) if os.path.isdir("/root") else []
    )
    assert home in (None, [], [".pyenv"]), "where an interpreter lies below a home, it alone is there"


def test_nothing_can_be_written_but_the_own_folder(lanes: Lanes) -> None:
    def write(path: str) -> str:
        with open(path, "ab") as file:
            file.write(b"x")
        return path

    for path in ("/new", "/usr/new", "/etc/passwd", "/etc/ld.so.preload", "/bin/sh", sys.executable, os.__file__):
        assert not tried(lanes.inside, write, path), path
    assert not tried(lanes.inside, write, f"{Path(sandbox.__file__)}"), "nor what runs it"
    assert tried(lanes.inside, write, "/tmp/new")
    assert tried(lanes.inside, write, "own")


def test_links_lead_nowhere_else(lanes: Lanes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")

    def follow(target: str) -> str:
        name = f"link-{os.urandom(4).hex()}"
        os.symlink(target, name)
        return read(name)

    assert tried(lanes.outside, follow, str(secret)) == "secret"
    for target in (
        str(secret),
        f"../../../../../../../../..{secret}",
        f"/proc/self/root{secret}",
        f"/proc/1/root{secret}",
    ):
        assert not tried(lanes.inside, follow, target), target


def test_the_program_that_runs_it_cannot_be_overwritten_by_its_own_link(lanes: Lanes) -> None:
    """CVE-2019-5736: /proc/self/exe, opened again for writing when the program has ended."""

    def overwrite() -> bool:
        for pid in ("self", "1"):
            held = os.open(f"/proc/{pid}/exe", os.O_PATH)
            try:
                os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
            finally:
                os.close(held)
        return True

    assert not tried(lanes.inside, overwrite)


def test_no_descriptor_of_the_agent_came_along(lanes: Lanes) -> None:
    def kinds() -> list[str]:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue
        return found

    for target in tried(lanes.inside, kinds):
        is_own = target.startswith(("socket:", "pipe:", "anon_inode:", "/memfd:", "/proc/")) or target == "/dev/null"
        assert is_own, f"{target} is open inside"
    assert not tried(lanes.inside, lambda: [name for name in os.environ if "WORLDOS_HOME" in name or "SSH" in name])


# -- other processes ---------------------------------------------------------------------------------------------------------


def test_no_other_process_is_seen_signalled_or_read(lanes: Lanes) -> None:
    me = os.getpid()

    def signalled(pid: int) -> bool:
        os.kill(pid, 0)
        return True

    assert tried(lanes.outside, signalled, me)
    assert not tried(lanes.inside, signalled, me)
    assert len(tried(lanes.inside, lambda: [each for each in os.listdir("/proc") if each.isdecimal()])) <= 3
    for name in ("mem", "environ", "maps", "fd", "root", "cwd", "stack", "syscall"):
        assert not tried(
            lanes.inside, lambda name=name: os.open(f"/proc/1/{name}", os.O_RDONLY) and os.listdir(f"/proc/1/{name}")
        )
    assert not tried(lanes.inside, lambda: os.open("/proc/1/mem", os.O_RDWR))


def test_the_first_process_of_the_sandbox_cannot_be_ended_stopped_or_starved(lanes: Lanes) -> None:
    def attack() -> bool:
        import resource  # noqa: PLC0415
        import signal  # noqa: PLC0415

        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGHUP):
            os.kill(1, number)
        try:
            resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
        except PermissionError:
            return os.path.exists("/proc/1")
        return False

    assert tried(lanes.inside, attack)
    assert lanes.inside.submit(os.getpid).result(30) > 1


def test_a_worker_that_stops_all_it_can_reach_still_ends_with_its_lease(lanes: Lanes) -> None:
    def stop() -> None:
        if not os.fork():
            os.read(os.pipe()[0], 1)
        os.kill(-1, 19)
        os.kill(os.getpid(), 19)

    host = lanes.host
    with host.lane(1, **APART) as lane:
        lease = f"lease-{host._leases}"
        pid = host.call(host.host.room_pid, lease)
        lane.submit_call(stop, (), {}, retries=0)
        assert eventually(lambda: any(p.status() == "stopped" for p in psutil.Process(pid).children()), 5)
        host.do(host.host.close_lease(lease))
        assert eventually(lambda: not psutil.pid_exists(pid))


# -- network ----------------------------------------------------------------------------------------------------------------


def connect(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(tuple(address) if isinstance(address, list) else address)
    return True


def test_no_socket_of_the_machine_is_reached(lanes: Lanes, tmp_path: Path) -> None:
    path = str(tmp_path / "bus")
    with (
        socket.create_server(("0.0.0.0", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as near,
        socket.socket(socket.AF_UNIX) as hidden,
    ):
        near.bind(path)
        near.listen()
        hidden.bind(f"\0wos-test-{os.getpid()}")
        hidden.listen()
        port = tcp.getsockname()[1]
        addresses = {
            each.address for many in psutil.net_if_addrs().values() for each in many if each.family == socket.AF_INET
        }
        targets = [(socket.AF_INET, [address, port]) for address in sorted(addresses)]
        targets += [(socket.AF_UNIX, path), (socket.AF_UNIX, f"\0wos-test-{os.getpid()}")]
        for family, target in targets:
            assert tried(lanes.outside, connect, family, target), target
            assert not tried(lanes.inside, connect, family, target), target
    for path in (
        "/run/dbus/system_bus_socket",
        "/tmp/.X11-unix/X0",
        "/run/docker.sock",
        "/run/user/0/bus",
        "\0/tmp/.X11-unix/X0",
    ):
        assert not tried(lanes.inside, connect, socket.AF_UNIX, path), path


def test_the_internet_is_not_there(lanes: Lanes) -> None:
    assert not tried(lanes.inside, connect, socket.AF_INET, ["1.1.1.1", 443])
    assert not tried(lanes.inside, lambda: socket.getaddrinfo("example.org", 443))
    assert tried(lanes.inside, lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]


def test_sockets_that_no_namespace_holds_cannot_be_made(lanes: Lanes) -> None:
    def make(family: int, kind: int, protocol: int) -> bool:
        socket.socket(family, kind, protocol).close()
        return True

    if IS_ROOT:
        assert tried(lanes.outside, make, socket.AF_PACKET, socket.SOCK_RAW, 0)
    for family in (socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG, 29, 31, 44, 21, 30):
        assert not tried(lanes.inside, make, family, socket.SOCK_DGRAM, 0), family
    assert not tried(lanes.inside, make, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    for protocol in (9, 15, 16):  # audit, kernel events, generic
        assert not tried(lanes.inside, make, socket.AF_NETLINK, socket.SOCK_RAW, protocol), protocol


def test_protocols_that_would_bring_modules_into_the_kernel_are_not_there(lanes: Lanes) -> None:
    def answers() -> list[int]:
        found = []
        for kind, protocol in ((1, 132), (5, 0), (6, 33), (2, 115), (3, 1), (2, 1)):  # SCTP, DCCP, L2TP, raw, ping
            try:
                socket.socket(socket.AF_INET, kind, protocol).close()
            except OSError as error:
                found.append(error.errno or 0)
        return found

    assert tried(lanes.inside, answers) == [93] * 6, "EPROTONOSUPPORT"

    def out_of_band() -> int:
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        try:
            return ours.send(b"x", socket.MSG_OOB)
        except OSError as error:
            return -(error.errno or 0)

    assert lanes.inside.submit(out_of_band).result(30) == -95, "CVE-2025-38236"


def test_when_the_owner_types_cannot_be_seen(lanes: Lanes) -> None:
    for path in ("/proc/interrupts", "/proc/softirqs", "/proc/cmdline", "/proc/key-users"):
        assert not tried(lanes.inside, read, path), path
        assert tried(lanes.outside, read, path) is not None

    def counted() -> bool:
        with open("/proc/stat", encoding="ascii") as file:
            return any(line.startswith(("intr", "ctxt", "softirq")) for line in file)

    assert lanes.outside.submit(counted).result(30)
    assert not lanes.inside.submit(counted).result(30)
    assert tried(lanes.inside, os.cpu_count) == os.cpu_count()


def test_what_the_agent_may_is_not_handed_on(lanes: Lanes) -> None:
    def bounds() -> list[int]:
        import resource  # noqa: PLC0415

        kinds = (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE)
        return [resource.getrlimit(kind)[1] for kind in kinds]

    nice, real_time, locked, opened = tried(lanes.inside, bounds)
    assert (nice, real_time) == (0, 0)
    assert 0 <= locked <= 8 << 20
    assert 0 < opened <= 4096


# -- rights ----------------------------------------------------------------------------------------------------------------


def test_nobody_becomes_anybody_else(lanes: Lanes) -> None:
    def become() -> list[str]:
        got = []
        for name, act in (
            ("setuid", lambda: os.setuid(0)),
            ("setgid", lambda: os.setgid(0)),
            ("setgroups", lambda: os.setgroups([0])),
            ("setreuid", lambda: os.setreuid(-1, 0)),
            ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
        ):
            try:
                act()
                got.append(name)
            except OSError:
                continue
        return got

    assert tried(lanes.inside, become) == []

    def capabilities() -> list[str]:
        return [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")]

    def is_bound() -> dict[str, str]:
        words = (line.split() for line in open("/proc/self/status") if line.startswith(("NoNewPrivs", "Seccomp:")))  # noqa: SIM115
        return dict(words)

    assert {int(each, 16) for each in tried(lanes.inside, capabilities)[1:3]} == {0}
    assert tried(lanes.inside, is_bound) == {"NoNewPrivs:": "1", "Seccomp:": "2"}
    assert tried(lanes.inside, lambda: __import__("resource").getrlimit(4)) == (1, 1), "no crash is caught outside"


def test_programs_with_rights_of_root_have_none_here(lanes: Lanes) -> None:
    def run() -> tuple[int, int]:
        import subprocess  # noqa: PLC0415

        mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True, check=False)
        nested = subprocess.run(["/usr/bin/bwrap", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
        return mounted.returncode, nested.returncode

    assert 0 not in tried(lanes.inside, run)


def test_words_cannot_be_put_into_a_terminals_mouth(lanes: Lanes) -> None:
    def put(request: int) -> bool:
        import fcntl  # noqa: PLC0415

        ends = []
        for number in (0, 1, 2):
            try:
                fcntl.ioctl(number, request, b"x")
                ends.append(number)
            except OSError as error:
                if error.errno != 1:  # EPERM
                    ends.append(-number)
        return bool(ends)

    assert not tried(lanes.inside, put, 0x5412)
    assert not tried(lanes.inside, put, 0x541C)
    assert not tried(lanes.inside, os.openpty)


def test_memory_and_messages_of_system_v_and_posix_are_its_own(lanes: Lanes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x5EC0000 + os.getpid() % 0xFFFF
    segment = libc.shmget(key, 4096, 0o1666)
    shared = Path(f"/dev/shm/wos-test-{os.getpid()}")
    shared.write_text("x")

    def find(key: int) -> bool:
        import ctypes  # noqa: PLC0415

        return ctypes.CDLL(None).shmget(key, 0, 0) >= 0

    try:
        assert segment >= 0
        assert tried(lanes.outside, find, key)
        assert not tried(lanes.inside, find, key)
        assert not tried(lanes.inside, read, str(shared))
    finally:
        libc.shmctl(segment, 0, None)
        shared.unlink()


def test_two_leases_do_not_see_each_other(lanes: Lanes) -> None:
    with lanes.host.lane(1, **APART) as other:
        name = f"left-{os.getpid()}"

        def leave() -> None:
            for folder in ("/tmp", "/dev/shm", "/room", "."):
                with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                    file.write("x")

        def found() -> list[str]:
            return [parent for parent, _, files in os.walk("/room") if name in files] + [
                folder for folder in ("/tmp", "/dev/shm") if name in os.listdir(folder)
            ]

        other.submit(leave).result(30)
        assert tried(other, found)
        assert tried(lanes.inside, found) == []
        uids = [lane.submit(os.getuid).result(30) for lane in (other, lanes.inside)]
        assert uids[0] != uids[1] or not IS_ROOT, "nor are they the same user"
