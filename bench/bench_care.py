"""How fast is a lost device made anew, and how many audits does a store answer?

One process: depots behind their sockets in threads, one carer. A repair of a segment of 16 MiB at 3-of-6 reads three shares of
5.3 MiB, checks every byte against the roots (BLAKE3, 4.5 GB/s here), makes one share of them (Galois sums, 25 GB/s), digests it
again and puts it on a disk. Back of an envelope, for each GiB that is read: 0.24 s of BLAKE3, 0.05 of sums, 0.08 of digests of
what is made, 0.3 of copies through sockets (3 GB/s): 1.5 GB/s a core; without the sockets 2.7. The limit: BLAKE3 over the bytes
that are read, for nothing that is not checked may be used. An audit is a read of 16 KiB with 11 KiB of digests: 60 us of Python
on either side, so 8 000 a second on one core for both ends; the store's own part (disk and copy, no socket) some 20 000. The
limit of that: to digest what is read, and no more.

No peer is run: Tahoe-LAFS repairs when asked to, 33 MB/s on this box (research of the project).

    uv run python bench/bench_care.py
"""

from __future__ import annotations

import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import blake3  # noqa: E402
from tests.files.depots import ACCOUNT, Site, site  # noqa: E402

from worldos.depot.codec import best_codec  # noqa: E402
from worldos.files.mending import Gathered, Mender  # noqa: E402
from worldos.store import audit  # noqa: E402
from worldos.store.erasure import Code, data_shares, decode, encode, share_bytes  # noqa: E402
from worldos.store.health import Reason, Repair  # noqa: E402
from worldos.store.leaves import bad_leaves, check_digests, leaf_digests, root_of  # noqa: E402
from worldos.store.limits import LEAF_BYTES  # noqa: E402
from worldos.store.manifest import Segment, share_ids  # noqa: E402

CODE = Code(3, 6)
MIB = 1 << 20
SEGMENT_BYTES = 16 * MIB
SEGMENTS = 12
ROUNDS = 5
AUDITS = 3000


