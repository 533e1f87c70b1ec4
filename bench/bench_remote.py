"""What does another node cost: from need to lease, and for each call?

Back of the envelope: a call to another node crosses four sockets (program, agent, agent, worker) and back: eight wake-ups of
about 15 us and four passes through an agent of about 20 us each (a frame, TLS of 100 bytes, a frame): 200 us. Packed calls share
all that: with 64 in flight a frame carries dozens, and what is left is some 10 us of pickling a call: 100 000 calls/s.

Two nodes on this machine's loopback, joined by a ticket; mutual TLS 1.3 between them. The floor, from the same run, is a
ping-pong of two processes on a Unix socket. Prints medians and ratios.

Run: uv run python bench/bench_remote.py
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from worldos.cli.stage import Stage

CALLS, FLIGHT_CALLS, IN_FLIGHT, USES = 3000, 30_000, 64, 40
TARGETS = {"rtt_us": 250.0, "in_flight_per_s": 50_000.0, "use_local_ms": 1.0, "use_remote_ms": 3.0}


def nothing(value: int) -> int:
    return value


def floor_us(rounds: int = 3000) -> float:
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while data := theirs.recv(64):
            theirs.send(data)
        os._exit(0)
    theirs.close()
    return median_us(lambda: (ours.send(b"x" * 64), ours.recv(64)), rounds)


def median_us(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times) / 1000


def calls(near: str) -> tuple[float, float]:
    from worldos import use

    with use("CPU", amount=1, near=near) as cpu:
        assert cpu.submit(nothing, 1).result() == 1
        rtt_us = median_us(lambda: cpu.submit(nothing, 1).result(), CALLS)
        began = time.perf_counter()
        flying = deque(cpu.submit(nothing, i) for i in range(IN_FLIGHT))
        for i in range(FLIGHT_CALLS - IN_FLIGHT):
            flying.popleft().result()
            flying.append(cpu.submit(nothing, i))
        for future in flying:
            future.result()
        return rtt_us, FLIGHT_CALLS / (time.perf_counter() - began)


def use_ms(near: str) -> float:
    from worldos import use

    times = []
    for _ in range(USES):
        began = time.perf_counter()
        cpu = use("CPU", amount=1, near=near)
        times.append((time.perf_counter() - began) * 1000)
        cpu.close()
        time.sleep(0.15)  # let the closed lane go before the next is timed
    return statistics.median(times)


def main() -> None:
    with Stage(("here", "there"), alone=False) as stage:
        stage.join_all()
        os.environ["WORLDOS_HOME"] = str(stage.actors[0].home.path)
        here, there = (actor.node for actor in stage.actors)
        floor = floor_us()
        found = {"use_local_ms": use_ms(here), "use_remote_ms": use_ms(there)}
        found["local_rtt_us"], found["local_in_flight_per_s"] = calls(here)
        found["rtt_us"], found["in_flight_per_s"] = calls(there)
        from worldos.sdk.connection import close

        close()
    print(f"{'floor: two processes on a Unix socket':46}{floor:>10.0f} us")
    print(
        f"{'call on this node':46}{found['local_rtt_us']:>10.0f} us   {found['local_rtt_us'] / floor:.1f} x the floor"
    )
    print(
        f"{'call to another node (target <= 250 us)':46}{found['rtt_us']:>10.0f} us   {found['rtt_us'] / floor:.1f} x"
    )
    print(f"{'64 in flight, this node':46}{found['local_in_flight_per_s']:>10.0f} /s")
    print(f"{'64 in flight, another node (>= 50 000/s)':46}{found['in_flight_per_s']:>10.0f} /s")
    print(f"{'use() to granted lease, this node (<= 1 ms)':46}{found['use_local_ms']:>10.2f} ms")
    print(f"{'use() to granted lease, another node (<= 3 ms)':46}{found['use_remote_ms']:>10.2f} ms")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "remote.json").write_text(json.dumps({"floor_us": floor, **found}))


if __name__ == "__main__":
    main()
