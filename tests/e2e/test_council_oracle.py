"""The same questions to a council of ours and to etcd, one after the other, get the same answers; also over a restart of both."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from bench.council_client import SeatConnection
from bench.council_process import CAS, DIFFERS, DONE, GET, PUT

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = 150
READY_S = 30.0

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)"),
]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Register(Protocol):
    """What both are asked."""

    def put(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> str | None: ...
    def cas(self, key: str, expect: str | None, value: str) -> bool: ...


class Ours:
    """A council of one seat."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.door = ("127.0.0.1", free_port())
        self.loop = asyncio.new_event_loop()
        self.start()

    def start(self) -> None:
        choices = {
            "me": 0,
            "seats": [f"127.0.0.1:{free_port()}"],
            "folder": str(self.folder),
            "clients": f"{self.door[0]}:{self.door[1]}",
        }
        argv = [sys.executable, "-m", "bench.council_process", json.dumps(choices)]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)

    def ask(self, op: int, key: str, value: Any = None, expect: Any = None) -> tuple[int, Any]:
        async def ask() -> tuple[int, Any]:
            async with asyncio.timeout(READY_S):
                while True:
                    try:
                        connection = await SeatConnection.to(*self.door)
                    except OSError:
                        await asyncio.sleep(0.02)
                        continue
                    status, told = await connection.ask(op, key, value, expect)
                    connection.close()
                    if status in (DONE, DIFFERS):
                        return status, told
                    await asyncio.sleep(0.02)

        return self.loop.run_until_complete(ask())

    def put(self, key: str, value: str) -> None:
        self.ask(PUT, key, value)

    def get(self, key: str) -> str | None:
        return self.ask(GET, key)[1]

    def cas(self, key: str, expect: str | None, value: str) -> bool:
        return self.ask(CAS, key, value, expect)[0] == DONE

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Etcd:
    """One member of etcd, by its door for JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.start()

    def start(self) -> None:
        argv = ["etcd", "--data-dir", str(self.folder), "--listen-client-urls", self.url]
        argv += ["--advertise-client-urls", self.url, "--listen-peer-urls", f"http://127.0.0.1:{free_port()}"]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        end = time.monotonic() + READY_S
        while True:
            request = urllib.request.Request(f"{self.url}/v3/kv/{path}", json.dumps(body).encode())
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    told: dict[str, Any] = json.load(answer)
                    return told
            except OSError:  # not up yet; nothing was asked
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def put(self, key: str, value: str) -> None:
        self.ask("put", {"key": coded(key), "value": coded(value)})

    def get(self, key: str) -> str | None:
        found = self.ask("range", {"key": coded(key)}).get("kvs")
        return base64.b64decode(found[0]["value"]).decode() if found else None

    def cas(self, key: str, expect: str | None, value: str) -> bool:
        absent = {"target": "CREATE", "create_revision": "0"}
        compare = absent if expect is None else {"target": "VALUE", "value": coded(expect)}
        put = {"request_put": {"key": coded(key), "value": coded(value)}}
        body = {"compare": [{"key": coded(key), "result": "EQUAL", **compare}], "success": [put]}
        return bool(self.ask("txn", body).get("succeeded", False))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Ours, Etcd]]:
    ours, etcd = Ours(tmp_path / "ours"), Etcd(tmp_path / "etcd")
    yield ours, etcd
    ours.kill()
    etcd.kill()
    ours.loop.close()


def answers(register: Register, seed: int) -> list[Any]:
    dice = random.Random(seed)
    seen: dict[str, str | None] = {}
    told: list[Any] = []
    for number in range(QUESTIONS):
        key = f"k{dice.randrange(4)}"
        what = dice.choice(["put", "get", "cas", "cas"])
        if what == "put":
            register.put(key, f"v{number}")
        elif what == "get":
            seen[key] = register.get(key)
            told.append((key, seen[key]))
        else:
            told.append((key, number, register.cas(key, seen.get(key), f"v{number}")))
            seen[key] = f"v{number}" if told[-1][2] else seen.get(key)
    return told


def test_a_council_answers_as_etcd_does(both: tuple[Ours, Etcd]) -> None:
    first = [answers(register, 1) for register in both]
    assert first[0] == first[1]
    assert {one[2] for one in first[0] if len(one) == 3} == {True, False}
    for register in both:
        register.kill()
        register.start()
    second = [answers(register, 2) for register in both]
    assert second[0] == second[1]
