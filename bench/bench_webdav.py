"""What does the WebDAV folder cost beside the files themselves, and beside a server that keeps nothing safe?

One file by curl into the folder and out again, served by a process of its own from four depots (processes of their own, 1-of-4:
four whole copies are sealed, sent and synced before the answer). Against ``Files`` without HTTP on the same depots, against
``rclone serve webdav`` of a plain folder (one copy, no sync, no seal), and the same rclone as what HTTP alone can do here.

Guess on the back of an envelope: HTTP in and out of Python costs 1 ns a byte for the copies and half of that for the kernel:
600 MB/s a core. Files takes 10 ns a byte and more for a put on these cores: so the folder is >= 0.8 x of Files, and the storage
behind it is what takes the time.

    uv run python bench/bench_webdav.py [--mb 100] [--rounds 3] [--small 200]
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.files.depots import Site, files_of  # noqa: E402

from worldos.files.files import Files  # noqa: E402
from worldos.files.webdav import USER, FolderServer  # noqa: E402

PASSWORD = "password-of-this-bench"
SMALL_BYTES = 1000
DEPOTS = 4
READY_S = 30.0


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def curl(*words: str) -> None:
    subprocess.run(["curl", "-sSf", "-u", f"{USER}:{PASSWORD}", "-o", "/dev/null", *words], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def answers(port: int) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody answers at {port}")


def small_puts(url: str, count: int) -> float:
    """Send small files over one connection; return how many a second."""
    token = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    connection = http.client.HTTPConnection(url.split("/")[2])
    data = os.urandom(SMALL_BYTES)

    def send() -> None:
        for number in range(count):
            connection.request("PUT", f"/s{number}", data, {"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status in {201, 204}, answer.status

    return count / timed(send)


def child(folder: Path, port: int) -> None:
    """Serve the folder from depots that run already."""
    with files_of(Site.there(folder, DEPOTS), folder / "served") as files:
        FolderServer(files, PASSWORD, port=port).serve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        child(Path(given.serve[0]), int(given.serve[1]))
        return
    rclone = shutil.which("rclone")
    with tempfile.TemporaryDirectory(prefix="wos-w-") as name:
        folder = Path(name)
        site = Site(folder, DEPOTS, own_process=True)
        ours, theirs = free_port(), free_port()
        (folder / "plain").mkdir()
        serving = [subprocess.Popen([sys.executable, __file__, "--serve", name, str(ours)])]
        if rclone:
            words = [rclone, "serve", "webdav", str(folder / "plain"), "--addr", f"127.0.0.1:{theirs}"]
            serving.append(subprocess.Popen([*words, "--user", USER, "--pass", PASSWORD], stderr=subprocess.DEVNULL))
        try:
            for port in (ours, theirs)[: len(serving)]:
                answers(port)
            with files_of(site, folder / "own", number=1) as files:
                compare(files, folder, [f"http://127.0.0.1:{port}/" for port in (ours, theirs)[: len(serving)]], given)
        finally:
            for process in serving:
                process.terminate()
                process.wait(20)
            site.end()


def compare(files: Files, folder: Path, urls: list[str], given: argparse.Namespace) -> None:
    size = given.mb * 1_000_000
    source = folder / "source"
    found: dict[str, list[float]] = {}
    for turn in range(given.rounds):
        source.write_bytes(os.urandom(size))
        acts: list[tuple[str, Callable[[], object]]] = [
            ("files put", lambda at=turn: files.put(source, f"own{at}")),  # type: ignore[misc]
            ("files get", lambda at=turn: files.get(f"own{at}", folder / "got")),  # type: ignore[misc]
        ]
        for who, url in zip(("folder", "rclone"), urls, strict=False):
            acts.append((f"{who} put", lambda url=url, at=turn: curl("-T", str(source), f"{url}big{at}")))  # type: ignore[misc]
            acts.append((f"{who} get", lambda url=url, at=turn: curl(f"{url}big{at}")))  # type: ignore[misc]
        for what, act in acts:
            found.setdefault(what, []).append(size / timed(act) / 1e6)
    print(f"{given.mb} MB, medians of {given.rounds}, MB/s; {DEPOTS} depots, 1-of-4")
    for what, rates in found.items():
        print(f"  {what:<12} {statistics.median(rates):7.1f}")
    for act in ("put", "get"):
        pairs = [a / b for a, b in zip(found[f"folder {act}"], found[f"files {act}"], strict=True)]
        print(f"  folder {act} is {statistics.median(pairs):.2f} x Files")
        if len(urls) > 1:
            pairs = [a / b for a, b in zip(found[f"folder {act}"], found[f"rclone {act}"], strict=True)]
            print(f"  folder {act} is {statistics.median(pairs):.2f} x rclone on a plain folder")
    print(f"{SMALL_BYTES} B files over one connection, a second")
    for who, url in zip(("folder", "rclone"), urls, strict=False):
        print(f"  {who:<12} {small_puts(url, given.small):7.1f}")


if __name__ == "__main__":
    main()
