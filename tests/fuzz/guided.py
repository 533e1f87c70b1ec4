"""Fuzz decoders with atheris, which is guided by the lines that inputs reach: by hand and for as long as wanted.

    uv venv fuzzing --python 3.11 && uv pip install -p fuzzing atheris
    PYTHONPATH=src:.venv/lib/python3.11/site-packages nice fuzzing/bin/python -m tests.fuzz.guided TARGET|all [COUNT] [SECONDS]

Atheris watches which lines the inputs reach and changes those that reach new ones. It needs an environment of its own and is
no dependency: what it throws bytes at are the same targets that `test_targets.py` runs with Hypothesis each time, and
`fuzz.py` ten million times at night.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["worldos.store", "worldos.depot.wire", "worldos.trust", "worldos.model", "worldos.fabric"]
):
    from tests.fuzz.targets import TARGETS

COUNT_DEFAULT = 100_000


def fuzz(target: str, count: int, seconds: int) -> int:
    """Throw ``count`` inputs at one target in a process of its own; return its exit status."""
    with tempfile.TemporaryDirectory(prefix="wos-fuzz-") as corpus:
        for number, seed in enumerate(TARGETS[target].seeds):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        process = os.fork()
        if process:
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        limits = [f"-runs={count}", "-max_len=8192", "-verbosity=0", "-print_final_stats=1", "-close_fd_mask=1"]
        if seconds:
            limits.append(f"-max_total_time={seconds}")
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix=/tmp/wos-find-{target}-", corpus], TARGETS[target].run)
        atheris.Fuzz()  # it ends the process
    return 0


def main() -> int:
    """Read which target, how many inputs and how many seconds each; say how each one ended."""
    wanted, count, seconds = [*sys.argv[1:], *["all", COUNT_DEFAULT, 0][len(sys.argv) - 1 :]][:3]
    failed = 0
    for target in TARGETS if wanted == "all" else [wanted]:
        begun = time.monotonic()
        status = fuzz(target, int(count), int(seconds))
        failed += status != 0
        print(
            f"{target}: {'ok' if status == 0 else f'FOUND SOMETHING ({status})'}, {time.monotonic() - begun:.1f} s",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
