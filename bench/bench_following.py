"""How much sooner does a file open where its user has gone to?

Five depots in five processes. A file is put at home (2-of-5) and read on a fifth machine that is away: its own depot is beside
it, the four others are behind a line of 20 ms there and back and 12.5 MB/s, a home's 100 Mbit/s, which a process of this bench
plays. The first read fetches what is not here; the second reads the copies that the first one left near. Where the file was used
before and he uses anything there, the keeper fetches it ahead (files/following.py), and the first read is as the second here.

Guess on the back of an envelope: of two shares that rebuild a segment one may be here, so half of the bytes or all of them come
over the line: 32 MB at 12.5 MB/s, 1.3 to 2.6 s, and more for what is asked of a second store because the line is slow to bring it
from the first. From near: two shares by a Unix socket, joined and opened, 0.5 GB/s: 60 ms. 20 to 40 times sooner. The limit: to
read as many bytes from a file that the kernel has in memory.

    uv run python bench/bench_following.py [--mb 32] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.files.depots import Site, files_of, site  # noqa: E402

from worldos.files.files import Files  # noqa: E402
from worldos.files.stores import StoreAt  # noqa: E402

AWAY = 4
DELAY_S = 0.01  # each way
LINE_BYTES_PER_S = 12_500_000
PART_BYTES = 64 << 10
WAIT_S = 20.0


class Line:
    """One line into a home, played on Unix sockets: what comes through it waits its turn, then its way."""

    def __init__(self) -> None:
        self._free_at_s = 0.0

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        arriving = asyncio.ensure_future(self._arrive(on_its_way, target))
        with contextlib.suppress(OSError):
            while data := await source.read(PART_BYTES):
                now_s = time.monotonic()
                self._free_at_s = max(now_s, self._free_at_s) + len(data) / LINE_BYTES_PER_S
                await on_its_way.put((self._free_at_s + DELAY_S, data))
        arriving.cancel()
        target.close()

    async def _arrive(self, on_its_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due_s, data = await on_its_way.get()
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                target.write(data)
                await target.drain()


def play(paths: list[tuple[str, str]], ready: str) -> None:
    """Join each first path to its second through one line, for ever."""

    async def serve() -> None:
        there, back = Line(), Line()

        async def joined(path: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            far_source, far_target = await asyncio.open_unix_connection(path)
            await asyncio.gather(there.carry(source, far_target), back.carry(far_source, target))

        for near, far in paths:
            await asyncio.start_unix_server(lambda s, t, far=far: joined(far, s, t), near)  # type: ignore[misc]
        os.close(os.open(ready, os.O_CREAT))
        await asyncio.Event().wait()

    asyncio.run(serve())


@contextlib.contextmanager
def line_to(five: Site) -> Iterator[None]:
    """Put all depots but the one away behind the line, as the one away sees them."""
    folder = five.folder
    paths = [(str(folder / f"far{depot.number}.sock"), str(depot.path)) for depot in five.depots[:AWAY]]
    process = multiprocessing.get_context("spawn").Process(
        target=play, args=(paths, str(folder / "ready")), daemon=True
    )
    process.start()
    until_s = time.monotonic() + WAIT_S
    while not (folder / "ready").exists():
        if time.monotonic() > until_s:
            raise SystemExit("the line is not there")
        time.sleep(0.01)
    try:
        yield
    finally:
        process.kill()
        process.join()


def seen_from_away(five: Site) -> list[StoreAt]:
    rtt_us = round(2e6 * DELAY_S)
    rows = [(depot.row(AWAY), five.folder / f"far{depot.number}.sock") for depot in five.depots]
    return [row if row.here else replace(row, path=str(far), rtt_us=rtt_us) for row, far in rows]


def far_bytes(files: Files) -> int:
    return sum(store.fetched_bytes for store in files.session.stores.known() if not store.at.here)


def read_s(five: Site, home: Path, size: int) -> tuple[float, int]:
    """Read the file in a program of its own, as `wos get` does; return how long that took and what came over the line."""
    with files_of(five, home, AWAY) as files:
        files.session.stores._look = lambda: seen_from_away(five)
        files.session.follows = True
        until_s = time.monotonic() + WAIT_S
        while not files.exists("plan.bin"):
            if time.monotonic() > until_s:
                raise SystemExit("the file is not seen")
            files.refresh()
        begun_s = time.perf_counter()
        total = sum(len(part) for part in files.parts(files.ref("plan.bin")))
        took_s = time.perf_counter() - begun_s
        if total != size:
            raise SystemExit("not all of the file came")
        return took_s, far_bytes(files)


def main() -> None:
    parser = argparse.ArgumentParser(description="How much sooner does a file open where its user has gone to?")
    parser.add_argument("--mb", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    choices = parser.parse_args()
    size = choices.mb * 1_000_000
    first: list[float] = []
    second: list[float] = []
    limit: list[float] = []
    over = [0, 0]
    for _ in range(choices.rounds):
        with site(AWAY + 1, own_process=True) as five, tempfile.TemporaryDirectory(prefix="wos-follow-") as homes:
            plain = Path(homes) / "plain.bin"
            plain.write_bytes(os.urandom(size))
            with files_of(five, Path(homes) / "desk") as desk:
                desk.put(plain, "plan.bin")
            with line_to(five):
                for found, place in ((first, 0), (second, 1)):
                    took_s, came = read_s(five, Path(homes) / "away", size)
                    found.append(took_s)
                    over[place] = max(over[place], came)
            begun_s = time.perf_counter()
            plain.read_bytes()
            limit.append(time.perf_counter() - begun_s)
    median = statistics.median
    line = f"a line of {2e3 * DELAY_S:.0f} ms and {LINE_BYTES_PER_S / 1e6:.1f} MB/s"
    print(f"\n{choices.mb} MB, 2-of-5, {line}; medians of {choices.rounds}")
    print(f"{'':32}{'ms':>10}{'MB/s':>10}{'MB over the line':>20}")
    for what, took, came in (("first read, away", first, over[0]), ("second read, from near", second, over[1])):
        print(f"{what:32}{1e3 * median(took):10,.0f}{size / 1e6 / median(took):10,.0f}{came / 1e6:20,.1f}")
    print(f"{'a file of this machine':32}{1e3 * median(limit):10,.0f}{size / 1e6 / median(limit):10,.0f}")
    pairs = [one / two for one, two in zip(first, second, strict=True)]
    print(
        f"sooner: {median(pairs):.1f} x; of the limit: {median(limit) / median(second):.2f}; to reach: 0 MB over the line"
    )


if __name__ == "__main__":
    main()
