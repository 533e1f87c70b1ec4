"""What does it cost to code a segment, and to bring back what is lost?

A segment of 16 MiB in warm buffers: n - k shares are made of k (encode), one lost data share is made of the others (one),
and all data that can be lost is made of parity (most). Ours by ISA-L, by tables with numpy and by tables alone, against zfec,
which is what Tahoe-LAFS codes with. ``--peer PYTHON`` names an interpreter that has it (``uv venv DIR && uv pip install -p DIR
zfec``).

Guess on the back of an envelope: with 32-byte vectors a product takes two shuffles and an xor, 1/16 ns a byte; (n - k) of them
for each byte of data, 3 at 3-of-6: 5 to 15 GB/s; never more than memory gives: each byte is read once and (n - k) / k bytes are
written for it, at the speed of a copy. zfec multiplies byte by byte through a table, 2 a nanosecond: 0.6 GB/s. Tables by numpy:
28 passes to double and 4 (n - k) to add, 20 GB/s each: 0.4 GB/s.

    uv run python bench/bench_erasure.py [--peer PYTHON] [--rounds 7] [--mib 16]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CODES = ((1, 4), (2, 5), (3, 6), (3, 9), (4, 12), (10, 16))
TABLE_CODES = ((3, 6), (4, 12), (10, 16))
ENCODE_TARGET, RATE_TARGET_GB, TABLES_TARGET_MB = 20, 10, 250
ROOT = Path(__file__).resolve().parent.parent


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def losses(k: int, n: int) -> dict[str, list[int]]:
    """Which data shares are gone: one, and as many as may be."""
    return {"one": [0], "most": list(range(min(k, n - k)))}


# -- the peer: this file again, in an interpreter that has zfec and need not have World OS ------------------------------------


def answer(size: int) -> None:
    """Read ``k n task`` from stdin, do it by zfec, and say how many seconds it took."""
    import zfec

    data = os.urandom(size)
    for line in sys.stdin:
        k, n, task = line.split()
        k, n = int(k), int(n)
        part = size // k
        shares = [data[index * part : (index + 1) * part] for index in range(k)]
        if task == "encode":
            encoder, parity = zfec.Encoder(k, n), list(range(k, n))
            took = timed(lambda encoder=encoder, shares=shares, parity=parity: encoder.encode(shares, parity))
        else:
            gone = losses(k, n)[task]
            parity = zfec.Encoder(k, n).encode(shares, list(range(k, n)))
            places = [k + index if index in gone else index for index in range(k)]
            blocks = [parity[place - k] if place >= k else shares[place] for place in places]
            decoder = zfec.Decoder(k, n)
            took = timed(lambda decoder=decoder, blocks=blocks, places=places: decoder.decode(blocks, places))
        print(took, flush=True)


class Peer:
    """zfec in a process of its own, asked one thing at a time."""

    def __init__(self, python: str, size: int) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--answer", "--bytes", str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, k: int, n: int, task: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{k} {n} {task}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def peer_python(named: str) -> str | None:
    """Find an interpreter that has zfec."""
    for python in (named, str(ROOT / ".venv-peers" / "bin" / "python"), sys.executable):
        if (
            python
            and shutil.which(python)
            and not subprocess.run([python, "-c", "import zfec"], check=False, capture_output=True).returncode
        ):
            return python
    return None


# -- ours ---------------------------------------------------------------------------------------------------------------------


class Ours:
    """One codec with all its buffers made and warm."""

    def __init__(self, codec, k: int, n: int, data: bytes) -> None:
        from worldos.store import erasure

        self.erasure, self.codec, self.code = erasure, codec, erasure.Code(k, n)
        buffer = bytearray(erasure.coded_bytes(len(data), k))
        buffer[: len(data)] = data
        self.shares = erasure.data_shares(buffer, len(data), k)
        self.parity = [bytearray(len(self.shares[0])) for _ in range(n - k)]
        self.back = [bytearray(len(self.shares[0])) for _ in range(k)]
        self.all = [*self.shares, *self.parity]
        self.seconds("encode")

    def seconds(self, task: str) -> float:
        if task == "encode":
            return timed(lambda: self.erasure.encode(self.codec, self.code, self.shares, self.parity))
        gone = losses(self.code.k, self.code.n)[task]
        have = {index: share for index, share in enumerate(self.all) if index not in gone}
        out = self.back[: len(gone)]
        took = timed(lambda: self.erasure.decode(self.codec, self.code, have, gone, out))
        assert all(self.back[place] == self.shares[index] for place, index in enumerate(gone)), "wrong bytes"
        return took


def copy_gb_s(size: int) -> float:
    """What memory gives: a copy from one warm buffer to another."""
    source, target = memoryview(bytearray(os.urandom(size))), memoryview(bytearray(size))
    target[:] = source

    def copy() -> None:
        target[:] = source

    return size / min(timed(copy) for _ in range(7)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to code a segment?")
    parser.add_argument("--peer", default="", help="an interpreter that has zfec")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=16)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    choices = parser.parse_args()
    if choices.answer:
        answer(choices.bytes)
        return
    from worldos.depot.codec import native_codec
    from worldos.store.erasure import TableCodec

    size = choices.mib << 20
    data, python = os.urandom(size), peer_python(choices.peer)
    if python is None:
        print("zfec is not here (name an interpreter that has it: --peer): ours alone")
    peer = Peer(python, size) if python else None
    copied = copy_gb_s(size)
    native = native_codec()
    if native is not None:
        print(
            f"\n{native.name}; MB/s of user data, a segment of {choices.mib} MiB, medians of {choices.rounds} pairs; "
            f"a copy: {copied:.1f} GB/s"
        )
        print(f"{'':10}{'':8}{'ours':>9}{'best':>9}{'zfec':>9}{'ratio':>8}{'of limit':>10}   to reach")
        for k, n in CODES:
            show(Ours(native, k, n, data), peer, choices.rounds, size, copied)
    for codec in (TableCodec(), TableCodec(numpy=False)):
        print(f"\n{codec.name}; MB/s; to reach with numpy: >= {TABLES_TARGET_MB}")
        for k, n in TABLE_CODES:
            ours = Ours(codec, k, n, data)
            rates = [size / ours.seconds("encode") / 1e6 for _ in range(max(2, choices.rounds // 2))]
            back = [size / ours.seconds("most") / 1e6 for _ in range(2)]
            print(
                f"{f'{k}-of-{n}':10}encode {statistics.median(rates):6.0f} (best {max(rates):.0f})   "
                f"most {statistics.median(back):6.0f}"
            )
    if peer is not None:
        peer.close()


def show(ours: Ours, peer: Peer | None, rounds: int, size: int, copied: float) -> None:
    k, n = ours.code.k, ours.code.n
    for task in ("encode", "one", "most"):
        made = n - k if task == "encode" else len(losses(k, n)[task])
        pairs = [(ours.seconds(task), peer.seconds(k, n, task) if peer else 0.0) for _ in range(rounds)]
        mine = [size / one / 1e6 for one, _ in pairs]
        limit = copied * 2 / (1 + made / k) * 1e3  # bytes read and written, at the speed at which a copy does both
        said = f"{f'{k}-of-{n}' if task == 'encode' else '':10}{task:8}{statistics.median(mine):9,.0f}{max(mine):9,.0f}"
        if peer:
            theirs = statistics.median(size / one / 1e6 for _, one in pairs)
            said += f"{theirs:9,.0f}{statistics.median(other / one for one, other in pairs):8.1f}"
        else:
            said += " " * 17
        said += f"{statistics.median(mine) / limit:10.0%}"
        if task == "encode" and (k, n) == (3, 6):
            said += f"   >= {ENCODE_TARGET} x zfec, >= {RATE_TARGET_GB},000 MB/s"
        print(said)


if __name__ == "__main__":
    main()
