"""Two agents of one account: linked, seen by each other in real time; strangers get nothing."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.fabric.fabrics import until as until_in_loop

from worldos.agent.network import Network
from worldos.agent.start import open_home
from worldos.fabric.multicast import GROUP_V4, PORT
from worldos.fabric.tcp import parse_address
from worldos.kernel.effects import Notice
from worldos.kernel.events import Event, PeerLinked, PeerUnlinked
from worldos.model.realm import RealmId
from worldos.sdk.asking import Asking

Pair = tuple[RunningAgent, RunningAgent]


def other_row(agent: RunningAgent) -> dict:
    return next(row for row in agent.ask("nodes") if not row["here"])


def test_each_sees_the_other_alive_and_direct(pair: Pair) -> None:
    for agent in pair:
        row = other_row(agent)
        assert row["status"] == "alive"
        assert row["via"] == "direct"
        assert row["rtt_us"] > 0


def test_what_one_changes_the_other_sees_at_once(pair: Pair) -> None:
    first, second = pair

    def states() -> set[str]:
        return {row["state"] for row in second.ask("resources", kind="CPU", name="desk")}

    first.ask("drain", drained=True)
    until(lambda: states() == {"maintenance"}, "the other sees it", 1)
    first.ask("drain", drained=False)
    until(lambda: states() <= {"available", "in use"}, "the other sees that too", 1)


@pytest.mark.parametrize(
    "first_bytes", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_a_megabyte_of_random_bytes_at_the_fabrics_door_gets_no_answer(pair: Pair, first_bytes: bytes) -> None:
    first, second = pair
    refused = first.ask("status")["strangers_refused"]
    host, port = parse_address(first.ask("status")["listens"][0])
    data = first_bytes + random.Random(1).randbytes(1 << 20)
    with socket.create_connection((host, port), 10) as sock:
        sock.settimeout(30)
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            said = sock.recv(65536)
        except OSError:
            said = b""
    assert len(said) <= 7, f"a TLS alert at most, not {said!r}"
    until(lambda: first.ask("status")["strangers_refused"] > refused, "it is counted")
    assert other_row(second)["status"] == "alive"


def test_many_silent_strangers_do_not_keep_members_out(pair: Pair) -> None:
    first, second = pair
    address = parse_address(first.ask("status")["listens"][0])
    strangers = [socket.create_connection(address, 10) for _ in range(100)]
    try:
        assert other_row(second)["status"] == "alive"
        assert first.ask("status")["name"] == "desk"
    finally:
        for stranger in strangers:
            stranger.close()


def test_random_datagrams_at_the_beacon_hurt_nobody(folder) -> None:
    with running(new_home(folder / "a"), listen="0.0.0.0:0") as agent:
        chance = random.Random(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(1000):
                try:
                    sock.sendto(chance.randbytes(chance.randrange(1400)), (GROUP_V4, PORT))
                except OSError:
                    sock.sendto(chance.randbytes(1000), ("127.0.0.1", PORT))
        assert agent.ask("status")["nodes_linked"] == 0
        assert not [line for line in agent.ask("log", lines=1000) if line["name"] == "internal error"]


def test_random_bytes_at_the_claim_door_get_no_byte_and_leave_the_ticket_good(pair: Pair) -> None:
    class Seen(Exception):
        pass

    def knock(value: dict) -> None:
        address = parse_address(value["addresses"][0])
        for seed in range(3):
            with socket.create_connection(address, 10) as sock:
                sock.settimeout(60)
                try:
                    sock.sendall(random.Random(seed).randbytes(1 << 20))
                    assert sock.recv(4096) == b""
                except OSError:
                    pass
        raise Seen

    with pytest.raises(Seen), Asking(pair[0].home) as asking:
        asking.ask("invite", progress=knock, life_s=30)
    assert not [line for line in pair[0].ask("log", lines=1000) if line["name"] == "internal error"]


class NoWork:
    """A site without work: what concerns it is passed over."""

    def linked(self, node: str) -> None:
        pass

    def unlinked(self, node: str) -> None:
        pass


class Site:
    """The network of one node that is an account of its own, and what it hears and notes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.linked: set[str] = set()
        self.notes: list[str] = []
        started = open_home(new_home(folder / name, name))
        self.network = Network(started, ("127.0.0.1", 0), self.no_path, self)
        self.work = NoWork()

    async def no_path(self, lease: str, worker: int) -> str:
        raise AssertionError("nobody has a lease")

    def feed(self, event: Event) -> None:
        if isinstance(event, PeerLinked):
            self.linked.add(event.node)
        elif isinstance(event, PeerUnlinked):
            self.linked.discard(event.node)

    def note(self, notice: Notice) -> None:
        self.notes.append(f"{notice.name}: {notice.fields['why']}")


def told_of_two(folder: Path, story: Callable[[Site, Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        sites = Site(folder, "home"), Site(folder, "office")
        for site in sites:
            await site.network.start()
        try:
            await story(*sites)
        finally:
            for site in sites:
                await site.network.close()

    asyncio.run(whole())


def test_contacts_that_are_exchanged_link_two_accounts_until_one_forgets(folder: Path) -> None:
    async def story(home: Site, office: Site) -> None:
        home.network.welcome(office.network.contact())
        office.network.welcome(home.network.contact())
        await until_in_loop(lambda: home.linked and office.linked)
        assert home.linked == {office.network.contact().node}
        assert office.network.contact().name == "office"
        home.network.forget(office.network.contact().node, "no child any more")
        await until_in_loop(lambda: not office.linked)
        assert not home.linked
        assert not home.network.fabric.send(office.network.contact().node, b"")

    told_of_two(folder, story)


def test_a_contact_that_cannot_be_so_is_noted_and_nothing_else(folder: Path) -> None:
    async def story(home: Site, office: Site) -> None:
        there, here = office.network.contact(), home.network.contact()
        changed = msgspec.structs.replace
        home.network.welcome(changed(there, root_cert=here.root_cert))
        home.network.welcome(changed(there, node="a" * 52))
        home.network.welcome(changed(there, site=RealmId(home.network.node.registry.owner)))
        home.network.welcome(here)
        assert [note.partition(": ")[0] for note in home.notes] == ["contact refused"] * 3
        assert not home.network.fabric.peers
        home.network.welcome(changed(there, addresses=("nonsense", "\0:1", *there.addresses)))
        office.network.welcome(here)
        await until_in_loop(lambda: home.linked and office.linked)

    told_of_two(folder, story)
