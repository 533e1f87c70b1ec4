"""Comfort: a key stops guests and quiet lets them go on; battery and warmth too; the owner's own work is never stopped."""

from __future__ import annotations

import asyncio
import mmap
import os
import pty
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.kernel.test_lend_rules import ask, host, look
from tests.test_node import PEER, STRANGER

from worldos.agent import clock
from worldos.agent.comfort import (
    AWAY_NS,
    BUSY,
    HEAT_STEP_NS,
    LOAD_QUIET_NS,
    ON_BATTERY,
    QUIET_NS,
    TOO_WARM,
    Comfort,
    Signs,
    Watch,
)
from worldos.agent.lanes import Lanes
from worldos.agent.scanner import Scanner
from worldos.drivers.health import Heat
from worldos.drivers.machine import Machine
from worldos.kernel.effects import Notice
from worldos.lanes.client import Lane
from worldos.lanes.link import Door
from worldos.model.ids import LeaseId
from worldos.model.lend import Lend, LendRule
from worldos.model.limits import SECOND
from worldos.node import Node

KEY = Signs(input="a key")
WORK = Signs(load_milli=1500)
HOT, COOL = Signs(heat=Heat(90_000, 85_000)), Signs(heat=Heat(50_000, 85_000))


def comfort() -> Comfort:
    return Comfort(4)


def test_a_key_stops_guests_until_it_was_quiet_for_a_while() -> None:
    here = comfort()
    assert here.look(SECOND, Signs()).rests == ""
    assert here.look(2 * SECOND, KEY).rests == "a key"
    assert here.look(2 * SECOND + QUIET_NS - 1, Signs()).rests == "a key"
    assert here.look(2 * SECOND + QUIET_NS, Signs()).rests == ""


def test_who_is_let_in_while_nobody_is_here_waits_for_longer() -> None:
    here = comfort()
    here.look(SECOND, KEY)
    later = here.look(SECOND + AWAY_NS - 1, Signs())
    assert (later.rests, later.rests_idle, later.owner_here) == ("", "a key", True)
    away = here.look(SECOND + AWAY_NS, Signs())
    assert (away.rests_idle, away.owner_here) == ("", False)


def test_work_stops_guests_while_somebody_waits_for_it_and_idle_rules_always() -> None:
    here = comfort()
    alone = here.look(SECOND, WORK)
    assert (alone.rests, alone.rests_idle) == ("", BUSY)
    here.look(2 * SECOND, KEY)
    busy_ns = 2 * SECOND + QUIET_NS
    assert here.look(busy_ns, WORK).rests == BUSY
    assert here.look(busy_ns + LOAD_QUIET_NS - 1, Signs()).rests == BUSY
    assert here.look(busy_ns + LOAD_QUIET_NS, Signs()).rests == ""


def test_a_large_machine_is_busy_by_its_size() -> None:
    assert Comfort(64).look(SECOND, WORK).rests_idle == ""
    assert Comfort(64).look(SECOND, Signs(load_milli=8000)).rests_idle == BUSY


def test_on_battery_guests_rest_and_go_on_at_the_mains() -> None:
    here = comfort()
    assert here.look(SECOND, Signs(on_battery=True)).rests == ON_BATTERY
    assert here.look(2 * SECOND, Signs()).rests == ""


def test_warmth_takes_time_away_by_halves_then_stops_guests_and_gives_it_back_by_eighths() -> None:
    here, now_ns = comfort(), SECOND
    shares = []
    for _ in range(5):
        shares.append(here.look(now_ns, HOT).share_permille)
        now_ns += HEAT_STEP_NS
    assert shares == [500, 250, 125, 125, 125]
    assert here.look(now_ns - 1, HOT).rests == TOO_WARM
    assert here.look(now_ns, Signs(heat=Heat(82_000, 85_000))).rests == TOO_WARM, "not cool enough yet"
    back = []
    for _ in range(9):
        now_ns += HEAT_STEP_NS
        back.append(here.look(now_ns, COOL).share_permille)
    assert back == [125, 250, 375, 500, 625, 750, 875, 1000, 1000]
    assert here.look(now_ns, COOL).rests == ""


def test_between_two_steps_warmth_changes_nothing() -> None:
    here = comfort()
    here.look(SECOND, HOT)
    assert here.look(SECOND + HEAT_STEP_NS - 1, HOT).share_permille == 500


# -- with real workers, and a real terminal ---------------------------------------------------------------------------------


