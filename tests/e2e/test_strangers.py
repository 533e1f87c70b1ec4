"""Whoever is no member gets nothing at any door, and does no harm there."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.lab import Lab, Run, until
from tests.e2e.realm import PORT, Machine, all_linked, end, invite_and_join, ticket_of
from tests.patience import patient_s

from worldos.agent import home as homes
from worldos.fabric.multicast import GROUP_V4
from worldos.fabric.multicast import PORT as BEACON_PORT
from worldos.trust.certs import fresh_leaf
from worldos.trust.keylog import KeyLog, SignedEntry
from worldos.trust.keys import DeviceKey
from worldos.trust.ticket import Ticket

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

STRANGER = Path(__file__).with_name("stranger.py")
ALERT = b"\x15"
ALERT_BYTES_MAX = 7
GROWTH_BYTES_MAX = 24_000_000


class Place:
    """Two machines of an account, and a stranger on the same switch."""

    def __init__(self, lab: Lab) -> None:
        lab.site("home", "10.1.0", ["a", "b", "x"])
        self.lab = lab
        self.a, self.b = Machine(lab, "a"), Machine(lab, "b")

    def start(self, mode: str, *more: object, port: int = PORT) -> Run:
        words = [mode, self.lab.host("a").address, port, *more]
        return self.lab.run("x", [sys.executable, STRANGER, *map(str, words)])

    def tries(self, mode: str, *more: object, port: int = PORT) -> dict[str, Any]:
        return json.loads(self.start(mode, *more, port=port).expect(r"^(\{.*\})$", 30)[1])

    def rss(self) -> int:
        return int(psutil.Process(self.a.pid).memory_info().rss)

    def refused(self) -> int:
        return int(self.a.tell("status")["strangers_refused"])


@pytest.fixture(scope="module")
def built() -> Iterator[Place]:
    with Lab() as lab:
        place = Place(lab)
        place.a.up()
        invite_and_join(place.a, place.b)
        all_linked([place.a, place.b])
        yield place
        end(lab, [place.a, place.b])


@pytest.fixture
def place(built: Place) -> Iterator[Place]:
    """After each attempt: the member is well, still linked, and no larger than before."""
    before, pid = built.rss(), built.a.pid
    yield built
    began = time.monotonic()
    all_linked([built.a, built.b])
    assert built.a.pid == pid
    assert time.monotonic() - began < patient_s(2)
    assert built.rss() - before < GROWTH_BYTES_MAX
    assert "internal error" not in {line["name"] for line in built.a.tell("log", lines=200)}
    assert {row["name"] for row in built.a.tell("nodes")} == {"a", "b"}


@pytest.mark.parametrize("mode", ["random", "hello", "http"])
def test_bytes_that_are_no_handshake_get_an_alert_at_most(place: Place, mode: str) -> None:
    refused = place.refused()
    said = place.tries(mode)
    back = bytes.fromhex(said["back"])
    assert said["end"] in {"closed", "reset"}
    assert back == b"" or (back[:1] == ALERT and len(back) <= ALERT_BYTES_MAX), back
    assert said["seconds"] < patient_s(5)
    assert place.refused() > refused


def test_a_handshake_without_a_certificate_is_served_nothing(place: Place) -> None:
    refused = place.refused()
    said = place.tries("tls")
    assert said["back"] == ""
    assert said["end"] != "open"
    assert place.refused() > refused


def test_a_handshake_with_a_certificate_of_a_stranger_is_served_nothing(place: Place) -> None:
    chain, key = fresh_leaf(DeviceKey.from_seed(secrets.token_bytes(32)), int(time.time()), secrets.token_bytes(32))
    file = place.lab.folder / "chain.pem"
    file.write_bytes(chain + b"\n" + key)
    refused = place.refused()
    said = place.tries("tls", file)
    assert said["back"] == ""
    assert said["end"] != "open"
    assert place.refused() > refused


def test_a_fabric_of_a_stranger_that_knows_the_member_is_not_let_in(place: Place) -> None:
    log = KeyLog()
    log.merge(SignedEntry(body=body, signature=signed) for body, signed in homes.read_keylog(place.a.home))
    device = log.members().get(place.a.node)
    assert device is not None
    refused = place.refused()
    said = place.tries("member", device.node, device.root_cert.hex(), log.account)
    assert said == {"seen": ["on_undelivered"]}  # its own word comes back to it
    assert place.refused() > refused


def test_a_device_of_another_account_on_the_same_network_stays_apart(place: Place) -> None:
    other = Machine(place.lab, "x")
    other.up()
    time.sleep(1.5)  # beacons of both are heard by both meanwhile; nothing is to happen
    assert {row["name"] for row in other.tell("nodes")} == {"x"}
    assert {row["name"] for row in place.a.tell("nodes")} == {"a", "b"}
    assert other.tell("resources", kind="CPU", owner=place.a.tell("status")["account"]) == []
    other.down()


def test_many_that_connect_and_say_nothing_do_not_keep_a_member_out(place: Place) -> None:
    holding = place.start("idle", 200, 4)
    holding.expect("holding")
    place.b.down()
    place.b.wos("up")
    all_linked([place.a, place.b], 5)
    said = json.loads(holding.expect(r"^(\{.*\})$", 20)[1])
    assert said["closed"] == said["held"]


def test_random_datagrams_at_the_beacons_door_are_not_answered(place: Place) -> None:
    before = psutil.Process(place.a.pid).cpu_times()
    said = place.tries("datagrams", GROUP_V4, 5000, port=BEACON_PORT)
    after = psutil.Process(place.a.pid).cpu_times()
    assert said == {"answers": 0}
    spent_s = after.user + after.system - before.user - before.system
    print(f"10 000 datagrams of a stranger cost the agent {spent_s:.2f} s of processor")
    assert spent_s < patient_s(2)


def test_the_door_of_an_invitation_says_nothing_to_who_has_no_ticket(place: Place) -> None:
    inviting = place.a.start("invite", "--yes", "--plain", "--minutes", "1")
    ticket = Ticket.parse(ticket_of(inviting))
    port = int(ticket.addresses[0].rpartition(":")[2])
    for mode in ("random", "http", "hello"):
        said = place.tries(mode, port=port)
        assert said["back"] == ""
        assert said["end"] in {"closed", "reset"}
    inviting.process.kill()
    until(lambda: place.a.tell("status")["programs"] <= 1, 5, "the invitation ended")
