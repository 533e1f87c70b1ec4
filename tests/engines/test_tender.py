"""The tender keeps processes in a folder: here in this process, as it does in the worker of a lease."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import until

from worldos.engines import tender
from worldos.engines.plan import Process
from worldos.engines.software import ProgramSoftware
from worldos.engines.tender import Tender
from worldos.errors import BadRequest, WorldError
from worldos.home import Home


@pytest.fixture
def tends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tender]:
    monkeypatch.chdir(tmp_path)
    one = Tender()
    yield one
    one.end(2)


def python(name: str, script: str, **more: object) -> Process:
    return Process(name=name, argv=("{python}", "-u", "-c", script), **more)  # type: ignore[arg-type]


def until_ready(tends: Tender) -> None:
    for _ in range(200):
        seen = tends.look(0.1)
        assert all(each.code is None for each in seen), seen
        if all(each.ready for each in seen):
            return
    raise AssertionError("never ready")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_process_is_ready_when_it_says_so(tends: Tender) -> None:
    tends.begin(
        python(
            "one",
            "import time; print('warming'); time.sleep(0.3); print('up and running'); time.sleep(60)",
            ready="up and",
        )
    )
    assert not tends.look(0.0)[0].ready
    until_ready(tends)
    assert "warming" in tends.look(0.0)[0].said


def test_a_process_is_not_ready_before_it_listens(tends: Tender) -> None:
    (port,) = tender.free_ports(1)
    script = f"import socket,sys; print('up'); sys.stdin.buffer; s = socket.create_server(('127.0.0.1', {port})); "
    script += "print('open'); s.accept()"
    tends.begin(python("one", script, ready="up", listens=(port,)))
    until_ready(tends)
    assert port in tender.listening(os.getpid())


def test_what_ends_is_seen_with_its_last_words(tends: Tender) -> None:
    tends.begin(python("one", "raise SystemExit('no such luck')", ready="never"))
    deadline = time.monotonic() + 30
    while (seen := tends.look(0.5)[0]).code is None:
        assert time.monotonic() < deadline
    assert seen.code == 1
    assert tender.last_words(seen.said) == "no such luck"


def test_files_and_folders_are_filled_in(tends: Tender, tmp_path: Path) -> None:
    script = (
        "import sys, os; print(open(sys.argv[1]).read(), os.environ['AT'], flush=True); __import__('time').sleep(60)"
    )
    process = Process(
        name="one",
        argv=("{python}", "-c", script, "{work}/settings"),
        env={"AT": "{work}/there"},
        files={"settings": b"data={work}"},
        ready="there",
    )
    tends.begin(process)
    until_ready(tends)
    assert tends.look(0.0)[0].said.split() == [f"data={tmp_path}", f"{tmp_path}/there"]
    assert (tmp_path / "settings").stat().st_mode & 0o777 == 0o600


def test_what_is_its_own_nanny_is_begun_again_a_few_times(tends: Tender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tender, "BEGUN_MAX", 2)
    tends.begin(python("one", "import time; print('up'); time.sleep(60)", ready="up", again=True))
    until_ready(tends)
    pid = tends._tended["one"].popen.pid
    os.kill(pid, signal.SIGKILL)
    tends._tended["one"].popen.wait(15)
    until_ready(tends)
    again = tends._tended["one"].popen
    assert again.pid != pid
    again.kill()
    again.wait(15)
    assert tends.look(0.0)[0].code == -signal.SIGKILL


def test_what_may_be_tried_is_begun_until_it_is_ready(tends: Tender, tmp_path: Path) -> None:
    script = "import os, time; os.path.exists('x') or (open('x', 'w'), os._exit(7)); print('up'); time.sleep(60)"
    tends.begin(python("one", script, ready="up", tries=2))
    tends._tended["one"].popen.wait(30)
    until_ready(tends)
    assert (tmp_path / "x").exists()


def test_what_never_was_ready_is_not_begun_again(tends: Tender) -> None:
    tends.begin(python("one", "raise SystemExit(7)", ready="up", again=True))
    tends._tended["one"].popen.wait(30)
    assert tends.look(0.0)[0].code == 7


def test_what_comes_before_must_end_well(tends: Tender) -> None:
    failing = ("{python}", "-c", "raise SystemExit('the disk is on fire')")
    with pytest.raises(WorldError, match="the disk is on fire"):
        tends.begin(python("one", "pass", before=(failing,)))
    assert tends.look(0.0) == ()


def test_two_of_one_name_and_what_cannot_be_run_are_refused(tends: Tender) -> None:
    tends.begin(python("one", "import time; time.sleep(60)"))
    with pytest.raises(BadRequest, match="already"):
        tends.begin(python("one", "pass"))
    with pytest.raises(WorldError, match="no-such-program cannot be run on this node: No such file"):
        tends.begin(Process(name="two", argv=("no-such-program",)))


def test_a_tool_is_run_beside_to_its_end(tends: Tender) -> None:
    ran = tends.run(("{python}", "-c", "import os,sys; print(os.environ['X']); sys.exit('end')"), {"X": "7"})
    assert (ran.code, ran.out, ran.said) == (1, b"7\n", "end\n")


def test_a_tool_that_takes_long_leaves_the_tender_free_to_answer(tends: Tender, tmp_path: Path) -> None:
    script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('gone')"
    number = tends.start(("{python}", "-c", script), {})
    assert tends.ended(number, 0.0) is None
    assert tends.look(0.0) == ()
    (tmp_path / "go").touch()
    ran = until(lambda: tends.ended(number, 0.5), "the tool has ended")
    assert (ran.code, ran.out) == (0, b"gone\n")
    missing = tends.start(("no-such-program",), {})
    with pytest.raises(WorldError, match="no-such-program cannot be run on this node"):
        until(lambda: tends.ended(missing, 0.5), "it is said")


def test_files_go_in_and_out_by_pieces_and_stay_in_the_folder(tends: Tender, tmp_path: Path) -> None:
    tends.write("dump", 0, b"old and much longer")
    tends.write("dump", 0, b"abc")
    tends.write("dump", 3, b"def")
    assert (tmp_path / "dump").read_bytes() == b"abcdef"
    assert [tends.read("dump", offset, 4) for offset in (0, 4, 8)] == [b"abcd", b"ef", b""]
    for name in ("../dump", "/etc/passwd", ".dump"):
        with pytest.raises(BadRequest):
            tends.read(name, 0, 1)


def test_the_end_asks_first_and_kills_what_stays(tends: Tender, tmp_path: Path) -> None:
    polite = "import signal,sys,time; signal.signal(2, lambda *_: (open('left','w').close(), sys.exit(0))); "
    polite += "print('on'); time.sleep(60)"
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    tends.begin(python("polite", polite, ready="on", end_signal=signal.SIGINT))
    tends.begin(python("deaf", deaf, ready="on"))
    until_ready(tends)
    pids = [tended.popen.pid for tended in tends._tended.values()]
    began = time.monotonic()
    tends.end(0.5)
    assert time.monotonic() - began < 15
    assert (tmp_path / "left").exists()
    assert all(gone(pid) for pid in pids)
    assert tends.look(0.0) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is shown another user")
def test_who_refuses_root_is_shown_another_user_whose_files_are_the_agents(tends: Tender, tmp_path: Path) -> None:
    script = "import os; print(os.geteuid() != 0, flush=True); open('mine','w').close(); import time; time.sleep(60)"
    tends.begin(python("one", script, not_root=True, ready="True"))
    until_ready(tends)
    deadline = time.monotonic() + 15
    while not (tmp_path / "mine").exists():
        assert time.monotonic() < deadline
    assert (tmp_path / "mine").stat().st_uid == os.geteuid()


def test_a_deep_folder_has_a_short_name_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.chdir(deep)
    tends = Tender()
    script = "import socket,sys,time; socket.socket(socket.AF_UNIX).bind(sys.argv[1]); print('bound', flush=True); time.sleep(60)"
    process = Process(name="one", argv=("{python}", "-c", script, "{short}/" + "s" * 60), short=True, ready="bound")
    try:
        tends.begin(process)
        until_ready(tends)
        assert (deep / ("s" * 60)).is_socket()
    finally:
        tends.end(2)


def test_software_that_is_not_there_and_cannot_come_is_said(
    tends: Tender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tender, "default_home", lambda: Home(tmp_path))
    none = ProgramSoftware(name="nothing", version="1", programs=("nope",), folders=("/no/such",), hint="get it there")
    with pytest.raises(BadRequest, match="nothing 1 is not installed there") as refused:
        tends.prepare(none, 5)
    assert refused.value.hint == "get it there"


def test_software_that_is_there_is_found_at_once(tends: Tender) -> None:
    shell = ProgramSoftware(name="shell", version="1", programs=("sh",), folders=("/no/such", "/bin"))
    prepared = tends.prepare(shell, 5)
    assert (prepared.done, prepared.own, prepared.bin) == (True, False, "/bin")
    tends.begin(
        Process(
            name="one",
            argv=("{bin}/sh", "-c", f"echo up; exec {sys.executable} -c 'import time; time.sleep(60)'"),
            ready="up",
        )
    )
    until_ready(tends)


def test_free_ports_are_free_and_different() -> None:
    ports = tender.free_ports(5)
    assert len(set(ports)) == 5
