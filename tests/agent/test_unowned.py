"""A machine that belongs to nobody runs nothing but the claim: no agent starts on it, and who calls it back is told nothing.

Everything that nodes and programs ever say is said to it: all messages of the wire and of the local socket, TLS, HTTP, noise.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.agent.agents import RunningAgent

from worldos.agent import home as homes
from worldos.home import Home
from worldos.model.ids import AccountId
from worldos.model.local import FromClient
from worldos.model.wire import PeerMessage
from worldos.sim.machine import account_of, device_key
from worldos.trust.channel import framed
from worldos.trust.dialogue import Close, Failed, Send
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey
from worldos.trust.pairing import Joiner, new_ticket


def joiner() -> Joiner:
    account = AccountId(KeyLog(entries=dict(account_of(1))).account)
    ticket = new_ticket(
        addresses=("127.0.0.1:1",), secret=b"s" * 16, inviter=device_key(0).node_id, account=account, expires_s=1 << 40
    )
    return Joiner(ticket=ticket, key=DeviceKey.from_seed(b"\1" * 32), name="bare", seed=b"\2" * 32)


def everything() -> list[bytes]:
    """The name of each message that there is, with no fields, with all that it may hold wrong; and what others speak."""
    kinds = {kind for union in (PeerMessage, FromClient) for kind in get_args(union)}
    tags = sorted(str(msgspec.inspect.type_info(kind).tag) for kind in kinds)  # type: ignore[attr-defined]
    said = [msgspec.msgpack.encode({"type": tag}) for tag in tags]
    dice = random.Random(1)
    said += [dice.randbytes(size) for size in (1, 2, 3, 16, 32, 64, 1000, 40_000) for _ in range(20)]
    said += [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"",
        b"\0" * 100,
    ]
    return said


def test_whatever_is_said_to_a_machine_that_joins_it_answers_nothing_but_the_claim() -> None:
    assert len(everything()) > 200
    for words in everything():
        for data in (words, framed(words) if len(words) < 60_000 else words):
            machine = joiner()
            first = machine.start()
            assert [type(output) for output in first] == [Send]
            outputs = [*machine.receive(data), *machine.closed()]
            assert all(isinstance(output, Failed | Close) for output in outputs), (data[:40], outputs)


def test_no_agent_starts_on_a_machine_that_belongs_to_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path)
    homes.open_key(home)
    agent = RunningAgent(home)
    assert agent.line.startswith("failed this machine belongs to no account yet")
    assert agent.wait() == 3
    assert not home.socket_file.exists()


@pytest.mark.parametrize("left", ["statements", "hybrid.key", "state"])
def test_what_is_left_of_an_earlier_owner_makes_it_nobodys_member(tmp_path: Path, left: str) -> None:
    home = Home(tmp_path)
    homes.open_key(home)
    (tmp_path / left).write_bytes(b"\1" * 32)
    agent = RunningAgent(home)
    assert not agent.ready
    assert agent.wait() == 3
