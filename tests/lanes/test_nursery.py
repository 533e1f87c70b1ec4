"""The nursery: forks, reports, buries, and takes all with it when its host goes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import alive, eventually

from worldos.lanes import nursery, worker
from worldos.lanes.link import Door, Place


class Host:
    """The host's end, without a host."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wos-n-"))
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        code = f"import sys; sys.path[:] = {sys.path!r}; from worldos.lanes.nursery import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.PIPE
        )
        theirs.close()
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.folder}\n\n".encode())
        self.process.stdin.close()
        self.jobs = 0

    def fork(self, **words: object) -> tuple[int, str]:
        """Order a worker; return its pid and its door."""
        self.jobs += 1
        path = str(self.folder / f"{self.jobs}.door")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(4)
            order = nursery.Fork(
                job=self.jobs,
                folder=str(self.folder / f"w{self.jobs}"),
                terms=worker.Terms(),
                **words,  # type: ignore[arg-type]
            )
            socket.send_fds(self.sock, [nursery.encode(order)], [listener.fileno()])
        report = self.report()
        assert isinstance(report, nursery.Forked)
        assert report.job == self.jobs
        return report.pid, path

    def report(self) -> nursery.Report:
        return nursery.reports.decode(self.sock.recv(nursery.PACKET_BYTES_MAX))


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.sock.close()
    assert made.process.wait(30) == 0
    assert not made.folder.exists(), "it removes the run folder"


def greet(path: str) -> bytes:
    link = Place(Door(path=path)).knock()
    assert link is not None
    link.flush()
    link.sock.settimeout(30)
    answer = link.sock.recv(4096)
    link.close()
    return answer


def test_a_worker_answers_at_its_door_and_its_end_is_reported(host: Host) -> None:
    pid, path = host.fork()
    assert greet(path)
    assert host.report() == nursery.Ended(pid=pid, status=0)


def test_a_killed_worker_is_reported_with_its_signal(host: Host) -> None:
    pid, _path = host.fork()
    os.kill(pid, signal.SIGSEGV)
    assert host.report() == nursery.Ended(pid=pid, status=-signal.SIGSEGV)


def test_a_worker_is_set_up_as_ordered(host: Host) -> None:
    pid, path = host.fork(env={"COLOUR": "green"}, limits={}, cpus=[min(os.sched_getaffinity(0))])
    home = eventually(lambda: str(link) if (link := Path(f"/proc/{pid}/cwd").resolve()).name == "work" else None)
    assert home == str(host.folder / "w1" / "work")
    assert eventually(lambda: os.sched_getaffinity(pid) == {min(os.sched_getaffinity(0))})
    assert os.getsid(pid) == pid
    assert greet(path)
    host.report()


def test_a_cage_that_cannot_be_entered_ends_the_worker_before_it_runs_anything(host: Host) -> None:
    pid, _path = host.fork(cage=["/nowhere/cgroup.procs"])
    assert host.report() == nursery.Ended(pid=pid, status=72)


def test_all_workers_end_with_the_host(host: Host) -> None:
    pids = [host.fork()[0] for _ in range(3)]
    host.sock.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: not any(alive(pid) for pid in pids))


def test_all_workers_end_with_the_nursery() -> None:
    host = Host()
    pids = [host.fork()[0] for _ in range(3)]
    host.process.kill()
    host.process.wait()
    assert eventually(lambda: not any(alive(pid) for pid in pids))
    host.sock.close()
    subprocess.run(["rm", "-rf", str(host.folder)], check=True)
