"""What does a word in a session cost the device that writes it, and the one that hears it? And a new epoch, in a house of twelve?

Two nodes in one process, linked by nothing but this program: one says words, the other takes the statements in. The limit of
saying is what cannot be left out: one Ed25519 signature and one seal (AES-256-GCM); of hearing, one verification. A new
epoch's limit is one HPKE seal (ML-KEM-768 and X25519) for each device. Each is run in turn with its limit, and the ratio is the
median of all pairs.

Guess on the back of an envelope: a signature 30 us, a seal 15, and the node's own check of its own signature 60; the chain of a
session is walked anew, 1 us an op. So 150 us for a young session, and 1 ms for one of 500 words. An epoch: 12 x 150 us.

    uv run python bench/bench_sessions.py [--words 300]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.company import Group  # noqa: E402

from worldos.model.statements import Topic  # noqa: E402
from worldos.sim.machine import device_key  # noqa: E402
from worldos.trust.epochs import seal_under, tell_epoch  # noqa: E402
from worldos.trust.hybrid import HybridKey, seal_hybrid  # noqa: E402
from worldos.trust.statements import check_statement, sign_statement  # noqa: E402

HOUSE = 12
KEY = b"k" * 32
TEXT = "a line of some length, as a command puts it out\n"


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e6


def shown(name: str, spent: list[float], limit: list[float]) -> None:
    ratio = statistics.median(one / other for one, other in zip(spent, limit, strict=True))
    print(f"{name:28} {statistics.median(spent):9.0f} us   limit {statistics.median(limit):7.0f} us   x {ratio:.1f}")


def words(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        group = Group(Path(folder), 2).whole()
        writer, hearer = group.devices
        name = writer.company.sessions.start("bench").id
        group.cut_all()
        said: list[float] = []
        heard: list[float] = []
        sealed: list[float] = []
        checked: list[float] = []
        for number in range(count):
            said.append(timed(lambda: writer.company.sessions.say(name, TEXT)))
            sealed.append(
                timed(
                    lambda: sign_statement(
                        writer.key, Topic.SESSION, seal_under(KEY, b"bench", TEXT.encode(), bytes(12)) + bytes(160)
                    )
                )
            )
            statement = list(writer.node.statements.of(Topic.SESSION).values())[-1]
            heard.append(timed(partial(hearer.node.statements.offer, number, (statement,), hearer.node)))
            checked.append(timed(partial(check_statement, statement)))
        tenth = max(1, count // 10)
        shown("say, a young session", said[:tenth], sealed[:tenth])
        shown(f"say, after {count} words", said[-tenth:], sealed[-tenth:])
        shown("hear", heard, checked)


def epoch() -> None:
    devices = [(device_key(n).node_id, HybridKey(bytes([n]) * 32).public) for n in range(HOUSE)]
    told, limit = [], []
    for _ in range(20):
        told.append(timed(lambda: tell_epoch(1, KEY, devices)))
        limit.append(sum(timed(partial(seal_hybrid, public, KEY, about=b"bench")) for _, public in devices))
    shown(f"a new epoch for {HOUSE}", told, limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--words", type=int, default=300)
    words(parser.parse_args().words)
    epoch()


if __name__ == "__main__":
    main()
