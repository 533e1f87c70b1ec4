"""WebAssembly in a worker: what a stranger's program can do, what it cannot, and what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Here, eventually
from test_running import ended
from test_worker import Wire

from worldos.errors import BadRequest, LeaseEnded
from worldos.lanes import parcel, wasm, wire
from worldos.lanes.command import run_command
from worldos.lanes.link import Door
from worldos.lanes.wire import FrameKind

IMPORTS = """
(module
 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
 (memory (export "memory") 1)
"""
ECHO = (
    IMPORTS
    + """
 (func (export "_start")
  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1000))
  (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
  (i32.store (i32.const 4) (i32.load (i32.const 16)))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
  (call $exit (i32.const 3))))
"""
)
FOREVER = IMPORTS + '(func (export "_start") (loop $again (br $again))))'
GREEDY = (
    IMPORTS
    + """
 (func (export "_start")
  (if (i32.eq (memory.grow (i32.const 16000)) (i32.const -1)) (then (call $exit (i32.const 9))))))
"""
)


@pytest.fixture(autouse=True, scope="module")
def stage() -> Iterator[None]:
    yield
    wasm.rest()


def opens(path: str, flags: int = 0) -> str:
    """Return a program that opens a path below its folder, and exits with the error that it got (0: it was let in)."""
    rights = "(i64.const 2)" if not flags else "(i64.const 64)"
    return (
        IMPORTS
        + f"""
 (data (i32.const 100) "{path}")
 (func (export "_start")
  (call $exit (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const {len(path)}) (i32.const {flags})
   {rights} (i64.const 0) (i32.const 0) (i32.const 32)))))
"""
    )


def run(folder: Path, text: str, env: dict[str, str] | None = None, memory_bytes: int = 0) -> tuple[int, str]:
    """Run a program in a child of this process; return its exit code and what it was told."""
    (folder / "prog.wat").write_text(text)
    process = wasm.start(["prog.wat"], folder, env or {}, memory_bytes)
    process.stdin.close()
    told = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    return process.wait(), told


def test_a_program_reads_its_input_writes_its_output_and_exits(here: Here, tmp_path: Path) -> None:
    program = tmp_path / "echo.wat"
    program.write_text(ECHO)
    _lease, doors = here.open(workers=1, env={"WORLDOS_ISOLATION": "wasm"})
    input_read, input_write = os.pipe()
    os.write(input_write, b"over the hills\n")
    os.close(input_write)
    output = tmp_path / "out"
    with output.open("wb") as out:
        door = Door(path=doors[0].path, node="here", local=True)
        code = run_command(door, ["echo.wat"], inputs=[program], results=False, stdin=input_read, stdout=out.fileno())
    os.close(input_read)
    assert (code, output.read_bytes()) == (3, b"over the hills\n")


def test_python_is_not_run_where_only_webassembly_may(here: Here) -> None:
    lane = here.lane(workers=1, env={"WORLDOS_ISOLATION": "wasm"})
    with pytest.raises(BadRequest, match="only WebAssembly"):
        lane.submit_call(os.getpid, (), {}, retries=0).result(60)
    lane.close(LeaseEnded())


def test_a_command_of_the_machine_is_not_run_either(here: Here) -> None:
    _lease, doors = here.open(workers=1, env={"WORLDOS_ISOLATION": "wasm"})
    talk = Wire(doors[0])
    talk.greet()
    talk.say(FrameKind.EXEC, wire.Exec(argv=["sh", "-c", "id"], results=False))
    code, why = ended(talk)
    assert code
    assert "only WebAssembly" in why
    talk.sock.close()


def test_a_signal_ends_it(here: Here, tmp_path: Path) -> None:
    (tmp_path / "p.wat").write_text(FOREVER)
    _lease, doors = here.open(workers=1, env={"WORLDOS_ISOLATION": "wasm"})
    talk = Wire(doors[0])
    talk.greet()
    parcel.pack([("p.wat", tmp_path / "p.wat")], lambda data: talk.say(FrameKind.INPUT, None, bytes(data)))
    talk.say(FrameKind.INPUT, None, b"")
    talk.say(FrameKind.EXEC, wire.Exec(argv=["p.wat"], results=False))
    talk.say(FrameKind.SIGNAL, int(signal.SIGKILL))
    assert ended(talk)[0] == 128 + signal.SIGKILL
    talk.sock.close()


def test_fuel_ends_what_never_ends(tmp_path: Path) -> None:
    code, told = run(tmp_path, FOREVER, {wasm.FUEL_NAME: "1000000"})
    assert code == wasm.TRAPPED
    assert "fuel is used up (1000000 instructions)" in told


def test_memory_beyond_the_lease_is_not_had(tmp_path: Path) -> None:
    assert run(tmp_path, GREEDY, memory_bytes=16 << 20)[0] == 9
    assert run(tmp_path, GREEDY, memory_bytes=2 << 30)[0] == 0


def test_it_reads_its_folder_and_no_path_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("s")
    (folder / "mine").write_text("m")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "root").symlink_to("/")
    assert run(folder, opens("mine"))[0] == 0
    for path in ("../secret", "/etc/passwd", "link", "root/etc/passwd", "./.././secret", "../folder/../secret"):
        assert run(folder, opens(path))[0] != 0, path


def test_what_is_no_program_is_told_so(tmp_path: Path) -> None:
    code, told = run(tmp_path, "(module)")
    assert (code, "no _start" in told) == (wasm.TRAPPED, True)
    code, told = run(tmp_path, '(module (import "env" "socket" (func)))')
    assert code == wasm.TRAPPED
    assert "socket" in told
    assert run(tmp_path, "\0asm garbage")[0] == wasm.TRAPPED


@pytest.mark.parametrize("name", ["sh", "missing.wasm", "../secret.wasm", "/etc/passwd.wasm"])
def test_only_a_module_that_came_along_is_started(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.wasm").write_bytes(b"\0asm")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(BadRequest):
        wasm.start([name], folder, {}, 0)


def test_what_was_compiled_is_compiled_once_and_a_child_that_ended_while_it_waited_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "echo.wat").write_text(ECHO + "  ;; once")
    (tmp_path / "worse.wat").write_text("(module (func")
    wasm.rest()
    said = []
    for name in ("echo.wat", "worse.wat", "echo.wat"):
        wasm.prepare()
        if said:
            os.kill(wasm._ready[0].pid, signal.SIGKILL)
            os.waitid(os.P_PID, wasm._ready[0].pid, os.WEXITED | os.WNOWAIT)
        process = wasm.start([name], tmp_path, {}, 0)
        if name == "echo.wat":
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.0)
            process.stdin.write(b"far away")
        said.append((process.wait(30), process.stdout.read()))
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    assert said == [(3, b"far away"), (134, b""), (3, b"far away")]
    assert [wasm._is_sealed(fd) for fd in wasm._compiled.values()] == [False, True], "in order of their use"
    assert eventually(lambda: wasm.prepare() or not wasm._dying), "those that have ended are buried"


@pytest.mark.parametrize("fuel", ["-1", "0", "1e9", "9" * 30, "much"])
def test_an_odd_amount_of_fuel_is_refused(fuel: str) -> None:
    with pytest.raises(BadRequest, match="fuel"):
        wasm.fuel_of({wasm.FUEL_NAME: fuel})
