"""The WebDAV folder: what it refuses, what it keeps, and what other people's programs say of it."""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import NotAllowed
from worldos.files.files import Files
from worldos.files.webdav import USER, FolderServer

PASSWORD = "right-password-of-this-test"
PROPFIND = b'<?xml version="1.0"?><propfind xmlns="DAV:"><allprop/></propfind>'
METHODS = (
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "DELETE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
)
LITMUS_TESTS = 104


@pytest.fixture(scope="module")
def shared_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """The files of one account on four depots in memory, for all tests of this module: no test here is about disks."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="wos-d-", dir=memory) as folder:
        depots = Site(Path(folder), 4, own_process=False)
        with files_of(depots, tmp_path_factory.mktemp("home")) as files:
            yield files
        depots.end()


@pytest.fixture
def served(shared_files: Files) -> Iterator[FolderServer]:
    yield from serving(FolderServer(shared_files, PASSWORD))


def serving(server: FolderServer) -> Iterator[FolderServer]:
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join(30)
    assert not thread.is_alive()


def ask(
    server: FolderServer,
    method: str,
    name: str = "",
    body: bytes | None = None,
    password: str = PASSWORD,
    **headers: str,
):
    """Send one request; return its status, headers and body."""
    connection = http.client.HTTPConnection(server.address, timeout=90)
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
    fields = {field.replace("_", "-"): value for field, value in headers.items()}
    connection.request(method, "/" + quote(name), body, fields)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("password", ["", "wrong", PASSWORD[:-1]])
def test_nothing_is_served_without_the_password(served: FolderServer, method: str, password: str) -> None:
    for path in ("", "x", ":dir_browser/style.css", ":dir_browser/"):
        status, headers, _ = ask(served, method, path, password=password)
        assert status == 401
        assert headers["WWW-Authenticate"]


def test_it_takes_digests_and_asks_for_them(served: FolderServer, shared_files: Files) -> None:
    shared_files.put(b"by digest", "digest")
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, served.url, USER, PASSWORD)
    opener = urllib.request.build_opener(urllib.request.HTTPDigestAuthHandler(known))
    assert opener.open(served.url + "digest", timeout=30).read() == b"by digest"
    assert ask(served, "GET", "digest", password="")[1]["WWW-Authenticate"].startswith("Digest ")


@pytest.mark.parametrize(
    "said",
    [
        "Basic",
        "Basic !!!!",
        "Basic d29z",
        "Digest",
        'Digest username="wos"',
        "Bearer x",
        "\x00",
        "Basic " + "A" * 60_000,
    ],
)
def test_garbage_in_the_place_of_a_password_opens_nothing(served: FolderServer, said: str) -> None:
    assert ask(served, "GET", password="", Authorization=said)[0] in {400, 401, 413, 500}
    assert ask(served, "GET")[0] == 200


def test_it_answers_on_the_loopback_address_only(served: FolderServer) -> None:
    assert served.address.startswith("127.0.0.1:")
    assert PASSWORD not in served.url
    assert PASSWORD in served.url_with_password


def test_a_port_that_is_taken_is_refused_in_words(served: FolderServer, shared_files: Files) -> None:
    with pytest.raises(NotAllowed, match="cannot be taken") as refused:
        FolderServer(shared_files, PASSWORD, port=int(served.address.rsplit(":", 1)[1]))
    assert "--port 0" in refused.value.hint


@pytest.mark.parametrize(
    "name", ["plain", "with space", "ü日本 é", "-dash", "100% #1?&=+;", "a" * 255, "dots.. .x", "'\"<>"]
)
def test_any_name_comes_back_as_it_was(served: FolderServer, shared_files: Files, name: str) -> None:
    data = os.urandom(100)
    assert ask(served, "PUT", name, data)[0] == 201
    assert ask(served, "GET", name)[2] == data
    assert shared_files.read(name) == data
    _, _, listed = ask(served, "PROPFIND", "", PROPFIND, Depth="1")
    hrefs = re.findall(rb"<(?:\w+:)?href>([^<]*)<", listed)
    assert name in {urllib.request.unquote(href.decode()).replace("&amp;", "&").strip("/") for href in hrefs}
    assert ask(served, "DELETE", name)[0] == 204
    assert ask(served, "GET", name)[0] == 404


@pytest.mark.parametrize("name", ["a\x01b", "a\x7f", "x" * 256, "/".join(["d"] * 70)])
def test_a_name_that_cannot_be_is_refused(served: FolderServer, name: str) -> None:
    assert ask(served, "GET", name)[0] == 404
    assert ask(served, "PUT", name, b"x")[0] in {400, 409}
    assert ask(served, "MKCOL", name)[0] in {400, 409}


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "/%2e%2e/x"])
def test_no_path_leads_out(served: FolderServer, path: str) -> None:
    connection = http.client.HTTPConnection(served.address, timeout=30)
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    connection.request("PUT", path, b"x", {"Authorization": f"Basic {token}"})
    assert connection.getresponse().status in {400, 403, 404, 409}
    connection.close()


def test_a_part_is_sent_alone(served: FolderServer) -> None:
    data = os.urandom(3_000_000)
    ask(served, "PUT", "big", data)
    status, headers, part = ask(served, "GET", "big", Range="bytes=1000000-1000099")
    assert (status, part) == (206, data[1_000_000:1_000_100])
    assert headers["Content-Range"] == "bytes 1000000-1000099/3000000"
    assert ask(served, "GET", "big", Range="bytes=-10")[2] == data[-10:]
    assert ask(served, "GET", "big", Range="bytes=9000000-")[0] == 416


def test_a_new_file_is_one_version_and_its_mark_tells_contents(served: FolderServer, shared_files: Files) -> None:
    _, headers, _ = ask(served, "PUT", "fresh", b"one")
    assert len(shared_files.history("fresh")) == 1
    assert ask(served, "GET", "fresh", If_None_Match=headers["ETag"])[0] == 304
    assert ask(served, "PUT", "fresh", b"two", If_Match='"another"')[0] == 412
    assert ask(served, "PUT", "fresh", b"two", If_Match=headers["ETag"])[0] == 204
    assert ask(served, "HEAD", "fresh")[1]["ETag"] != headers["ETag"]


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_broken_off_leaves_what_was_there(served: FolderServer, shared_files: Files, chunked: bool) -> None:
    ask(served, "PUT", "kept", b"whole")
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for name in ("kept", "never"):
        host, port = served.address.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as sender:
            length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 5000000"
            head = f"PUT /{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n{length}\r\n\r\n"
            body = os.urandom(2_000_000)
            sender.sendall(head.encode() + (f"{len(body):x}\r\n".encode() + body + b"\r\n" if chunked else body))
            sender.shutdown(socket.SHUT_WR)
            sender.settimeout(30)
            while sender.recv(1 << 16):
                pass
    assert shared_files.read("kept") == b"whole"
    assert not shared_files.exists("never")


def test_a_length_need_not_be_known(served: FolderServer, shared_files: Files) -> None:
    connection = http.client.HTTPConnection(served.address, timeout=90)
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    parts = [os.urandom(70_000) for _ in range(5)]
    connection.request("PUT", "/stream", iter(parts), {"Authorization": f"Basic {token}"}, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()
    assert shared_files.read("stream") == b"".join(parts)


def test_folders_are_made_moved_copied_and_removed(served: FolderServer, shared_files: Files) -> None:
    assert ask(served, "MKCOL", "f")[0] == 201
    assert ask(served, "MKCOL", "f")[0] == 405
    assert ask(served, "MKCOL", "no/such")[0] == 409
    assert ask(served, "PUT", "no/such", b"x")[0] == 409
    ask(served, "PUT", "f/a", b"1")
    assert ask(served, "COPY", "f", Destination=served.url + "g/")[0] == 204
    assert ask(served, "MOVE", "f", Destination=served.url + "h%20h")[0] == 201
    assert [about.name for about in shared_files.walk("g")] == ["g/a"]
    assert shared_files.read("h h/a") == b"1"
    assert not shared_files.exists("f")
    assert ask(served, "MOVE", "g", Destination=served.url + "g/inside")[0] == 403
    assert ask(served, "DELETE", "h h")[0] == 204
    assert ask(served, "DELETE", "")[0] in {403, 207}
    assert shared_files.exists("g/a")
    shared_files.remove("g", recursive=True)


def test_a_save_by_rename_keeps_the_history_of_the_name(served: FolderServer, shared_files: Files) -> None:
    ask(served, "PUT", "doc", b"old")
    ask(served, "PUT", "doc.tmp", b"new")
    assert ask(served, "MOVE", "doc.tmp", Destination=served.url + "doc", Overwrite="T")[0] == 204
    assert shared_files.read("doc") == b"new"
    assert len(shared_files.history("doc")) >= 2


def test_read_only_refuses_every_change(shared_files: Files) -> None:
    shared_files.put(b"1", "ro")
    for server in serving(FolderServer(shared_files, PASSWORD, read_only=True)):
        assert ask(server, "GET", "ro")[2] == b"1"
        assert ask(server, "PUT", "ro", b"2")[0] == 405
        assert ask(server, "PUT", "new", b"2")[0] == 405
        assert ask(server, "MKCOL", "nf")[0] == 405
        assert ask(server, "DELETE", "ro")[0] == 405
        for method in ("COPY", "MOVE"):
            assert ask(server, method, "ro", Destination=server.url + "r2")[0] == 405
    assert shared_files.read("ro") == b"1"
    assert not any(shared_files.exists(name) for name in ("new", "nf", "r2"))


def test_it_says_how_much_room_there_is(served: FolderServer) -> None:
    body = b'<propfind xmlns="DAV:"><prop><quota-available-bytes/><quota-used-bytes/></prop></propfind>'
    _, _, said = ask(served, "PROPFIND", "", body, Depth="0")
    assert int(re.search(rb"quota-available-bytes>(\d+)<", said)[1]) > 0


def test_a_thousand_names_are_listed_in_a_moment(served: FolderServer, shared_files: Files, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number} ü").write_bytes(b"%d" % number)
    shared_files.put(tmp_path, "many")
    started = time.monotonic()
    _, _, said = ask(served, "PROPFIND", "many", PROPFIND, Depth="1")
    assert said.count(b"getcontentlength>") == 2 * 1000
    assert time.monotonic() - started < 20, "a bound against quadratic work, not a measurement"
    shared_files.remove("many", recursive=True)


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"`{program}` is not installed")
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_litmus_finds_nothing(served: FolderServer, tmp_path: Path) -> None:
    litmus = needs("litmus")
    done = subprocess.run(
        [litmus, served.url, USER, PASSWORD],
        env=os.environ | {"TESTS": "basic copymove props locks http"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    passed = [int(count) for count in re.findall(r"summary for .*: of \d+ tests run: (\d+) passed", done.stdout)]
    assert (done.returncode, sum(passed)) == (0, LITMUS_TESTS), done.stdout


def run(*words: str, **environ: str) -> str:
    done = subprocess.run(words, env=os.environ | environ, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def rclone_to(served: FolderServer) -> dict[str, str]:
    hidden = run(needs("rclone"), "obscure", PASSWORD).strip()
    return {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_MINE_TYPE": "webdav",
        "RCLONE_CONFIG_MINE_URL": served.url,
        "RCLONE_CONFIG_MINE_VENDOR": "other",
        "RCLONE_CONFIG_MINE_USER": USER,
        "RCLONE_CONFIG_MINE_PASS": hidden,
    }


def tree(folder: Path) -> Path:
    for number, size in enumerate((0, 1, 4096, 4097, 100_000, 3_000_000)):
        path = folder / f"part {number % 2} ü" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_rclone_copies_there_and_back(served: FolderServer, shared_files: Files, tmp_path: Path) -> None:
    reach = rclone_to(served)
    source = tree(tmp_path / "from")
    run("rclone", "copy", str(source), "mine:rclone", **reach)
    assert "0 differences found" in run("rclone", "check", "--download", str(source), "mine:rclone", **reach)
    run("rclone", "copy", "mine:rclone", str(tmp_path / "back"), **reach)
    assert "0 differences found" in run("rclone", "check", str(source), str(tmp_path / "back"), **reach)
    run("rclone", "purge", "mine:rclone", **reach)
    assert not shared_files.exists("rclone")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_restic_repository_is_made_checked_and_restored(served: FolderServer, tmp_path: Path) -> None:
    needs("restic")
    reach = rclone_to(served) | {
        "RESTIC_PASSWORD": "p",
        "RESTIC_REPOSITORY": "rclone:mine:restic",
        "RESTIC_CACHE_DIR": str(tmp_path / "c"),
    }
    source = tree(tmp_path / "from")
    run("restic", "init", **reach)
    run("restic", "backup", str(source), **reach)
    assert "no errors were found" in run("restic", "check", "--read-data", **reach)
    run("restic", "restore", "latest", "--target", str(tmp_path / "back"), **reach)
    run("diff", "-r", str(source), str(tmp_path / "back") + str(source))
