"""WebAssembly: a stranger's program, which sees of this machine its own folder and nothing else.

The program is a WASI command (``.wasm``, or ``.wat`` as text). It runs in a child of the worker. What makes a child slow is the
memory that it shares with its parent: each page is copied at the first touch, a thousand of them until a program begins. So one
child is kept ready (``prepare``) that has rehearsed: it has run a program that does nothing, has those pages, and waits for its
real one. What was compiled is kept by the module's digest, in sealed memory, so the next task of an array compiles nothing.

What a program may take is counted by the runtime itself: *fuel*, about one unit an instruction, the same on every machine; memory
up to the lease's; its folder by handles from which no path leads out. There are no sockets, no processes, no threads and no
environment but what its holder sends. The limits of the lease (cage) hold for the child as well, so a module that is long to
compile or cheats the runtime is still inside them.

Invariant: nothing that the holder sent is unpickled or executed by Python where this is in force. Memory in bytes.
What was compiled is taken only if it was sealed by a child before the program of that child began. Source: WASI preview 1
(github.com/WebAssembly/WASI); wasmtime 50, Config.consume_fuel, Store.set_limits, Module.serialize; memfd_create(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import resource
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import msgspec

from worldos.errors import BadRequest

SUFFIXES: Final = (".wasm", ".wat")
FUEL_NAME: Final = "WOS_FUEL"  # in the command's environment: how much fuel it gets
FUEL_DEFAULT: Final = 10**13  # about an hour of one core
FUEL_MAX: Final = 2**62
MEMORY_BYTES_DEFAULT: Final = 256 << 20
MODULE_BYTES_MAX: Final = 64 << 20
START: Final = "_start"
TRAPPED: Final = 134  # the exit code of a program that broke a rule of the runtime, as of one that called abort()
FDS_MAX: Final = 4096  # a worker holds a few dozen
COMPILED_MAX: Final = 16  # modules of one worker
COMPILED_BYTES_MAX: Final = 64 << 20  # of each, as compiled
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
REHEARSAL: Final = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
 (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 0))))"""


def is_here() -> bool:
    """Tell whether this machine can run WebAssembly at all."""
    return importlib.util.find_spec("wasmtime") is not None


def load() -> None:
    """Load the runtime and its compiler (200 ms) now, for all that is forked from here on."""
    if is_here():
        _linked()


def warm() -> None:
    """Have a child rehearse, so that the first program begins quickly, too."""
    if is_here():
        prepare()


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is to run. Memory in bytes."""

    argv: list[str]
    folder: str
    env: dict[str, str]
    fuel: int
    memory_bytes: int


class WasmProcess:
    """A running program, to be treated like ``subprocess.Popen`` with pipes.

    Its child says itself that the program has ended: that all its memory is given back takes longer than a small program does.
    """

    def __init__(self, pid: int, control: socket.socket, pipes: Sequence[IO[bytes]]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self._control = control
        self._code: int | None = None

    def watch(self) -> int:
        """Return a descriptor that can be read when it has ended; the caller closes it."""
        return os.dup(self._control.fileno())

    def wait(self, timeout_s: float | None = None) -> int:
        """Return its exit code, or less the number of the signal that ended it."""
        if self._code is None:
            self._control.settimeout(timeout_s)
            try:
                said = self._control.recv(1)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("wasm", timeout_s or 0.0) from None
            except ConnectionResetError:  # ended before it had read its order
                said = b""
            self._control.close()
            if said:
                self._code = said[0]
                _dying.append(self.pid)
            else:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


class _Ready:
    """A child that has rehearsed, or does so, and waits for its order."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        pipes = [os.pipe() for _ in range(3)]
        self.pid = os.fork()
        if self.pid == 0:
            _child(theirs, (pipes[0][0], pipes[1][1], pipes[2][1]))
        os.setpgid(self.pid, self.pid)  # here too: a signal may be for the group before the child has come to it
        theirs.close()
        for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(fd)
        modes = ((pipes[0][1], "wb"), (pipes[1][0], "rb"), (pipes[2][0], "rb"))
        self._pipes: list[Any] = [os.fdopen(fd, mode, 0) for fd, mode in modes]

    def run(self, order: Order, compiled: int) -> WasmProcess:
        """Let it begin. Raises OSError if it is no more."""
        words = msgspec.msgpack.encode(order)
        socket.send_fds(self._control, [len(words).to_bytes(4, "little")], [compiled])
        self._control.sendall(words)
        return WasmProcess(self.pid, self._control, self._pipes)

    def end(self) -> None:
        """Let it go without having run anything."""
        for end in (self._control, *self._pipes):
            end.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


_ready: list[_Ready] = []  # one at most
_dying: list[int] = []  # children whose programs have ended
_compiled: dict[bytes, int] = {}  # the digest of a module: sealed memory with what was made of it, or empty


def prepare() -> None:
    """Have a child ready for the next program, and bury those of the last."""
    _dying[:] = [pid for pid in _dying if not os.waitpid(pid, os.WNOHANG)[0]]
    if not _ready:
        _ready.append(_Ready())


def rest() -> None:
    """Let the child that waits go, and what was compiled; the next program is slow to begin."""
    while _ready:
        _ready.pop().end()
    while _dying:
        os.waitpid(_dying.pop(), 0)
    while _compiled:
        os.close(_compiled.popitem()[1])


