"""How soon does a stranger's WebAssembly program begin, and how fast does it count?

A warm worker has a child ready that has rehearsed; it runs a module of a few hundred bytes to its exit: from the order to its
exit code, the module known or new. Beside it stands a child that is forked when the order comes.
The peer is a bare command of the machine (``true``) started as the worker starts commands; the limit is the module run in this
process, runtime and compiled module at hand. Fuel is measured on a loop, against the same loop without it.

Guess on the back of an envelope: to check and name the module 0.2 ms, two wake-ups of another process 0.2, to take what was
compiled and make an instance 0.4, each thing touched for the first time a page fault of 1 to 5 us: 1 to 1.5 ms. A module compiled
anew 0.7 more; a child that is forked then 1.4 ms for the fork and a thousand pages copied, 4 to 8 more. Counting fuel costs an
addition a block of code: 1.2 to 2 times the time of a tight loop.

    uv run python bench/bench_wasm.py [--rounds 100]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import wasmtime

from worldos.lanes import wasm

EXITS = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
 (func (export "_start") (call $exit (i32.const 0))))"""
LOOP = """(module (func (export "run") (param $n i64) (result i64) (local $sum i64)
 (loop $again (local.set $sum (i64.add (local.get $sum) (local.get $n)))
  (local.set $n (i64.sub (local.get $n) (i64.const 1))) (br_if $again (i64.ne (local.get $n) (i64.const 0))))
 (local.get $sum)))"""
TARGET_MS = 5.0
STEPS = 20_000_000
REHEARSAL_S = 0.05


def ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return (time.perf_counter() - start_s) * 1000


def started(folder: Path, name: str = "exits.wasm") -> None:
    process = wasm.start([name], folder, {}, 0)
    assert process.wait() == 0
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def ready() -> None:
    """Have a child that has rehearsed."""
    wasm.prepare()
    time.sleep(REHEARSAL_S)


def as_new(folder: Path, number: int) -> str:
    """Return a program that was never run here."""
    name = f"new{number}.wasm"
    (folder / name).write_bytes(
        bytes(wasmtime.wat2wasm(EXITS.replace("(memory", f"(global i32 (i32.const {number})) (memory")))
    )
    return name


def row(folder: Path, number: int, here: Callable[[], object]) -> tuple[float, ...]:
    """Measure all once, in pairs: known, new, forked for it, bare command, in place; each ready before it is asked."""
    new = as_new(folder, number)
    ready()
    known = ms(lambda: started(folder))
    ready()
    unknown = ms(lambda: started(folder, new))
    forked = ms(lambda: started(folder))
    return known, unknown, forked, ms(lambda: bare(folder)), ms(here)


def bare(folder: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(["true"], cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0) as process:
        process.wait()


def in_place() -> Callable[[], object]:
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    module = wasmtime.Module(engine, wasmtime.wat2wasm(EXITS))

    def run() -> None:
        store = wasmtime.Store(engine)
        store.set_fuel(10**9)
        store.set_wasi(wasmtime.WasiConfig())
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        with contextlib.suppress(wasmtime.ExitTrap):
            linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]

    return run


def loop(*, fuel: bool) -> Callable[[], object]:
    config = wasmtime.Config()
    config.consume_fuel = fuel
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    run = wasmtime.Instance(store, wasmtime.Module(engine, wasmtime.wat2wasm(LOOP)), []).exports(store)["run"]

    def once() -> None:
        if fuel:
            store.set_fuel(10**12)
        run(store, STEPS)  # type: ignore[operator]

    return once


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of pairs."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def main() -> None:
    """Run the pairs and print their medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    wasm.load()
    wasm.warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "exits.wasm").write_bytes(bytes(wasmtime.wat2wasm(EXITS)))
        here = in_place()
        rows = [row(folder, number, here) for number in range(rounds)]
    wasm.rest()
    known, new, forked, peer, limit = zip(*rows, strict=True)
    print(f"{'ms, ' + str(rounds) + ' rounds':32}{'median':>8}{'p90':>8}{'least':>8}")
    names = (
        "ready, module known",
        "ready, module new",
        "forked for it, module known",
        "a bare command",
        "limit: in place",
    )
    for name, taken in zip(names, (known, new, forked, peer, limit), strict=True):
        print(f"{name:32}{statistics.median(taken):8.2f}{sorted(taken)[rounds * 9 // 10]:8.2f}{min(taken):8.2f}")
    ours, said = statistics.median(new), "reached" if statistics.median(new) <= TARGET_MS else "MISSED"
    print(f"asked: {TARGET_MS:.0f} ms from the order to the exit code: {said} ({ours:.1f} ms with a new module)")
    print(f"pairs: {ratio(known, peer):.2f} x a bare command, {ratio(known, limit):.1f} x the limit")
    print(f"pairs: without a child ready {ratio(forked, known):.1f} x as long")
    with_fuel, without = loop(fuel=True), loop(fuel=False)
    counted, plain = zip(*[(ms(with_fuel), ms(without)) for _ in range(9)], strict=True)
    rate = STEPS / statistics.median(counted) / 1000
    print(f"a counting loop: {rate:.0f} M turns/s with fuel, {ratio(counted, plain):.2f} x the time without")


if __name__ == "__main__":
    main()
