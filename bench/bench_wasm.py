"""How soon does a stranger's WebAssembly program begin, and how fast does it count?

A warm worker (runtime loaded) forks a child that compiles a module of a few hundred bytes and runs it to its exit: from the order
to the exit code. The peer is a bare command of the machine (``true``) started as the worker starts commands; the limit is the
module run in this process, runtime and compiled module at hand. Fuel is measured on a loop, against the same loop without it.

Guess on the back of an envelope: a fork of 60 MB of mappings 1 to 2 ms, the engine and compiling 2 ms, exit 0.5 ms: 5 ms.
Counting fuel costs an addition a block of code: 1.2 to 2 times the time of a tight loop.

    uv run python bench/bench_wasm.py [--rounds 200]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
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


def ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return (time.perf_counter() - start_s) * 1000


def started(folder: Path) -> None:
    process = wasm.start(["exits.wasm"], folder, {}, 0)
    assert process.wait() == 0
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


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


def main() -> None:
    """Run the pairs and print their medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    wasm.warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "exits.wasm").write_bytes(bytes(wasmtime.wat2wasm(EXITS)))
        here = in_place()
        rows = [(ms(lambda: started(folder)), ms(lambda: bare(folder)), ms(here)) for _ in range(rounds)]
    ours, peer, limit = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"start of a program   {ours:6.2f} ms  (asked: {TARGET_MS} ms), {ours / peer:.1f} x a bare command ({peer:.2f} ms)"
    )
    print(f"limit, in place      {limit:6.2f} ms  we are {ours / limit:.1f} x that")
    with_fuel, without = loop(fuel=True), loop(fuel=False)
    pairs = [(ms(with_fuel), ms(without)) for _ in range(9)]
    ratio = statistics.median(one / other for one, other in pairs)
    rate = STEPS / statistics.median(one for one, _ in pairs) / 1000
    print(f"a counting loop      {rate:6.0f} M turns/s with fuel, {ratio:.2f} x the time without")


if __name__ == "__main__":
    main()
