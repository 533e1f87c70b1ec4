"""A seat of Ray: a Ray without the parts that it wants is started by its own command. The rest runs in tests/e2e."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worldos.engines import ray_seat


def test_a_ray_of_other_parts_is_started_as_its_manual_says(tmp_path: Path) -> None:
    for package in ("ray", "ray/_private", "ray/scripts"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "ray/scripts/scripts.py").write_text("import sys; print('started', *sys.argv[1:])")
    argv = [
        sys.executable,
        "-P",
        ray_seat.__file__,
        json.dumps({"head": True, "page": False}),
        "--",
        "start",
        "--block",
    ]
    ran = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "started start --block"
    assert "is started by its command" in ran.stdout


def test_the_others_wait_until_the_head_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waiting = threading.Thread(target=ray_seat.until_listens, args=(f"127.0.0.1:{port}",))
    waiting.start()
    with socket.create_server(("127.0.0.1", port), reuse_port=True) as head:
        head.accept()[0].close()
        waiting.join(15)
    assert not waiting.is_alive()


def test_a_head_that_never_comes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_seat, "HEAD_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SystemExit, match="does not answer"):
        ray_seat.until_listens(f"127.0.0.1:{port}")


def test_a_raylet_is_asked_for_until_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = [RuntimeError("not yet"), RuntimeError("not yet"), {"node": 1}]

    def ask(gcs: str, node: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    assert ray_seat.patient(ask, [])("gcs", "node") == {"node": 1}
    monkeypatch.setattr(ray_seat, "HEAD_SECONDS", -1.0)
    answers.append(RuntimeError("never"))
    with pytest.raises(RuntimeError, match="never"):
        ray_seat.patient(ask, [])("gcs", "node")


def test_a_raylet_that_has_ended_is_waited_for_no_longer() -> None:
    class Started:
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    Started.process.wait(30)
    raylets: list[object] = []
    ray_seat.noted(Started, raylets)()

    def ask() -> object:
        raise RuntimeError("not yet")

    with pytest.raises(SystemExit, match="the raylet ended with 3"):
        ray_seat.patient(ask, raylets)()