class Kept:
    """Segments of random bytes, share i on depot i."""

    def __init__(self, at: Site) -> None:
        self.stores = {store.at.node: store for store in at.stores().reachable()}
        self.nodes = [depot.node for depot in at.depots]
        self.size = share_bytes(SEGMENT_BYTES, CODE.k)
        self.segments: list[tuple[Segment, tuple[bytes, ...]]] = []
        codec = best_codec()
        room = memoryview(bytearray(self.size * CODE.k))
        self.shares = list(data_shares(room, SEGMENT_BYTES, CODE.k))
        parity = [memoryview(bytearray(self.size)) for _ in range(CODE.n - CODE.k)]
        for number in range(SEGMENTS):
            room[:SEGMENT_BYTES] = os.urandom(SEGMENT_BYTES)
            encode(codec, CODE, self.shares, parity)
            shares = [*self.shares, *parity]
            digests = [leaf_digests(share) for share in shares]
            roots = tuple(root_of(each, self.size) for each in digests)
            segment = Segment(id=bytes([number]) * 16, k=3, n=6, size_bytes=SEGMENT_BYTES, roots=roots)
            ids = share_ids(segment, b"v" * 32)
            self.segments.append((segment, ids))
            for index in range(1, CODE.n):
                store = at.depots[index].store
                assert store is not None
                store.put(ids[index], shares[index], digests=digests[index], owner=ACCOUNT)
        self.digests = digests
        self.all = shares

    def repair(self, segment: Segment, target: int) -> Repair:
        return Repair(
            segment=segment.id,
            code=CODE,
            reason=Reason.LOST,
            indices=(0,),
            sources=tuple((index, (self.nodes[index],)) for index in range(1, CODE.n)),
            targets=(self.nodes[target],),
            survives=2,
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, site(6 + ROUNDS) as at:
        kept = Kept(at)
        mender = Mender(best_codec(), Gathered(Path(folder) / "gathered"), ACCOUNT, lambda *_: None)
        read_bytes = CODE.k * kept.size * SEGMENTS
        ends, cores, limits = [], [], []
        for turn in range(ROUNDS):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            for segment, ids in kept.segments:
                assert mender.mend(segment, ids, kept.repair(segment, 6 + turn), kept.stores)
            ends.append(read_bytes / (time.perf_counter() - began_s))
            cores.append(read_bytes / (time.process_time() - began_cpu_s))
            began_s = time.perf_counter()
            for _ in range(SEGMENTS):
                for share in kept.all[1:4]:
                    blake3.blake3(share).digest()
            limits.append(read_bytes / (time.perf_counter() - began_s))
        alone = [of_the_carer_alone(kept) for _ in range(ROUNDS)]
        limit = statistics.median(limits)
        print(f"a lost share of {SEGMENTS} segments of 16 MiB at {CODE}, made of three others; bytes read each second")
        for name, rates in (
            ("whole repair, 11 depots in this process, fdatasync", ends),
            ("the same for each second of processor, both ends", cores),
            ("check, make and digest alone: one core", alone),
            ("limit: BLAKE3 of what is read", limits),
        ):
            rate = statistics.median(rates)
            print(f"  {name}: {rate / 1e9:.2f} GB/s, {100 * rate / limit:.0f} % of the limit")
        audits(kept, at)


def of_the_carer_alone(kept: Kept) -> float:
    """What the carer's own processor does, without sockets and disks."""
    segment, _ = kept.segments[-1]
    out = memoryview(bytearray(kept.size))
    codec = best_codec()
    began_s = time.perf_counter()
    for _ in range(SEGMENTS):
        for index in (1, 2, 3):
            check_digests(kept.digests[index], kept.size, segment.roots[index])
            assert not bad_leaves(kept.digests[index], kept.all[index])
        decode(codec, CODE, {index: kept.all[index] for index in (1, 2, 3)}, (0,), (out,))
        assert root_of(leaf_digests(out), kept.size) == segment.roots[0]
    return CODE.k * kept.size * SEGMENTS / (time.perf_counter() - began_s)


def audits(kept: Kept, at: Site) -> None:
    shares = [audit.Kept(share=ids[1], root=segment.roots[1], size_bytes=kept.size) for segment, ids in kept.segments]
    store, depot = kept.stores[kept.nodes[1]], at.depots[1].store
    assert depot is not None
    ours, alone, limits = [], [], []
    for _ in range(ROUNDS):
        drawn = audit.draw(shares, AUDITS, secrets.token_bytes(32))
        began_s = time.perf_counter()
        asked = [
            store.ask(lambda link, each=each: link.get_share(each.kept.share, each.offset, each.length, digests=True))
            for each in drawn
        ]
        good = sum(
            audit.judge(each, got.result().digests, got.result().data) is audit.Verdict.GOOD
            for each, got in zip(drawn, asked, strict=True)
        )
        assert good == AUDITS
        ours.append(AUDITS / (time.perf_counter() - began_s))
        began_s = time.perf_counter()
        for each in drawn:
            depot.get(each.kept.share, each.offset, each.length)
            depot.digests(each.kept.share)
        alone.append(AUDITS / (time.perf_counter() - began_s))
        leaf, digests = kept.all[1][:LEAF_BYTES], kept.digests[1]
        began_s = time.perf_counter()
        for _ in drawn:
            blake3.blake3(leaf).digest()
            blake3.blake3(digests).digest()
        limits.append(AUDITS / (time.perf_counter() - began_s))
    limit = statistics.median(limits)
    print("audits of one store, each a leaf of 16 KiB with its list of digests, drawn, answered and judged")
    for name, rates in (
        ("both ends in this process", ours),
        ("the store's own part, without a socket", alone),
        ("limit: BLAKE3 of the leaf and of its list", limits),
    ):
        rate = statistics.median(rates)
        print(f"  {name}: {rate:,.0f} a second, {100 * rate / limit:.0f} % of the limit")


if __name__ == "__main__":
    main()
