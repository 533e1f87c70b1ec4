"""A long line between two hosts: a TAP pair whose packets take their time, vary, get lost, or stop.

``Line`` starts this file as a process in a network namespace. It makes the two devices, copies frames between them, and takes
orders as lines on stdin (``delay_ms 20 loss_percent 1 cut 1``), each answered by a line with the frames passed and dropped.
Frames of one direction keep their order, as on a real line. Times in ns inside, ms outside; one way, not round trip.

Source: Linux Documentation/networking/tuntap.rst; the idea is ``tc netem``, which many kernels are built without.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME_BYTES_MAX = 65536
QUEUE_MAX = 20_000  # frames on their way; more are lost, as in a full router
BATCH = 64


class Line:
    """The far handle of a line: set what it does to packets, at any time."""

    def __init__(self, python: list[str], devices: tuple[str, str]) -> None:
        self.devices = devices
        self.process = subprocess.Popen(
            [*python, __file__, *devices], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.passed = self.dropped = 0
        self._hear()

    def set(
        self,
        *,
        delay_ms: float | None = None,
        jitter_ms: float | None = None,
        loss_percent: float | None = None,
        cut: bool | None = None,
    ) -> None:
        """Change what is given, leave the rest; it holds when this returns."""
        given = {"delay_ms": delay_ms, "jitter_ms": jitter_ms, "loss_percent": loss_percent, "cut": cut}
        words = [f"{name} {float(value)}" for name, value in given.items() if value is not None]
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self._hear()

    def count(self) -> None:
        """Bring ``passed`` and ``dropped`` up to date."""
        self.set()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if len(words) != 2:
            raise AssertionError("the line does not stand")
        self.passed, self.dropped = int(words[0]), int(words[1])

    def close(self) -> None:
        """End the process; the devices go with it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(15)


class Pair:
    """The two ends, and the frames between them."""

    def __init__(self, devices: list[str]) -> None:
        self.ends = [tap(device) for device in devices]
        self.wishes = {"delay_ms": 0.0, "jitter_ms": 0.0, "loss_percent": 0.0, "cut": 0.0}
        self.way: list[tuple[int, int, int, bytes]] = []
        self.last_ns = dict.fromkeys(self.ends, 0)
        self.dice = random.Random(1)
        self.passed = self.dropped = 0

    def obey(self, line: str) -> None:
        words = line.split()
        for name, value in zip(words[::2], words[1::2], strict=True):
            self.wishes[name] = float(value)
        print(self.passed, self.dropped, flush=True)

    def take(self, source: int) -> None:
        target = self.ends[1 - self.ends.index(source)]
        wishes = self.wishes
        for _ in range(BATCH):
            try:
                frame = os.read(source, FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            lost = wishes["cut"] or self.dice.random() * 100 < wishes["loss_percent"]
            if lost or len(self.way) >= QUEUE_MAX:
                self.dropped += 1
                continue
            delay_ms = max(0.0, wishes["delay_ms"] + self.dice.uniform(-1, 1) * wishes["jitter_ms"])
            due_ns = max(time.monotonic_ns() + int(delay_ms * 1e6), self.last_ns[target] + 1)
            self.last_ns[target] = due_ns
            heapq.heappush(self.way, (due_ns, self.passed, target, frame))
            self.passed += 1

    def give(self) -> None:
        now_ns = time.monotonic_ns()
        while self.way and self.way[0][0] <= now_ns:
            _, _, target, frame = heapq.heappop(self.way)
            try:
                os.write(target, frame)
            except OSError:  # the device is down: what arrives there is lost
                self.dropped += 1

    def serve(self) -> None:
        poll = select.epoll()
        for fd in (*self.ends, 0):
            poll.register(fd, select.EPOLLIN)
        self.obey("")
        while True:
            wait_s = max(0.0, (self.way[0][0] - time.monotonic_ns()) / 1e9) if self.way else -1
            for fd, _ in poll.poll(wait_s):
                if fd == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.obey(line)
                else:
                    self.take(fd)
            self.give()


def tap(device: str) -> int:
    """Make a TAP device in this namespace; it lives as long as the file."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TAP | IFF_NO_PI))
    return fd


if __name__ == "__main__":
    Pair(sys.argv[1:]).serve()
