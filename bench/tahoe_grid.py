"""Tahoe-LAFS for the benches: an introducer, some storage nodes and one gateway on the loopback, spoken to by its web API.

As its manual would have one start it, with two differences: each node keeps to 127.0.0.1, and the code is the caller's. Immutable
files, no directory: that is Tahoe's quickest way to keep bytes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

READY_S = 180.0
READ_BYTES = 1 << 20


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Grid:
    """Everything of it lies in one folder and ends with ``close``."""

    def __init__(self, tahoe: str, folder: Path, stores: int, k: int, happy: int) -> None:
        self.tahoe, self.folder = tahoe, folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.stores: list[subprocess.Popen[bytes]] = []
        self.web_port = free_port()
        try:
            self._start(stores, k, happy)
        except BaseException:
            self.close()
            raise

    def _start(self, stores: int, k: int, happy: int) -> None:
        folder = self.folder
        introducer = folder / "introducer"
        self._tahoe("create-introducer", *self._placed(), str(introducer))
        self._run(introducer)
        furl_file = introducer / "private" / "introducer.furl"
        self._until(furl_file.exists, "an introducer")
        code = ["--shares-needed", str(k), "--shares-happy", str(happy), "--shares-total", str(stores)]
        furl = furl_file.read_text().strip()
        first = folder / "store0"
        placed = self._placed()
        self._tahoe("create-node", "-i", furl, *code, *placed, "--webport", "none", str(first))
        for number in range(1, stores):  # the same, elsewhere: keys are made at the first run
            node = folder / f"store{number}"
            shutil.copytree(first, node)
            settings = (first / "tahoe.cfg").read_text()
            for ours, theirs in zip(placed, self._placed(), strict=True):
                settings = settings.replace(ours, theirs)
            (node / "tahoe.cfg").write_text(settings)
        self.stores += [self._run(folder / f"store{number}") for number in range(stores)]
        gateway = folder / "gateway"
        web = f"tcp:{self.web_port}:interface=127.0.0.1"
        self._tahoe("create-client", "-i", furl, *code, "--webport", web, str(gateway))
        self._run(gateway)
        self._until(lambda: self._connected() == stores, f"{stores} stores")

    def put(self, data: bytes | Path) -> str:
        """Store a file; return its capability."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=600)
        with contextlib.closing(connection):
            if isinstance(data, Path):
                with data.open("rb") as source:
                    connection.request("PUT", "/uri", body=source, headers={"Content-Length": str(data.stat().st_size)})
                    answer = connection.getresponse()
            else:
                connection.request("PUT", "/uri", body=data)
                answer = connection.getresponse()
            said = answer.read().decode()
            if answer.status not in {200, 201}:
                raise RuntimeError(f"tahoe put: {answer.status} {said[:300]}")
            return said.strip()

    def get(self, cap: str) -> int:
        """Read a file to its end; return how many bytes came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=600)
        with contextlib.closing(connection):
            connection.request("GET", f"/uri/{cap}")
            answer = connection.getresponse()
            buffer, total = bytearray(READ_BYTES), 0
            while got := answer.readinto(buffer):
                total += got
            if answer.status != 200:
                raise RuntimeError(f"tahoe get: {answer.status}")
            return total

    def sleep(self, count: int) -> None:
        """Stop some stores, as a closed lid would."""
        for process in self.stores[:count]:
            os.kill(process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        for process in self.stores:
            os.kill(process.pid, signal.SIGCONT)

    def close(self) -> None:
        self.wake()
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def _placed(self) -> list[str]:
        port = free_port()
        return ["--port", f"tcp:{port}:interface=127.0.0.1", "--location", f"tcp:127.0.0.1:{port}"]

    def _tahoe(self, *arguments: str) -> None:
        subprocess.run([self.tahoe, *arguments], check=True, capture_output=True)

    def _run(self, node: Path) -> subprocess.Popen[bytes]:
        with (self.folder / f"{node.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.tahoe, "run", "--allow-stdin-close", str(node)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def _connected(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=5)
        try:
            connection.request("GET", "/?t=json")
            told = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return sum(1 for one in told["servers"] if one["connection_status"].lower().startswith("connected"))

    def _until(self, condition, what: str) -> None:
        end = time.monotonic() + READY_S
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"tahoe: no {what} within {READY_S:.0f} s")
            time.sleep(0.2)
