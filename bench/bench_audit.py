"""What does it cost that every decision is written down, proved and can be made again?

Guess on the back of an envelope: a SHA-256 of 65 bytes takes 0.5 us from Python. A leaf costs one for itself and one for the
subtree it completes: 1 us, and as much again for the interpreter: 500 000 appends a second in memory. On disk a decision is some
300 bytes of words, a salt, a commitment and a leaf: three hashes and an encoding more, 5 us, and a sync of three files (0.5 ms
each) for a batch: 100 000 a second in batches of 1 000. A proof is 20 hashes that are there already; of tiles on disk two are
hashed again from their 256 leaves: 0.2 ms. Making a choice again costs what making it cost: some 10 us an offer. What a program
waits for is the blind view and one record in a list: 5 us of a use that takes 300.

The limit of appends is two bare SHA-256 a leaf, of the durable ones those of the same bytes and the syncs; the limit of a choice
is the matcher without any record. All in one process, each pair from the same run; in processor time, and for durable appends the
waits for the disk as well.

    uv run python bench/bench_audit.py [--leaves 1000000] [--decisions 20000]
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.kernel.offers import cpu, offer, view  # noqa: E402

from worldos.agent import auditing  # noqa: E402
from worldos.agent.decision_files import DecisionFiles  # noqa: E402
from worldos.kernel import match  # noqa: E402
from worldos.kernel.decisions import decide  # noqa: E402
from worldos.kernel.records import record_of, write_leaf, write_offer, write_record  # noqa: E402
from worldos.model.ids import UseId  # noqa: E402
from worldos.trust.keys import DeviceKey  # noqa: E402
from worldos.trust.merkle import Tree, check_inclusion, leaf_hash, prove_consistency, prove_inclusion  # noqa: E402
from worldos.trust.note import sign_checkpoint  # noqa: E402
from worldos.trust.tiles import hash_reader  # noqa: E402

KEY = DeviceKey.from_seed(b"b" * 32)
BATCH = 1000
PROOFS = 400
ROUNDS = 5
APPEND_TARGET, DURABLE_TARGET, PROOF_TARGET_US, REPLAY_TARGET_S = 200_000, 20_000, 50, 60


def processor_s() -> float:
    """Seconds of processor time: on a box that others use, what the work costs and not what it waits."""
    return time.process_time()


def median_us(work: Callable[[int], Any], count: int) -> float:
    took = []
    for number in range(count):
        begun = processor_s()
        work(number)
        took.append((processor_s() - begun) * 1e6)
    return statistics.median(took)


def in_memory(leaves: int) -> Tree:
    tree = Tree()
    begun = processor_s()
    for number in range(leaves):
        tree.append(number.to_bytes(48, "big"))
    ours = processor_s() - begun
    begun = processor_s()
    for number in range(leaves):
        sha256(b"\0" + number.to_bytes(48, "big")).digest()
        sha256(bytes(65)).digest()
    limit = processor_s() - begun
    print(f"append in memory    {leaves / ours:>10,.0f} /s   target {APPEND_TARGET:,}   limit x{ours / limit:.2f}")
    return tree


def proofs(tree: Tree, hash_at: Any, name: str) -> None:
    size, root = tree.size, tree.root()
    step = max(1, size // PROOFS)
    made = [prove_inclusion(tree.hash_at, number * step, size) for number in range(min(PROOFS, size))]
    prove = median_us(lambda n: prove_inclusion(hash_at(), n * step, size), len(made))
    check = median_us(lambda n: check_inclusion(tree.hash_at(0, n * step), n * step, size, made[n], root), len(made))
    consistent = median_us(lambda n: prove_consistency(hash_at(), max(1, n * step), size), len(made))
    print(f"proof {name:<13} {prove:>8.1f} us   check {check:.1f} us   consistency {consistent:.1f} us", end="")
    print(f"   target {PROOF_TARGET_US} us at {size:,} leaves")


def durable(folder: Path, decisions: int) -> DecisionFiles:
    """Whole decisions, as the agent writes them: five offers of which one is new each time."""
    files = DecisionFiles(folder / "log")
    offers = [offer(f"n{number}") for number in range(5)]
    made = [
        decide(UseId(f"u{n}"), (cpu(),), [offer("n0", number=n), *offers[1:]], view(), splits=True)[2]
        for n in range(BATCH)
    ]
    syncs = []
    begun = processor_s()
    for first in range(0, decisions, BATCH):
        for each in made[: decisions - first]:
            fresh: dict[bytes, bytes] = {}
            files.turn()

            def keep(one: Any, fresh: dict[bytes, bytes] = fresh) -> bytes:
                data = write_offer(one)
                hashed = sha256(data).digest()
                if not files.has_offer(hashed):
                    fresh[hashed] = data
                return hashed

            record = record_of(each, keep)
            payload, salt = write_record(record), secrets.token_bytes(16)
            files.append(write_leaf(record, 1, salt, payload), salt, payload, fresh)
        batch = files.batch()
        assert batch is not None
        synced, worked = time.perf_counter(), processor_s()
        files.write(batch)
        syncs.append(time.perf_counter() - synced - (processor_s() - worked))  # what it only waited for the disk
    ours = processor_s() - begun + sum(syncs)
    files.save("checkpoint", sign_checkpoint(KEY, files.durable, files.root(files.durable)))
    data = bytes(1200)
    begun = processor_s()
    for _ in range(decisions):
        sha256(data).digest()
    limit = processor_s() - begun + sum(syncs)
    print(
        f"append durably      {decisions / ours:>10,.0f} /s   target {DURABLE_TARGET:,}   limit x{ours / limit:.2f}"
        f"   (batches of {BATCH}, {statistics.median(syncs) * 1e3:.1f} ms to write and sync one)"
    )
    return files


def bare_leaves(folder: Path, leaves: int) -> None:
    """Only what grows for ever: leaf, salt and a short payload."""
    files = DecisionFiles(folder / "bare")
    begun = processor_s()
    for first in range(0, leaves, BATCH):
        for _ in range(min(BATCH, leaves - first)):
            files.turn()
            files.append(bytes(48), b"s" * 16, b"payload", {})
        batch = files.batch()
        assert batch is not None
        files.write(batch)
    print(f"  of that the files {leaves / (processor_s() - begun):>10,.0f} /s")


def replays(files: DecisionFiles) -> None:
    files.durable = files.size
    begun = processor_s()
    done = auditing.replay(files, 1)
    assert not done.differing
    count, ours = done.choices, processor_s() - begun
    offers = [offer(f"n{number}") for number in range(5)]
    limit_us = median_us(lambda _: match.choose(cpu(), offers, view()), 500)
    print(
        f"replay              {count / ours:>10,.0f} /s   10^6 of five offers: {ours / count * 1e6:.0f} s on one core,"
        f" {ours / count * 1e6 / (os.cpu_count() or 1):.0f} s on all   target {REPLAY_TARGET_S} s"
        f"   limit x{ours / count * 1e6 / limit_us:.2f}"
    )
    begun = processor_s()
    found = auditing.verify(files, KEY.node_id)  # type: ignore[arg-type]
    took = processor_s() - begun
    print(f"verify              {found['decisions'] / took:>10,.0f} /s")


def what_a_use_pays() -> None:
    needs = (cpu(),)
    for count in (1, 5, 50):
        offers = [offer(f"n{number}") for number in range(count)]
        known = view(rtt_us={f"n{number}": 300 for number in range(count)})

        def recorded(number: int, offers: list[Any] = offers, known: Any = known) -> None:
            offers[0] = offer("n0", number=number)  # its own offer is another each time
            decide(UseId("u"), needs, offers, known, splits=True)

        def bare(number: int, offers: list[Any] = offers, known: Any = known) -> None:
            offers[0] = offer("n0", number=number)
            match.choose(needs[0], offers, known)

        pairs = [(median_us(recorded, 60), median_us(bare, 60)) for _ in range(ROUNDS)]
        more = statistics.median(a - b for a, b in pairs)
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"a choice of {count:>3}       {pairs[0][0]:>8.1f} us   bare matcher x{ratio:.2f}, {more:+.1f} us")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--leaves", type=int, default=1_000_000)
    options.add_argument("--decisions", type=int, default=20_000)
    asked = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wos-bench-"))
    try:
        what_a_use_pays()
        tree = in_memory(asked.leaves)
        proofs(tree, lambda: tree.hash_at, "in memory")
        files = durable(folder, asked.decisions)
        bare_leaves(folder, 5 * asked.decisions)
        ours = Tree()
        for number in range(files.size):
            ours.append_hash(leaf_hash(files.leaf(number)))
        proofs(ours, lambda: hash_reader(files.read_tile, files.size), "from disk")
        replays(files)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
