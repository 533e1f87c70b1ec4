"""A warm interpreter is one as any other, but for the time it takes to start."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from worldos.lanes.child import Child
from worldos.lanes.limits import SANDBOX_OPEN_MAX
from worldos.lanes.warm import is_module, start

THREAD = """
import sys, threading, time
threading.Thread(target=lambda: (time.sleep(0.1), print("waited", file=sys.stderr))).start()
"""


def run(folder: Path, text: str, *words: str, **env: str) -> tuple[int, str, str]:
    """Run a module with this text; return code, output, errors."""
    (folder / "step.py").write_text(text)
    process = start(["{python}", "-m", "step", *words], folder, {**os.environ, **env})
    return ended(process)


def ended(process: Child) -> tuple[int, str, str]:
    process.stdin.close()
    out, err = process.stdout.read().decode(), process.stderr.read().decode()
    code = process.wait()
    process.stdout.close()
    process.stderr.close()
    return code, out, err


def test_it_runs_a_module_of_its_folder_as_main(tmp_path: Path) -> None:
    text = "import os, sys; print(__name__, sys.argv[1:], os.environ['GIVEN'], os.getcwd()); sys.exit(7)"
    assert run(tmp_path, text, "a", "b", GIVEN="x") == (7, f"__main__ ['a', 'b'] x {tmp_path}\n", "")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("pass", 0, ""),
        ("raise SystemExit('no more')", 1, "no more"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os._exit(9)", 9, ""),
        ("import atexit, sys; atexit.register(lambda: print('at the end', file=sys.stderr))", 0, "at the end"),
        (THREAD, 0, "waited"),
    ],
)
def test_it_ends_as_an_interpreter_does(tmp_path: Path, text: str, code: int, said: str) -> None:
    found = run(tmp_path, text)
    assert found[0] == code
    assert said in found[2]


def test_it_starts_where_few_files_may_be_open_as_in_a_sandbox(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SANDBOX_OPEN_MAX, hard))
    try:
        assert run(tmp_path, "print('here')") == (0, "here\n", "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_of_the_worker_is_open_in_it(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        code, out, _ = run(tmp_path, "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))")
    assert code == 0
    assert out in {"[0, 1, 2, 3]\n", "[0, 1, 2]\n"}  # 3: that of the listing itself


def test_signals_find_it_as_they_would_any_command(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text("import time; print('ready', flush=True); time.sleep(100)")
    process = start(["{python}", "-m", "step"], tmp_path, dict(os.environ))
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert ended(process)[0] == -signal.SIGTERM


def test_this_process_stays_as_it_was(tmp_path: Path) -> None:
    before = (os.getcwd(), sys.stdout, sys.argv, dict(os.environ))
    run(tmp_path, "import os; os.environ['X'] = 'y'; os.chdir('/')")
    assert (os.getcwd(), sys.stdout, sys.argv, dict(os.environ)) == before


def test_a_script_is_no_module() -> None:
    assert is_module(["{python}", "-m", "step"])
    assert not is_module(["{python}", "step.py"])
    assert not is_module(["{python}", "-c", "pass"])
