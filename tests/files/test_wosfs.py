"""``wos://`` for fsspec: its own abstract suite, and pandas, on real depots."""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.tests import abstract
from tests.files.depots import Site, files_of

from worldos.files import wosfs
from worldos.files.files import Files
from worldos.files.wosfs import WosFileSystem


@pytest.fixture(scope="module")
def shared_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """The files of one account on four depots in memory, for all tests of this module: no test here is about disks."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="wos-d-", dir=memory) as folder:
        depots = Site(Path(folder), 4, own_process=False)
        with files_of(depots, tmp_path_factory.mktemp("home")) as files:
            yield files
        depots.end()


@pytest.fixture(scope="module")
def wos(shared_files: Files) -> Iterator[WosFileSystem]:
    """Let every ``wos://`` of this process mean these depots."""
    before = wosfs._session
    wosfs._session = lambda home: before(home) if home else shared_files
    yield WosFileSystem()
    wosfs._session = before


@pytest.fixture
def fs(wos: WosFileSystem) -> WosFileSystem:
    return wos


class WosFixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, wos: WosFileSystem) -> WosFileSystem:
        return wos

    @pytest.fixture
    def fs_path(self, fs: WosFileSystem) -> Iterator[str]:
        fs.makedirs("suite", exist_ok=True)
        yield "suite"
        if fs.exists("suite"):
            fs.rm("suite", recursive=True)

    @pytest.fixture
    def fs_sanitize_path(self):
        return lambda path: path

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def local_path(self, tmpdir) -> str:
        return make_path_posix(str(tmpdir))


@pytest.mark.slow
class TestCopy(abstract.AbstractCopyTests, WosFixtures): ...


@pytest.mark.slow
class TestGet(abstract.AbstractGetTests, WosFixtures): ...


@pytest.mark.slow
class TestPut(abstract.AbstractPutTests, WosFixtures): ...


@pytest.mark.slow
class TestOpen(abstract.AbstractOpenTests, WosFixtures): ...


@pytest.mark.slow
class TestPipe(abstract.AbstractPipeTests, WosFixtures): ...


def test_the_url_alone_finds_it(fs: WosFileSystem) -> None:
    with fsspec.open("wos://hello/you.txt", "w") as file:
        file.write("hello")
    found, path = fsspec.url_to_fs("wos://hello/you.txt")
    assert isinstance(found, WosFileSystem)
    assert (path, found.cat(path)) == ("hello/you.txt", b"hello")
    fs.rm("hello", recursive=True)


def test_a_table_comes_back_as_it_was(fs: WosFileSystem) -> None:
    table = pd.DataFrame({"n": range(10_000), "s": [f"row {n} ü" for n in range(10_000)]})
    table.to_parquet("wos://data/t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("wos://data/t.parquet"), table)
    assert list(pd.read_parquet("wos://data/t.parquet", columns=["n"])) == ["n"]
    table.to_csv("wos://data/t.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv("wos://data/t.csv"), table)
    fs.rm("data", recursive=True)


def test_a_file_whose_block_failed_is_not_there(fs: WosFileSystem) -> None:
    def fail() -> None:
        with fs.open("half", "wb") as file:
            file.write(b"x" * 10_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not fs.exists("half")


def test_in_a_transaction_all_appear_or_none(fs: WosFileSystem) -> None:
    with fs.transaction:
        with fs.open("t/one", "wb") as file:
            file.write(b"1")
        assert not fs.exists("t/one")
    assert fs.cat("t/one") == b"1"

    def fail() -> None:
        with fs.transaction:
            with fs.open("t/two", "wb") as file:
                file.write(b"2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not fs.exists("t/two")
    fs.rm("t", recursive=True)


def test_more_is_written_at_the_end(fs: WosFileSystem) -> None:
    fs.pipe("log", b"one\n")
    with fs.open("log", "ab") as file:
        file.write(b"two\n")
    assert fs.cat("log") == b"one\ntwo\n"
    fs.rm("log")


def test_parts_are_read_alone(fs: WosFileSystem) -> None:
    data = bytes(range(256)) * 40_000
    fs.pipe("big", data)
    with fs.open("big", "rb") as file:
        file.seek(-5, 2)
        assert file.read() == data[-5:]
        file.seek(5_000_001)
        assert file.read(10) == data[5_000_001:5_000_011]
    assert fs.cat_file("big", start=-3) == data[-3:]
    assert fs.cat_file("big", 10, 20) == data[10:20]
    assert fs.cat_file("big", 20, 10) == b""
    assert fs.cat_ranges(["big", "big"], [0, 100], [4, 104]) == [data[:4], data[100:104]]
    fs.rm("big")


def test_what_is_not_there_is_said_as_python_says_it(fs: WosFileSystem) -> None:
    for act in (fs.info, fs.ls, fs.cat, fs.rm, lambda name: fs.open(name).read(), lambda name: fs.mv(name, "b")):
        with pytest.raises(FileNotFoundError):
            act("no/such")
    fs.mkdir("folder")
    with pytest.raises(IsADirectoryError):
        fs.open("folder", "wb")
    with pytest.raises(FileExistsError):
        fs.mkdir("folder")
    fs.pipe("folder/a", b"")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("folder")
    fs.rm("folder", recursive=True)


def test_a_move_is_one_act(fs: WosFileSystem) -> None:
    fs.pipe({"m/a/1": b"1", "m/a/2": b"2"})
    fs.mv("m/a", "m/b", recursive=True)
    assert fs.find("m") == ["m/b/1", "m/b/2"]
    fs.mkdir("m/c")
    fs.mv("m/b", "m/c/")
    assert fs.find("m") == ["m/c/b/1", "m/c/b/2"]
    fs.rm("m", recursive=True)


def test_what_changes_has_another_mark(fs: WosFileSystem) -> None:
    fs.pipe("v", b"1")
    first = fs.ukey("v")
    assert fs.ukey("v") == first
    fs.pipe("v", b"2")
    assert fs.ukey("v") != first
    assert fs.modified("v").tzinfo is not None
    fs.rm("v")


def test_it_travels_between_processes_and_threads(fs: WosFileSystem) -> None:
    assert pickle.loads(pickle.dumps(fs)) == fs
    fs.pipe("n", b"1")
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(WosFileSystem().cat("n"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"1"] * 8
    fs.rm("n")


def test_where_no_agent_runs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No World OS agent"):
        WosFileSystem(home=str(tmp_path)).ls("")
