"""Engines in environments of their own: found on the node where they are there already, else installed beside its home.

An environment is the folder ``engines/NAME-VERSION-...`` of the home; the file ``ready`` in it is written last, so one that
was cut off is made anew. Who installs holds a lock: a second asker waits, and finds it ready. The agent's own Python is
never changed. Packages come by uv where it is there (it also brings another version of Python), else by venv and pip.
Source: PEP 405 (virtual environments), PEP 508 (requirements).
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from worldos.engines.limits import INSTALL_SECONDS, TAIL_BYTES
from worldos.engines.software import Installed, ProgramSoftware, PythonSoftware, Software
from worldos.errors import BadRequest, DiskFull, Unreachable, WorldError
from worldos.home import Home

Told = Callable[[str], None]

_VERSIONS: Final = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
"""
READY: Final = "ready"
ANSWER_SECONDS: Final = 5.0
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?(?:==([A-Za-z0-9.!+-]+))?$")
_NO_WAY_OUT = re.compile(
    r"dns error|resolve|connection (refused|reset|error)|connecterror|network is unreachable|timed? ?out|offline"
    r"|error sending request|failed to fetch|new connection",
    re.IGNORECASE,
)
_NO_ROOM = re.compile(r"no space left|errno 28", re.IGNORECASE)


def ensure(software: Software, home: Home, told: Told) -> Installed:
    """Return where it is, after installing it if need be; ``told`` hears in a few words how far that is."""
    found = find(software, home)
    if found is not None:
        return found
    if not software.requirements:
        assert isinstance(software, ProgramSoftware)
        raise BadRequest(f"{software.name} {software.version} is not installed there", hint=software.hint)
    folder = folder_of(software, home)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told(f"waiting for another to install {software.name} {software.version}")
    with _locked(folder):
        if not (folder / READY).exists():
            _make(software, folder, told)
    installed = _in(software, folder)
    if installed is None:
        raise WorldError(f"{folder} has not what {software.name} needs", hint=f"remove that folder: rm -r {folder}")
    return installed


def find(software: Software, home: Home) -> Installed | None:
    """Return where it is, if it is there already."""
    match software:
        case PythonSoftware():
            if software.python == _own_version() and _has(software.requirements):
                return Installed(python=sys.executable, bin=str(Path(sys.executable).parent))
        case ProgramSoftware():
            bins = [folder for pattern in software.folders for folder in sorted(glob.glob(pattern), key=_numbers)]
            for folder in reversed(bins):
                if all(os.access(Path(folder) / program, os.X_OK) for program in software.programs):
                    return Installed(python=sys.executable, bin=folder)
    own = folder_of(software, home)
    return _in(software, own) if (own / READY).exists() else None


def folder_of(software: Software, home: Home) -> Path:
    """Return the folder of its environment: another for each set of packages."""
    alike = hashlib.sha256(msgspec.json.encode(software)).hexdigest()[:8]
    return home.path / "engines" / f"{software.name}-{software.version}-{alike}"


def made(home: Home) -> list[tuple[str, int]]:
    """Return the environments that were made here: name and bytes on disk."""
    folders = sorted((home.path / "engines").glob(f"*/{READY}"))
    return [(ready.parent.name, _size(ready.parent)) for ready in folders]


def _in(software: Software, folder: Path) -> Installed | None:
    python = folder / "bin" / "python"
    if isinstance(software, PythonSoftware):
        return Installed(python=str(python), bin=str(python.parent), own=True) if python.exists() else None
    bins = sorted(folder.glob(f"lib/python3*/site-packages/{software.packaged}"))
    return Installed(python=sys.executable, bin=str(bins[0]), own=True) if bins else None


def _make(software: Software, folder: Path, told: Told) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    python = software.python if isinstance(software, PythonSoftware) else _own_version()
    extras = software.extras if isinstance(software, PythonSoftware) else ()
    wanted = [*software.requirements, *extras]
    told(f"installing {software.name} {software.version} ({len(wanted)} packages)")
    uv = _uv()
    try:
        if uv is not None:
            _do([uv, "venv", "--quiet", "--python", python, str(folder)], told)
            _do([uv, "pip", "install", "--python", str(folder / "bin/python"), *wanted], told)
        else:
            if python != _own_version():
                raise BadRequest(
                    f"{software.name} needs Python {python}, and this node has {_own_version()}",
                    hint="install uv on that node: it brings other versions of Python",
                )
            _do([sys.executable, "-m", "venv", str(folder)], told)
            _do([str(folder / "bin/python"), "-m", "pip", "install", "--no-input", *wanted], told)
        (folder / READY).write_text(" ".join(wanted) + "\n")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _uv() -> str | None:
    """Return uv, where one works: a name on the path may lead to an empty shim."""
    uv = shutil.which("uv")
    if uv is None or subprocess.run([uv, "--version"], capture_output=True, check=False).returncode:  # noqa: S603
        return None
    return uv


def _do(argv: list[str], told: Told) -> None:
    """Run an installer; what it says is told as it goes, and is the reason if it fails."""
    env = {"UV_SYSTEM_CERTS": "true", **os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    said = ""
    with subprocess.Popen(  # noqa: S603 - an installer with arguments of ours and of the lease's holder
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said = (said + line)[-TAIL_BYTES:]
                told(line.strip()[:120] or "installing")
            process.wait(INSTALL_SECONDS)
        finally:
            process.kill()
    if process.returncode:
        raise _why_not(argv, said)


def _why_not(argv: list[str], said: str) -> WorldError:
    what = " ".join(argv[-3:])[:200]
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "no word")[:300]
    if _NO_ROOM.search(said):
        return DiskFull(f"no room to install {what}", hint="free some space on that node's disk")
    if _NO_WAY_OUT.search(said):
        hint = "this node cannot reach the package index: install it there by hand, or use a node that has it"
        return Unreachable(f"{what} could not be fetched: {last}", hint=hint)
    return BadRequest(f"{what} cannot be installed: {last}", hint="see that these packages exist in these versions")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _has(requirements: Sequence[str]) -> bool:
    """Tell whether the agent's Python has all of them; what is not a plain name or pin is left to the installer.

    A fresh one is asked: a worker also finds what the program that holds it has.
    """
    matches = [_PINNED.match(requirement) for requirement in requirements]
    wanted = {match[1]: match[3] for match in matches if match is not None}
    if len(wanted) < len(requirements):
        return False
    asked = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _VERSIONS, *wanted], capture_output=True, text=True, check=False
    )
    there = dict(line.split() for line in asked.stdout.splitlines())
    return all(name in there and version in {None, there[name]} for name, version in wanted.items())


def _own_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _numbers(path: str) -> tuple[tuple[int, ...], str]:
    return tuple(map(int, re.findall(r"\d+", path))), path


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
