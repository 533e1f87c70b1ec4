"""WebAssembly: a stranger's program, which sees of this machine its own folder and nothing else.

The program is a WASI command (``.wasm``, or ``.wat`` as text). It runs in a child of the worker, forked when the runtime is
already loaded, so that it begins in a few milliseconds. What it may take is counted by the runtime itself: *fuel*, about one
unit an instruction, the same on every machine; memory up to the lease's; its folder by handles from which no path leads out.
There are no sockets, no processes, no threads and no environment but what its holder sends. The limits of the lease (cage)
hold for the child as well, so a module that is long to compile or cheats the runtime is still inside them.

Invariant: nothing that the holder sent is unpickled or executed by Python where this is in force. Memory in bytes.
Source: WASI preview 1 (github.com/WebAssembly/WASI); wasmtime 50, Config.consume_fuel and Store.set_limits.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from worldos.errors import BadRequest

SUFFIXES: Final = (".wasm", ".wat")
FUEL_NAME: Final = "WOS_FUEL"  # in the command's environment: how much fuel it gets
FUEL_DEFAULT: Final = 10**13  # about an hour of one core
FUEL_MAX: Final = 2**62
MEMORY_BYTES_DEFAULT: Final = 256 << 20
MODULE_BYTES_MAX: Final = 64 << 20
START: Final = "_start"
TRAPPED: Final = 134  # the exit code of a program that broke a rule of the runtime, as of one that called abort()
POLL_SECONDS: Final = 0.005
FDS_MAX: Final = 4096  # a worker holds a few dozen


def is_here() -> bool:
    """Tell whether this machine can run WebAssembly at all."""
    return importlib.util.find_spec("wasmtime") is not None


def warm() -> None:
    """Load the runtime and its compiler now (some 100 ms), so that each program after it begins quickly."""
    if is_here():
        import wasmtime  # noqa: PLC0415 - optional, and slow to load

        wasmtime.Module(_engine(), bytes(wasmtime.wat2wasm("(module)")))


class WasmProcess:
    """A running program, to be treated like ``subprocess.Popen`` with pipes."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._code: int | None = None

    def wait(self, timeout_s: float | None = None) -> int:
        """Return its exit code, or less the number of the signal that ended it."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._code is None:
            pid, status = os.waitpid(self.pid, 0 if end_s is None else os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif end_s is not None and time.monotonic() > end_s:
                raise subprocess.TimeoutExpired("wasm", timeout_s or 0.0)
            else:
                time.sleep(POLL_SECONDS)
        return self._code


def start(argv: Sequence[str], folder: Path, env: Mapping[str, str], memory_bytes: int) -> WasmProcess:
    """Start a program of this folder in a child. Raises BadRequest for what is not one."""
    module = read_module(argv, folder)
    fuel = fuel_of(env)
    pipes = [os.pipe() for _ in range(3)]
    pid = os.fork()
    if pid == 0:
        _child(module, argv, folder, env, fuel, memory_bytes or MEMORY_BYTES_DEFAULT, pipes)
    os.setpgid(pid, pid)  # here too: a signal may be for the group before the child has come to it
    (in_read, in_write), (out_read, out_write), (error_read, error_write) = pipes
    for fd in (in_read, out_write, error_write):
        os.close(fd)
    opened: list[Any] = [os.fdopen(in_write, "wb", 0), os.fdopen(out_read, "rb", 0), os.fdopen(error_read, "rb", 0)]
    return WasmProcess(pid, *opened)


def read_module(argv: Sequence[str], folder: Path) -> bytes:
    """Return the module that a command names; only files below the folder, not links out of it."""
    hint = "take a WASI program along: wos run --isolation wasm --with prog.wasm -- prog.wasm"
    name = argv[0] if argv else ""
    if not name.endswith(SUFFIXES):
        raise BadRequest(f"{name[:200]}: only WebAssembly runs here, and this is not a .wasm file", hint=hint)
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise BadRequest(f"{name[:200]}: there is no such file among what was taken along", hint=hint)
    if path.stat().st_size > MODULE_BYTES_MAX:
        raise BadRequest(f"{name[:200]}: a module is at most {MODULE_BYTES_MAX >> 20} MB", hint="link it smaller")
    return path.read_bytes()


def fuel_of(env: Mapping[str, str]) -> int:
    """Return how much fuel the holder gives its program."""
    text = env.get(FUEL_NAME, "")
    if not text:
        return FUEL_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(FUEL_MAX)) and 0 < int(text) <= FUEL_MAX):
        raise BadRequest(
            f"{FUEL_NAME}={text[:40]!r} is not an amount of fuel", hint="about 10^9 are a second of a core"
        )
    return int(text)


def _child(
    module: bytes,
    argv: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    fuel: int,
    memory_bytes: int,
    pipes: list[tuple[int, int]],
) -> NoReturn:
    code = TRAPPED
    try:
        os.setpgid(0, 0)
        for fd, end in zip((0, 1, 2), (pipes[0][0], pipes[1][1], pipes[2][1]), strict=True):
            os.dup2(end, fd)
        os.closerange(3, FDS_MAX)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = run(module, argv, folder, env, fuel, memory_bytes)
    finally:
        os._exit(code)


def run(module: bytes, argv: Sequence[str], folder: Path, env: Mapping[str, str], fuel: int, memory_bytes: int) -> int:
    """Run a program to its end in this process, with this process's input and output; return its exit code."""
    import wasmtime  # noqa: PLC0415 - optional

    engine = _engine()
    try:
        program = wasmtime.Module(engine, module)
        store = wasmtime.Store(engine)
        store.set_fuel(fuel)
        store.set_limits(memory_size=memory_bytes, instances=1, memories=1, tables=16, table_elements=1_000_000)
        store.set_wasi(_wasi(wasmtime, argv, folder, env))
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        begin = linker.instantiate(store, program).exports(store).get(START)
        if not isinstance(begin, wasmtime.Func):
            return _told("it has no _start: it is a library, not a program")
        begin(store)
    except wasmtime.ExitTrap as ended:
        return int(ended.code) & 0xFF
    except wasmtime.Trap as trap:
        if trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL:
            return _told(f"its fuel is used up ({fuel} instructions); give it more: {FUEL_NAME}=...")
        return _told(str(trap).partition("\n")[0])
    except wasmtime.WasmtimeError as error:
        return _told(str(error).partition("\n")[0])
    return 0


@functools.cache
def _engine() -> Any:
    """Return the compiler, made once; a forked child has that of its parent."""
    import wasmtime  # noqa: PLC0415 - optional

    config = wasmtime.Config()
    config.consume_fuel = True
    config.wasm_threads = False
    config.parallel_compilation = False  # its threads would not be in the child
    return wasmtime.Engine(config)


def _wasi(wasmtime: Any, argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> Any:
    wasi = wasmtime.WasiConfig()
    wasi.argv = list(argv)
    wasi.env = [(name, text) for name, text in env.items() if name != FUEL_NAME]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.preopen_dir(str(folder), ".")
    return wasi


def _told(why: str) -> int:
    """Say on standard error why the program ended; its folder and output are as it left them."""
    os.write(2, f"wos: the program was stopped: {why[:500]}\n".encode())
    return TRAPPED
