"""The simulator.

How many events a second does one core drive through whole nodes?

Guess on the back of an envelope: nearly all events of an idle site are a node's own timer, a ping and its answer. Each is one
``Node.handle``: about 20 small Structs and dictionary look-ups at 0.1 to 0.2 us, so 3 to 6 us; a round of probes somewhat more.
The simulator adds one push and one pop of a heap, a dice roll and the event itself: 3 us. So 100 000 events/s with nothing to
spare. Programs cost more: a choice among offers, leases, lanes, checks after each step; perhaps a third of that.

*idle* is a site that does nothing but watch itself, *busy* a whole run with programs, faults and every checker. An event is one
``Node.handle``. "in nodes" is the share of the time spent there. Best of many short spans: what the code costs when the machine
is left alone; the median says how alone it was.

    uv run python bench/bench_sim.py [--spans 40]
"""

from __future__ import annotations

import argparse
import statistics
import time

from worldos.model.limits import SECOND
from worldos.node import Node
from worldos.sim.run import Settings, run_seed
from worldos.sim.world import World

NODES = (3, 10, 30)
TARGET_PER_S = 100_000
SEEDS = (3, 4, 5, 6)


class Share:
    """How much of a span was spent inside nodes. Measured apart: looking at the clock costs as much as a small event."""

    def __init__(self) -> None:
        self.inside_ns = 0
        self.handle = Node.handle

    def __enter__(self) -> Share:
        def timed(node, event):
            began_ns = time.process_time_ns()
            effects = self.handle(node, event)
            self.inside_ns += time.process_time_ns() - began_ns
            return effects

        Node.handle = timed
        return self

    def __exit__(self, *_) -> None:
        Node.handle = self.handle


def idle(nodes: int, spans: int) -> list[float]:
    """Events a second in each span of a site that only watches itself."""
    world = World(1, nodes, drift=False)
    world.run_until(5 * SECOND)
    rates = []
    for _ in range(spans):
        steps, began_s = world.steps, time.process_time()
        world.run_until(world.now_ns + 60 * SECOND // nodes)
        rates.append((world.steps - steps) / (time.process_time() - began_s))
    return rates


def share_in_nodes(nodes: int) -> float:
    world = World(1, nodes, drift=False)
    world.run_until(5 * SECOND)
    with Share() as share:
        began_ns = time.process_time_ns()
        world.run_until(world.now_ns + 300 * SECOND // nodes)
        return share.inside_ns / (time.process_time_ns() - began_ns)


def busy(settings: Settings) -> list[float]:
    """Events a second of whole runs: faults, programs, calls, checkers."""
    rates = []
    for seed in SEEDS:
        began_s = time.process_time()
        rates.append(run_seed(seed, settings).steps / (time.process_time() - began_s))
    return rates


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--spans", type=int, default=40)
    spans = options.parse_args().spans
    print(f"{'':28}{'best':>10}{'median':>10}{'in nodes':>10}   events/s on one core")
    best = 0.0
    for nodes in NODES:
        rates = idle(nodes, spans)
        best = max(best, *rates)
        share = share_in_nodes(nodes)
        print(f"{f'idle, {nodes} nodes':28}{max(rates):>10,.0f}{statistics.median(rates):>10,.0f}{share:>10.0%}")
    for name, settings in (("busy, 3 to 6 nodes", Settings()), ("busy and harsh", Settings(harsh=True))):
        rates = busy(settings)
        print(f"{name:28}{max(rates):>10,.0f}{statistics.median(rates):>10,.0f}")
    print(f"target: {TARGET_PER_S:,} events/s with the whole node: {'met' if best >= TARGET_PER_S else 'not met'} here")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
