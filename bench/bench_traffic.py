"""Idle traffic.

What does an idle node send on the wire, headers and acknowledgements included?

Guess on the back of an envelope: four pings a second with their answers and acknowledgements, 12 packets of some 140 bytes; each
link asked once a second from both ends, 2 packets of 116 a link. Two links: 2.5 kB/s, and TCP's bare acknowledgements.

Three real agents in network namespaces; what their interfaces sent, without Ethernet's headers, beside what the model of
``worldos.planet`` says of a site of three. The agents also send beacons, and offers whenever the machine's load changes.

Run (as root): uv run python bench/bench_traffic.py [SECONDS]
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from worldos.agent import home as homes
from worldos.cli.stage import Stage
from worldos.planet.parameters import load
from worldos.planet.site import site_traffic
from worldos.planet.sizes import sizes

SECONDS = 40.0
SETTLE_S = 20.0
ETHERNET_BYTES = 14


def sent(pid: int) -> tuple[int, int]:
    """Packets and bytes that a process's network sent."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
    fields = next(line for line in lines if line.strip().startswith("eth0")).split(":")[1].split()
    packets = int(fields[9])
    return packets, int(fields[8]) - ETHERNET_BYTES * packets


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with Stage() as stage:
        if not stage.namespaces:
            print("needs network namespaces: run as root")
            return
        stage.join_all()
        time.sleep(SETTLE_S)
        pids = [pid for actor in stage.actors if (pid := homes.running_pid(actor.home)) is not None]
        before, began = [sent(pid) for pid in pids], time.perf_counter()
        time.sleep(seconds)
        spans = [(sent(pid), then) for pid, then in zip(pids, before, strict=True)]
        passed = time.perf_counter() - began
    packets = statistics.mean((now[0] - then[0]) / passed for now, then in spans)
    amount = statistics.mean((now[1] - then[1]) / passed for now, then in spans)
    counted = sizes()
    model = site_traffic(np.array([float(len(pids))]), counted)
    offers = float(model.wire["offers"][0]) * load().offer_bytes / counted.offer
    total = float(model.total("wire")[0]) - float(model.wire["offers"][0]) + offers
    print(
        f"an idle node of {len(pids)}, {seconds:.0f} s: {packets:.1f} packets/s, {amount:,.0f} bytes/s with IP and TCP"
    )
    print(f"the model: {total:,.0f} bytes/s ({total / amount - 1:+.0%})")
    for cause, parts in model.wire.items():
        if parts[0] > 0:
            print(f"  {cause:12}{parts[0]:>9,.0f}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("WORLDOS_HOME", None)
    main()
