"""Attack 8: a device that was revoked goes on: online, at a peer that did not hear of it, by a TLS session from before.

Run: real agents on the loopback: a laptop is revoked while it holds a lease, and comes back with its key and the key log of
before, as a thief would bring it; a TLS client with its certificate asks for the session of before again. In the pure machine,
two accounts below one realm: a guest that its account revokes; and a node that heard nothing for an hour, asked with grants of
every class at every level. Back-dated additions, and a re-admission by its own child: with the entries that only a thief signs.
Outcome: gone from all in a second and refused; refused when stale from class 2 on; no session is resumed; nothing is admitted.
A grant that is taken back is refused by all of twenty linked nodes within a second.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, linked, running, same_account, until
from tests.kernel.realms.village import Village, account
from tests.kernel.test_authority import NOW_S, grant_of, rule
from tests.kernel.test_revocations import put_out
from tests.trust.people import LAPTOP, PHONE, TABLET, THIEF, active, copy_of, raw, remove, with_thief

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.errors import PeerBroke
from worldos.fabric.tcp import parse_address
from worldos.fabric.tls import Credentials
from worldos.home import Home
from worldos.kernel.events import StatementsOffered
from worldos.kernel.revocations import STALE_NS
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.local import UseGranted
from worldos.model.realm import Level
from worldos.model.rights import Impact
from worldos.model.statements import Topic
from worldos.trust.certs import fresh_leaf, root_certificate
from worldos.trust.grant import read_chain
from worldos.trust.revocation import GrantRevoked, write_revocation
from worldos.trust.statements import sign_statement

PATIENCE_S = 5.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wos-x-") as folder:
        yield Path(folder)


# -- online, and by a session of before -----------------------------------------------------------------------------------


def knock(address: str, context: ssl.SSLContext, before: ssl.SSLSession | None = None) -> tuple[bytes, Any, bool]:
    """Shake hands as the holder of a certificate; return what is said inside, the session, and whether it was resumed."""
    heard, session, resumed = b"", None, False
    try:
        with (
            socket.create_connection(parse_address(address), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, session=before) as tls,
        ):
            heard, session, resumed = tls.recv(4096), tls.session, bool(tls.session_reused)
    except (OSError, TimeoutError):
        pass
    return heard, session, resumed


def test_a_revoked_device_is_gone_at_once_and_refused_when_it_comes_back(folder: Path) -> None:
    desk, attic, stolen = (Home(folder / name) for name in ("desk", "attic", "stolen"))
    for home in (desk, attic):
        home.path.mkdir(mode=0o700)
    same_account(desk, attic, make_account(desk, "desk"))
    key = homes.open_key(attic)
    anchors = [root_certificate(key), root_certificate(homes.open_key(desk))]
    context = Credentials(*fresh_leaf(key, int(time.time()), key.public), anchors).client
    with running(desk) as first:
        status = first.ask("status")
        address = status["listens"][0]
        homes.write_remembered(attic, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
        shutil.copytree(attic.path, stolen.path)
        heard, session, _ = knock(address, context)
        assert heard, "while it is a member it is let in"
        with RunningPair(attic, first) as second:
            first.ask("revoke", device="attic")
            begun_s = time.monotonic()
            until(lambda: not any(row["status"] == "alive" for row in first.ask("nodes") if not row["here"]), "gone", 5)
            print(f"gone after {1000 * (time.monotonic() - begun_s):.0f} ms")
            assert second.wait() == 0, "it heard of it, and stopped"
        assert knock(address, context) == (b"", None, False) or not knock(address, context)[0]
        heard, _, resumed = knock(address, context, session)
        assert (heard, resumed) == (b"", False), "no session of before is taken up again"
        thief = RunningAgent(stolen)
        try:
            assert thief.ready, thief.line
            refused = first.ask("status")["strangers_refused"]
            until(lambda: first.ask("status")["strangers_refused"] > refused, "it knocks and is refused", 20)
            assert not any(row["status"] == "alive" for row in thief.ask("nodes") if not row["here"])
            assert [row["status"] for row in first.ask("devices") if row["name"] == "attic"] == ["revoked"]
            assert not first.ask("can", who=key.node_id, op="lease", resource="desk/CPU")["allowed"]
        finally:
            thief.end()


class RunningPair:
    """The second agent, linked with the first; it ends by itself."""

    def __init__(self, home: Home, first: RunningAgent) -> None:
        self._home, self._first = home, first

    def __enter__(self) -> RunningAgent:
        self.agent = RunningAgent(self._home)
        assert self.agent.ready, self.agent.line
        until(lambda: linked(self._first), "the two are linked", 20)
        return self.agent

    def __exit__(self, *_: object) -> None:
        if self.agent.code is None:
            self.agent.end()


# -- at a peer that did not hear of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(Level))
def test_a_peer_that_heard_nothing_refuses_what_is_costly_and_serves_the_rest(level: Level) -> None:
    """An hour and a second without news: personal and home wait longer, all others refuse from class 2 on."""
    village = Village(office=3)
    village.run(4)
    desk = village.nodes["office0"]
    desk.realms.level = level
    desk.realms.centers.known.clear()
    signer, stranger = account("office", 3)[1][1], account("home", 1)[1][0]
    other = village.nodes["office2"].node
    desk.authority.revocations.heard = {other: village.now_ns, NodeId(signer.node_id): village.now_ns + 3600 * SECOND}
    village.now_ns += 3601 * SECOND
    desk.wall_ahead_ns = NOW_S * SECOND - village.now_ns
    grant = grant_of(desk, holder=stranger, signer=signer, level=Level.PLANET, cls=Impact.IRREVERSIBLE)
    is_stale = STALE_NS[level] <= 3600 * SECOND
    for impact in Impact:
        allowed = rule(village, desk, stranger, impact, grant).allowed
        assert allowed == (impact <= Impact.REVERSIBLE or not is_stale), (level, impact)
    assert rule(village, desk, desk.node, Impact.IRREVERSIBLE).allowed, (
        "who stands before the machine is no matter of news"
    )


def test_a_guest_that_its_account_revokes_loses_its_leases_elsewhere_in_a_second() -> None:
    village = Village(home=2, office=1)
    village.run(4)
    acme = village.found("home0", "acme")
    assert [village.join("home0", name, acme) for name in ("home0", "office0")] == ["", ""]
    assert village.lend("office0") == ""
    village.run(5)
    assert isinstance(village.use("home1", cores=2, realm="acme/office"), UseGranted)
    host, guest = village.nodes["office0"], village.nodes["home1"].node
    put_out(village, "home1", by="home0")
    village.run(1)
    assert not any(lease.holder == guest for lease in host.leases.leases.values())
    assert not host.realms.kin.has(guest)
    assert guest not in host.paths


# -- by what it signs afterwards ------------------------------------------------------------------------------------------


def test_an_addition_that_is_dated_back_admits_nobody() -> None:
    log, warrant, _ = with_thief()
    before = copy_of(log)
    remove(log, LAPTOP, THIEF)
    log.merge([raw(before._history, THIEF, "add", TABLET, 1, warrant)])
    assert not {"thief", "tablet"} & active(log)
    assert {"laptop", "phone"} <= active(log)


@pytest.mark.parametrize("is_known", [False, True])
def test_its_own_child_brings_it_not_back(is_known: bool) -> None:
    """The child was admitted before the removal, seen by the remover or kept hidden, and admits its parent again."""
    log, warrant, _ = with_thief()
    hidden = copy_of(log)
    child = raw(hidden._history, THIEF, "add", TABLET, 1, warrant)
    hidden.merge([child])
    if is_known:
        log.merge([child])
    remove(log, PHONE, THIEF)
    own = next(entry for entry in hidden.entries if hidden.entries[entry] == child)
    log.merge([child])
    for seen in (hidden, log):
        with pytest.raises(PeerBroke, match="by one that it admitted"):
            log.merge([raw(seen._history, TABLET, "add", THIEF, 2, own)])
    assert "thief" not in active(log)
    assert "tablet" not in active(log) or is_known


def test_a_revoked_grant_is_refused_by_every_linked_node_within_a_second() -> None:
    """Twenty nodes: the one farthest from who revoked has served its last request a second later."""
    village = Village(office=20)
    village.run(4)
    for node in village.nodes.values():
        node.wall_ahead_ns = NOW_S * SECOND - village.now_ns
    signer, stranger = account("office", 20)[1][0], account("home", 1)[1][0]
    grant = grant_of(village.nodes["office0"], holder=stranger, signer=signer)
    served = [name for name, node in village.nodes.items() if rule(village, node, stranger, grant=grant).allowed]
    assert len(served) == 20
    taken = sign_statement(
        signer, Topic.REVOKED, write_revocation(GrantRevoked(block=read_chain(grant).authority.blocks[0]))
    )
    village.feed("office0", StatementsOffered(now_ns=village.now_ns, statements=(taken,)))
    village.run(1)
    assert [name for name, node in village.nodes.items() if rule(village, node, stranger, grant=grant).allowed] == []
