"""A node in a process of its own: killed (SIGKILL), and put to sleep (SIGSTOP), which is worse, since nothing is closed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fabric.fabrics import Ear, Node, run, running, until
from worldos.fabric.channel import Ending
from worldos.fabric.limits import LINK_SILENT_NS_MAX, SECOND


@contextmanager
def sleeper() -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fabric.sleeper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_stopped_node_is_noticed_in_two_seconds_and_loses_nothing_when_it_wakes() -> None:
    async def story(process: subprocess.Popen[str], port: int) -> None:
        a, far = Node(1, (2,), listen=None), Node(2, (1,))
        async with running(a):
            a.fabric.connect(far.id, [f"127.0.0.1:{port}"])
            await until(lambda: a.knows(far))
            process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            for number in range(100):
                a.fabric.send(far.id, b"%d" % number, 1)
            await until(lambda: not a.knows(far))
            noticed_s = time.monotonic() - begun
            print(f"noticed after {noticed_s:.2f} s")
            assert LINK_SILENT_NS_MAX / SECOND <= noticed_s <= LINK_SILENT_NS_MAX / SECOND + 1.5
            await asyncio.sleep(0.3)  # dials go into the void meanwhile
            process.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            await until(lambda: len(a.notes.messages) == 100)
            print(f"all came {time.monotonic() - begun:.2f} s after it woke")
            assert a.notes.messages == [(far.id, b"%d" % number) for number in range(100)]
            assert ("lost", far.id, "the node restarted") not in a.notes.said

    with sleeper() as (process, port):
        run(lambda: story(process, port), loops=1)


def test_the_channels_of_a_killed_node_break_at_once_and_what_it_may_not_have_got_comes_back() -> None:
    async def story(process: subprocess.Popen[str], port: int) -> None:
        a, far = Node(1, (2,), listen=None), Node(2, (1,))
        async with running(a):
            a.fabric.connect(far.id, [f"127.0.0.1:{port}"])
            await until(lambda: a.knows(far))
            ear = Ear()
            a.fabric.open_channel(far.id, b"", ear)
            await until(lambda: ear.was_accepted)
            process.kill()
            a.fabric.send(far.id, b"too late", 1)
            begun = time.monotonic()
            await until(lambda: ear.ending)
            print(f"broken after {(time.monotonic() - begun) * 1e3:.1f} ms")
            assert ear.ending == (Ending.BROKEN, "the node is gone")
            assert time.monotonic() - begun < 1  # about 5 ms on an idle machine
            assert a.notes.undelivered == [b"too late"]

    with sleeper() as (process, port):
        run(lambda: story(process, port), loops=1)
