"""Lanes of a node: staffed in the background of the grant, ended with all that runs, refused with a reason."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from worldos.agent.lanes import Lanes
from worldos.agent.scanner import Scanner
from worldos.errors import BadRequest, LeaseEnded, WorldError
from worldos.lanes import sandbox
from worldos.lanes.client import Lane
from worldos.lanes.link import Door
from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.need import LeaseTerms, Need


def terms(kind: str = "CPU", amount: int = 1000, name: str = "l1", isolation: str = "") -> LeaseTerms:
    return LeaseTerms(
        lease=LeaseId(name),
        node=NodeId("n"),
        boot=1,
        need=Need(kind=kind, amount=amount),
        resources=(ResourceId(f"n/{kind.lower()}/0"),),
        ttl_ns=10**10,
        isolation=isolation,
    )


def told(folder: Path, story: Callable[[Lanes], Awaitable[None]]) -> list[str]:
    """Tell a story with lanes; return what failed, as the agent would hear it."""
    failed: list[str] = []

    async def whole() -> None:
        lanes = Lanes(Scanner([str(folder)], print), lambda lease, why: failed.append(f"{lease}: {why}"))
        await lanes.start()
        try:
            await story(lanes)
        finally:
            await lanes.close()

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    asyncio.run(whole())
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not psutil.wait_procs(left, 5)[1]
    return failed


def test_a_lease_has_a_socket_for_each_worker_and_none_when_it_ends(folder: Path) -> None:
    async def story(lanes: Lanes) -> None:
        lanes.open(terms(amount=2000))
        paths = await lanes.paths_of(LeaseId("l1"))
        assert len(paths) == 2
        assert await lanes.path_of(LeaseId("l1"), 1) == paths[1]
        assert lanes.statistics()["l1"]["workers"] == 2
        with pytest.raises(BadRequest, match="2 workers, not a number 7"):
            await lanes.path_of(LeaseId("l1"), 7)
        lanes.end(LeaseId("l1"))
        with pytest.raises(LeaseEnded):
            await lanes.paths_of(LeaseId("l1"))

    assert told(folder, story) == []


def test_a_lease_that_ends_while_it_is_staffed_leaves_nothing(folder: Path) -> None:
    async def story(lanes: Lanes) -> None:
        for number in range(5):
            lanes.open(terms(name=f"l{number}"))
            lanes.end(LeaseId(f"l{number}"))
        lanes.end(LeaseId("never was"))

    assert told(folder, story) == []


def test_a_kind_without_a_driver_fails_with_its_name(folder: Path) -> None:
    async def story(lanes: Lanes) -> None:
        lanes.open(terms("Toaster"))
        with pytest.raises(BadRequest):
            await lanes.paths_of(LeaseId("l1"))

    (failed,) = told(folder, story)
    assert "no driver for Toaster" in failed


def test_workers_rest_and_go_on(folder: Path) -> None:
    async def story(lanes: Lanes) -> None:
        lanes.open(terms())
        await lanes.pause(LeaseId("l1"), paused=True)
        await lanes.pause(LeaseId("l1"), paused=False)
        with pytest.raises(LeaseEnded):
            await lanes.pause(LeaseId("other"), paused=True)

    assert told(folder, story) == []


@pytest.mark.skipif(not sandbox.bubblewrap(), reason="bubblewrap is not installed")
def test_a_lease_that_is_kept_apart_has_its_workers_in_a_room(folder: Path) -> None:
    async def story(lanes: Lanes) -> None:
        lanes._environ = lambda _lease: {"WORLDOS_NET_DOOR": "/home/somebody/net"}
        lanes.open(terms(isolation="sandbox"))
        (path,) = await lanes.paths_of(LeaseId("l1"))
        room = lanes._host.room_pid("l1")
        assert os.readlink(f"/proc/{room}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
        lane = await asyncio.to_thread(Lane, [Door(path=path)])
        seen = await asyncio.to_thread(lane.submit(lambda: dict(os.environ)).result, 10)
        lane.close(LeaseEnded("seen"))
        assert "WORLDOS_NET_DOOR" not in seen, "nor is it told the ways of its agent, and whose home that is"
        assert seen["WORLDOS_ISOLATION"] == "sandbox"
        lanes.open(terms("Memory", 1000, "l2", isolation="sandbox"))
        await lanes.paths_of(LeaseId("l2"))
        assert not lanes._host.room_pid("l2"), "what a driver alone runs for is kept to its words"

    assert told(folder, story) == []


def test_a_class_that_this_machine_lacks_ends_the_lease_with_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", str)

    async def story(lanes: Lanes) -> None:
        lanes.open(terms(isolation="sandbox"))
        with pytest.raises(WorldError):
            await lanes.paths_of(LeaseId("l1"))

    (why,) = told(folder, story)
    assert "bubblewrap is not installed" in why


def test_it_says_what_keeps_others_apart_or_why_nothing_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: "/bin/true")

    def said() -> str:
        return Lanes(Scanner([str(folder)], print), lambda *_: None).kept_apart()

    assert "in a sandbox" in said()
    monkeypatch.setattr(sandbox, "bubblewrap", str)
    assert "does not run here: bubblewrap is not installed" in said()
