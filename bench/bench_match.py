"""The best of 10^6 offers.

How long does it take to find it by score, and exactly?

Guess on the back of an envelope: the constraints and the score of one need read about ten integers of an offer. In
columns that is 10 x 8 bytes x 10^6 = 80 MB; at the some 10 GB/s of one core here one pass takes 8 ms, and a score has
about twenty operations, each a pass of its own: 50 ms and more. A loop in Python at 30 us an offer takes 30 s. So to be
under 10 ms most offers must not be looked at: the index reads them in order of a known lower bound and stops.

*first* is the first question of its kind: it puts the rows in order, and makes columns of the facts that it asks for.
The limit shown is one pass of numpy (a minimum) over the columns that the score reads: what any method pays that looks
at every offer once. The loop is match.choose, timed on a part of the offers and scaled.

    uv run python bench/bench_match.py [--offers 1000000]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from random import Random

import numpy as np

from worldos.kernel.match import Refusal, choose
from worldos.kernel.match_index import OfferIndex
from worldos.kernel.question import View
from worldos.model.ids import AccountId, NodeId, ResourceId
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import Fact, Resource
from worldos.model.where import parse_where

GB = 10**9
LOOP_OFFERS = 10_000
ROUNDS = 15
ME, HOME = AccountId("me"), NodeId("n0")
ANYONE = OfferRules(owners_only=False)


def machines(random: Random) -> list[dict[str, Fact]]:
    """Facts of 4096 different machines; a million offers share them, as a million machines are of some models."""
    return [
        {
            "arch": "arm64" if random.random() < 0.03 else "x86_64",
            "os": "linux",
            "model": f"model {int(random.paretovariate(0.5)) % 5000}",
            "cores": 2 ** random.randrange(1, 7),
            "memory": 2 ** random.randrange(2, 9) * GB,
            "speed_mips": random.randrange(2_000, 12_000),
            "load_percent": random.randrange(100),
            "carbon_g_kwh": random.randrange(10, 900),
            "battery": random.random() < 0.2,
        }
        for _ in range(4096)
    ]


def offer(number: int, facts: dict[str, Fact], random: Random) -> Offer:
    node = NodeId(f"n{number}")
    cores, memory = facts["cores"], facts["memory"]
    assert isinstance(cores, int)
    assert isinstance(memory, int)

    def resource(kind: str, capacity: int, free: int, price: int) -> Resource:
        name = f"{node}/{kind}"
        return Resource(
            id=ResourceId(name),
            kind=kind,
            name=kind,
            node=node,
            owner=ME,
            place="",
            uri=name,
            unit="",
            capacity=capacity,
            free=free,
            price_uwos=price,
        )

    return Offer(
        node=node,
        name=node,
        owner=ME,
        place="",
        boot=1,
        number=1,
        resources=(
            resource("CPU", cores * 1000, random.randrange(cores + 1) * 1000, random.randrange(100_000)),
            resource("Memory", memory, random.randrange(memory), 0),
        ),
        facts=facts,
        rules=ANYONE,
    )


def fleet(size: int) -> list[Offer]:
    random = Random(7)
    kinds = machines(random)
    return [offer(number, kinds[random.randrange(len(kinds))], random) for number in range(size)]


QUESTIONS: dict[str, Need] = {
    "2 cores, 4 GB, fastest": Need(kind="CPU", amount=2000, memory_bytes=4 * GB),
    "the same, near me": Need(kind="CPU", amount=2000, memory_bytes=4 * GB, near=HOME),
    "the same, cheapest": Need(kind="CPU", amount=2000, memory_bytes=4 * GB, objective=Objective.CHEAPEST),
    "the same, greenest, on mains": Need(
        kind="CPU", amount=2000, memory_bytes=4 * GB, objective=Objective.GREENEST, where=parse_where("not battery")
    ),
    "where arch == 'arm64' (3 %)": Need(kind="CPU", amount=2000, where=parse_where("arch == 'arm64'")),
    "48 cores, 100 GB (5 %)": Need(kind="CPU", amount=48_000, memory_bytes=100 * GB),
    "where model == 'model 7'": Need(kind="CPU", amount=1000, where=parse_where("model == 'model 7'")),
    "nobody can": Need(kind="CPU", amount=2000, where=parse_where("arch == 'riscv64'")),
}


def median_ms(act: Callable[[int], object], clock: Callable[[], float] = time.perf_counter) -> float:
    times: list[float] = []
    for turn in range(ROUNDS):
        begun = clock()
        act(turn)
        times.append((clock() - begun) * 1e3)
    return statistics.median(times)


def one_pass_ms(size: int) -> float:
    """Read the columns of the score once: work, load, capacity, free, carbon, loss, price, memory, way, doubt."""
    columns = [np.arange(size, dtype=np.int64) for _ in range(10)]
    return median_ms(lambda _: [int(column.min()) for column in columns])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=1_000_000)
    size = parser.parse_args().offers
    gc.disable()  # a million offers are no garbage
    offers = fleet(size)
    begun = time.perf_counter()
    index = OfferIndex(offers)
    built = time.perf_counter() - begun
    random = Random(11)
    known = {NodeId(f"n{random.randrange(size)}"): random.randrange(100, 60_000) for _ in range(256)}

    def view(turn: int) -> View:
        return View(home=HOME, account=ME, nonce=turn.to_bytes(4, "little"), rtt_us=known)

    limit = one_pass_ms(size)
    part = offers[: min(LOOP_OFFERS, size)]
    print(f"{size:,} offers of one CPU and one Memory; index built in {built:.1f} s ({built / size * 1e6:.1f} us each)")
    print(f"one pass over the columns of the score: {limit:.2f} ms\n")
    print(
        f"{'question':32}{'index ms':>10}{'cpu ms':>8}{'first ms':>10}{'loop ms':>11}{'loop/index':>12}{'index/pass':>12}"
    )
    for name, need in QUESTIONS.items():
        begun = time.perf_counter()
        answer = index.choose(need, view(0))
        first = (time.perf_counter() - begun) * 1e3
        ours = median_ms(lambda turn, need=need: index.choose(need, view(turn)))
        cpu = median_ms(lambda turn, need=need: index.choose(need, view(turn)), time.process_time)
        begun = time.perf_counter()
        choose(need, part, view(0))
        loop = (time.perf_counter() - begun) * 1e3 * size / len(part)
        kind = "  (refused)" if isinstance(answer, Refusal) else ""
        print(
            f"{name:32}{ours:>10.2f}{cpu:>8.2f}{first:>10.1f}{loop:>11.0f}{loop / ours:>11.0f}x{ours / limit:>11.2f}x{kind}"
        )

    facts = machines(random)

    def change(turn: int) -> None:
        index.update(offer(random.randrange(size), facts[turn], random))

    changing = median_ms(change, time.process_time)

    def change_and_ask(turn: int) -> None:
        for _ in range(100):
            change(turn)
        index.choose(QUESTIONS["2 cores, 4 GB, fastest"], view(turn))

    both = median_ms(change_and_ask, time.process_time)
    print(f"\none offer changed: {changing * 1e3:.0f} us cpu; 100 changed and the best found: {both:.2f} ms cpu")


if __name__ == "__main__":
    main()