def burn(path: str) -> None:
    """Write the time into a file, for ever."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        while True:
            shared[:8] = struct.pack("<q", time.monotonic_ns())
            time.sleep(0.002)


class Burning:
    """A call that never ends, in a worker of a lease."""

    def __init__(self, folder: Path, name: str, door: str) -> None:
        self.file = folder / name
        self.file.write_bytes(bytes(8))
        self.lane = Lane([Door(path=door)])
        self.lane.submit(burn, str(self.file))

    def last_ns(self) -> int:
        return int(struct.unpack("<q", self.file.read_bytes())[0])

    async def runs(self) -> bool:
        before = self.last_ns()
        await asyncio.sleep(0.05)
        return self.last_ns() > before


async def stopped(lanes: Lanes, guest: Burning, notices: list[Notice]) -> bool:
    """Whether it was frozen: on a machine with much to do, what is gentle may stand still all the same."""
    frozen = [use.paused for use in lanes._host.statistics()]
    return bool(notices) and any(frozen) and not await guest.runs()


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 30
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that has the real pseudo terminals and nothing else to look at."""
    (tmp_path / "root/dev").mkdir(parents=True)
    (tmp_path / "root/dev/pts").symlink_to("/dev/pts")
    return Machine(root=str(tmp_path / "root"))


def told(folder: Path, machine: Machine, node: Node, story: Callable[[Lanes, list[Notice]], Awaitable[None]]) -> None:
    """Tell a story with the lanes of a node's leases and a watch over them."""

    async def whole() -> None:
        scanner = Scanner([str(folder)], print)
        lanes = Lanes(scanner, lambda lease, why: pytest.fail(f"{lease}: {why}"))
        await lanes.start()
        scanner.machine.root = machine.root
        notices: list[Notice] = []
        watch = Watch(node, lanes, scanner, notices.append)
        for lease in node.leases.leases.values():
            lanes.open(lease.terms)  # not gentle: on a machine with much to do that would stop it as well
        looking = asyncio.get_running_loop().create_task(watch.look_forever())
        try:
            await story(lanes, notices)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await lanes.close()

    asyncio.run(whole())


def test_a_key_in_a_real_terminal_freezes_a_guest_and_not_the_owners_work(
    folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldos.agent.comfort.QUIET_NS", SECOND // 2)
    node = host()
    assert ask(node, clock.now_ns(), 1000) == ""
    assert ask(node, clock.now_ns(), 1000, who=PEER) == ""
    leases = {lease.holder: lease.terms.lease for lease in node.leases.leases.values()}
    for lease in node.leases.leases.values():  # as plain processes: it is about comfort here
        lease.terms = msgspec.structs.replace(lease.terms, isolation="")
    ours, theirs = pty.openpty()
    old = time.time() - 60
    os.utime(os.ttyname(theirs), (old, old))

    async def story(lanes: Lanes, notices: list[Notice]) -> None:
        guest = Burning(folder, "guest", (await lanes.paths_of(LeaseId(leases[STRANGER])))[0])
        own = Burning(folder, "own", (await lanes.paths_of(LeaseId(leases[PEER])))[0])
        await eventually(guest.runs, "the guest works")
        os.write(ours, b"\n")
        os.read(theirs, 1)

        await eventually(lambda: stopped(lanes, guest, notices), "the guest rests")
        await eventually(own.runs, "the owner's work goes on")
        await eventually(guest.runs, "the guest goes on after some quiet")
        assert [notice.name for notice in notices] == ["guests rest", "guests go on"]
        for each in (guest, own):
            each.lane.close("done")

    told(folder, machine, node, story)
    for descriptor in (ours, theirs):
        os.close(descriptor)


def test_on_battery_a_guest_rests_unless_a_rule_lets_it(folder: Path, machine: Machine) -> None:
    node = host(LendRule(cpu_permille=500))
    assert ask(node, clock.now_ns(), 1000) == ""
    (lease,) = node.leases.leases.values()
    lease.terms = msgspec.structs.replace(lease.terms, isolation="")

    async def story(lanes: Lanes, notices: list[Notice]) -> None:
        guest = Burning(folder, "guest", (await lanes.paths_of(lease.terms.lease))[0])
        await eventually(guest.runs, "the guest works")
        look(node, clock.now_ns(), battery=True)

        await eventually(lambda: stopped(lanes, guest, notices), "the guest rests")
        node.lend.lend = Lend(rules=(LendRule(cpu_permille=500, on_battery=True),))
        await eventually(guest.runs, "it may run on battery")
        assert notices[0].fields["why"] == ON_BATTERY
        guest.lane.close("done")

    told(folder, machine, node, story)
