"""What does it cost that packets go through a private network of leases?

Two agents on this machine, linked by mutual TLS over the loopback, a lease at each, and a private network of the two: what one
member sends goes through its TUN device, its carrier, its agent, the link, and the same way back up. Asked are one TCP stream (as
fast as it goes, for some seconds), a round trip of 50 bytes by UDP, and the way in: a forward from the holder's loopback.

The peer is the kernel alone: the same two programs in two network namespaces joined by a veth pair, nothing sealed. The limit is
what the link itself carries: a channel of the fabric between two processes (bench_link.py: 1 100 to 1 400 MB/s, two quiet cores).

Guess on the back of an envelope: each byte is copied by the kernel in and out of the TUN (2 x 0.1 ns), over two Unix sockets
(4 x 0.1), sealed and opened (2 x 0.1), over TCP (2 x 0.1) and by Python's hands (3 x 0.1), 1.3 ns in all, by four processes that
share two cores: 400 MB/s, a fifth to a tenth of a veth pair. A round trip is 2 x (carrier + agent + agent + carrier) wake-ups of
50 us: 400 us, where the kernel takes 20.

    uv run python bench/bench_private_net.py [--seconds 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.agents import running_pair  # noqa: E402

from worldos.sdk import connection  # noqa: E402
from worldos.sdk.private_net import PrivateNet  # noqa: E402
from worldos.sdk.use import need, use  # noqa: E402

STREAM_PORT, ECHO_PORT = 7000, 7001
SINK = """
import socket, json, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", 7000)); s.listen()
b = bytearray(1 << 20)
while True:
    c, _ = s.accept(); n = 0; t = time.perf_counter()
    while (k := c.recv_into(b)): n += k
    c.sendall(json.dumps(n / (time.perf_counter() - t) / 1e6).encode()); c.close()
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7001))
while True:
    d, a = s.recvfrom(70000); s.sendto(d, a)
"""
SEND = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); b = bytes(1 << 18); end = time.perf_counter() + float(sys.argv[3])
while time.perf_counter() < end: s.sendall(b)
s.shutdown(socket.SHUT_WR); print(s.recv(100).decode())
"""
PING = """
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect((sys.argv[1], 7001)); took = []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); s.send(b"x" * 50); s.recv(100); took.append((time.perf_counter() - t) * 1e6)
took.sort(); print(json.dumps([took[len(took) // 2], took[len(took) * 99 // 100]]))
"""
PINGS = 1000
Ask = Callable[[list[str]], Any]


def start(argv: list[str]) -> int:
    """Start a program beside this one."""
    return subprocess.Popen(argv).pid


def answer(argv: list[str]) -> Any:
    """Run a program; return what it printed."""
    return json.loads(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)


def again(ask: Ask, argv: list[str]) -> Any:
    """Ask until the other side listens."""
    end = time.monotonic() + 10
    while True:
        try:
            return ask(argv)
        except subprocess.CalledProcessError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def measured(ask: Ask, there: str, seconds: float) -> tuple[float, float, float]:
    """Return MB/s of a stream, and median and 99th percentile of a round trip in us."""
    stream = again(ask, [sys.executable, "-c", SEND, there, str(STREAM_PORT), str(seconds)])
    median, late = again(ask, [sys.executable, "-c", PING, there, str(PINGS)])
    return stream, median, late


def by_veth(seconds: float) -> tuple[float, float, float]:
    """Ask the kernel alone: two namespaces and a pair of veth."""
    hold = [subprocess.Popen(["unshare", "-n", "sleep", "1000"]) for _ in range(2)]
    time.sleep(0.2)
    enter = [["nsenter", "-t", str(each.pid), "-n"] for each in hold]
    setup = [
        f"ip link add wos-bench0 netns {hold[0].pid} type veth peer name wos-bench1 netns {hold[1].pid}",
        *(f"{' '.join(enter[i])} ip addr add 10.9.9.{i + 1}/24 dev wos-bench{i}" for i in range(2)),
        *(f"{' '.join(enter[i])} ip link set wos-bench{i} up" for i in range(2)),
    ]
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for line in setup:
            subprocess.run(line.split(), check=True)
        servers = [subprocess.Popen([*enter[1], sys.executable, "-c", code]) for code in (SINK, ECHO)]
        return measured(lambda argv: answer([*enter[0], *argv]), "10.9.9.2", seconds)
    finally:
        for each in (*servers, *hold):
            each.kill()
            each.wait()


def main() -> None:
    """Ask in turns, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ours, kernel, forwards, opens = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="wos-b-") as folder, running_pair(Path(folder)) as agents:
        os.environ["WORLDOS_HOME"] = str(agents[0].home.path)
        here, there = (agent.ask("status")["node"] for agent in agents)
        with use(need("CPU", 1, near=here), need("CPU", 1, near=there)) as cpus:
            for _ in range(options.rounds):
                begun = time.perf_counter()
                with PrivateNet.open(cpus) as net:
                    opens.append((time.perf_counter() - begun) * 1e3)
                    for code in (SINK, ECHO):
                        cpus[1].submit(start, [*net.prefix(1), sys.executable, "-c", code]).result()
                    inside: Ask = lambda argv, net=net: cpus[0].submit(answer, [*net.prefix(0), *argv]).result()  # noqa: E731
                    ours.append(measured(inside, net.address(1), options.seconds))
                    port = str(net.forward(1, STREAM_PORT))
                    forwards.append(answer([sys.executable, "-c", SEND, "127.0.0.1", port, str(options.seconds)]))
                kernel.append(by_veth(options.seconds))
        connection.close()
    show(ours, kernel, forwards, opens)


def show(
    ours: list[tuple[float, float, float]],
    kernel: list[tuple[float, float, float]],
    forwards: list[float],
    opens: list[float],
) -> None:
    """Print medians, and ratios of pairs."""
    print(f"{'':34}{'private net':>14}{'veth':>10}{'ratio of pairs':>16}")
    for number, (what, unit) in enumerate(
        (("one TCP stream", "MB/s"), ("round trip, median", "us"), ("... p99", "us"))
    ):
        us, they = [each[number] for each in ours], [each[number] for each in kernel]
        ratio = statistics.median(a / b for a, b in zip(us, they, strict=True))
        print(f"{what + ', ' + unit:34}{statistics.median(us):14.0f}{statistics.median(they):10.0f}{ratio:16.2f}")
    print(f"{'a forward into it, MB/s':34}{statistics.median(forwards):14.0f}")
    print(f"{'to open it, ms':34}{statistics.median(opens):14.0f}")


if __name__ == "__main__":
    main()