def start(argv: Sequence[str], folder: Path, env: Mapping[str, str], memory_bytes: int) -> WasmProcess:
    """Start a program of this folder in a child. Raises BadRequest for what is not one."""
    module = read_module(argv, folder)
    told = {name: text for name, text in env.items() if name != FUEL_NAME}
    most = memory_bytes or MEMORY_BYTES_DEFAULT
    order = Order(argv=list(argv), folder=str(folder), env=told, fuel=fuel_of(env), memory_bytes=most)
    compiled = _compiled_of(module)
    prepare()
    child = _ready.pop()
    try:
        return child.run(order, compiled)
    except OSError:  # somebody has ended it while it waited
        child.end()
        return _Ready().run(order, compiled)


def _compiled_of(module: bytes) -> int:
    """Return the memory for what is made of a module; the oldest makes room."""
    digest = hashlib.blake2b(module, digest_size=32).digest()
    fd = _compiled.pop(digest, -1)
    if fd < 0:
        fd = os.memfd_create("worldos-wasm", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    _compiled[digest] = fd
    if len(_compiled) > COMPILED_MAX:
        os.close(_compiled.pop(next(iter(_compiled))))
    return fd


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


def _child(control: socket.socket, ends: tuple[int, int, int]) -> NoReturn:
    """Be a child: rehearse, wait for the order, run it; never return."""
    code = TRAPPED
    try:
        os.setpgid(0, 0)
        for fd, end in zip((0, 1, 2), ends, strict=True):
            os.dup2(end, fd)
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, FDS_MAX)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = _performed(control)
        for fd in (0, 1, 2):
            os.close(fd)
        control.send(bytes([code]))
    finally:
        os._exit(code)


def _performed(control: socket.socket) -> int:
    engine, linker = _linked()
    if not select.select([control], [], [], 0)[0]:
        _rehearse(engine, linker)
    size, fds, _flags, _from = socket.recv_fds(control, 4, 1)
    if not size:
        return 0
    words = bytearray()
    while len(words) < int.from_bytes(size, "little"):
        words += control.recv(1 << 20)
    order = msgspec.msgpack.decode(bytes(words), type=Order)
    try:
        program = _program(engine, fds[0], None if _is_sealed(fds[0]) else read_module(order.argv, Path(order.folder)))
        os.close(fds[0])
    except Exception as error:  # noqa: BLE001 - whatever it was, it is about what the holder has sent
        return _told(str(error).partition("\n")[0])
    return _run(engine, linker, program, order)


def _rehearse(engine: Any, linker: Any) -> None:
    """Run a program that does nothing, compiled and taken from what was kept."""
    kept = os.memfd_create("worldos-wasm", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rehearsal = Order(argv=["rehearsal.wasm"], folder="/", env={}, fuel=FUEL_MAX, memory_bytes=1 << 20)
    _program(engine, kept, REHEARSAL.encode())
    order = msgspec.msgpack.decode(msgspec.msgpack.encode(rehearsal), type=Order)
    with contextlib.suppress(BadRequest):
        read_module(order.argv, Path(order.folder))
    _run(engine, linker, _program(engine, kept, None), order)
    os.close(kept)


def _program(engine: Any, kept: int, module: bytes | None) -> Any:
    """Return a compiled module: made of ``module`` and kept, or as it was kept."""
    import wasmtime  # noqa: PLC0415 - optional

    if module is None or _is_sealed(kept):
        return wasmtime.Module.deserialize_file(engine, f"/proc/self/fd/{kept}")
    made = wasmtime.Module(engine, module)
    compiled = bytes(made.serialize())
    if len(compiled) <= COMPILED_BYTES_MAX:
        os.truncate(kept, 0)
        with open(os.dup(kept), "wb") as file:
            file.write(compiled)
        fcntl.fcntl(kept, fcntl.F_ADD_SEALS, SEALS)
    return made


def _is_sealed(kept: int) -> bool:
    return fcntl.fcntl(kept, fcntl.F_GET_SEALS) & SEALS == SEALS


def _run(engine: Any, linker: Any, program: Any, order: Order) -> int:
    """Run a program to its end in this process, with this process's input and output; return its exit code."""
    import wasmtime  # noqa: PLC0415 - optional

    try:
        store = wasmtime.Store(engine)
        store.set_fuel(order.fuel)
        store.set_limits(memory_size=order.memory_bytes, instances=1, memories=1, tables=16, table_elements=1_000_000)
        store.set_wasi(_wasi(wasmtime, order))
        begin = linker.instantiate(store, program).exports(store).get(START)
        if not isinstance(begin, wasmtime.Func):
            return _told("it has no _start: it is a library, not a program")
        begin(store)
    except wasmtime.ExitTrap as ended:
        return int(ended.code) & 0xFF
    except wasmtime.Trap as trap:
        if trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL:
            return _told(f"its fuel is used up ({order.fuel} instructions); give it more: {FUEL_NAME}=...")
        return _told(str(trap).partition("\n")[0])
    except wasmtime.WasmtimeError as error:
        return _told(str(error).partition("\n")[0])
    return 0


@functools.cache
def _linked() -> tuple[Any, Any]:
    """Return the compiler and the calls that programs may make, made once; a forked child has those of its parent."""
    import wasmtime  # noqa: PLC0415 - optional, and slow to load

    config = wasmtime.Config()
    config.consume_fuel = True
    config.wasm_threads = False
    config.parallel_compilation = False  # its threads would not be in the child
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    return engine, linker


def _wasi(wasmtime: Any, order: Order) -> Any:
    wasi = wasmtime.WasiConfig()
    wasi.argv = order.argv
    wasi.env = list(order.env.items())
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.preopen_dir(order.folder, ".")
    return wasi


def _told(why: str) -> int:
    """Say on standard error why the program ended; its folder and output are as it left them."""
    os.write(2, f"wos: the program was stopped: {why[:500]}\n".encode())
    return TRAPPED
