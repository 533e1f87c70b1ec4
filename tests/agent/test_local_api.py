"""The local door: every byte is checked, a wrong one costs its own connection and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import RunningAgent, framed, heard, raw

from worldos.agent.local_api import WAITING_BYTES_MAX, Client, LocalApi
from worldos.model.limits import LOCAL_MESSAGE_BYTES_MAX
from worldos.model.local import LOCAL_VERSION, Answer, Ask, Failure, FromClient, Hello, Noticed, ToClient

HELLO = framed(msgspec.msgpack.encode(Hello(version=LOCAL_VERSION, program="test")))
decode = msgspec.msgpack.Decoder(ToClient).decode


def asked(name: str, **arguments: object) -> bytes:
    return framed(msgspec.msgpack.encode(Ask(request=7, name=name, arguments=arguments)))


def answered(agent: RunningAgent, data: bytes) -> Failure:
    """Send bytes that are wrong; return what the agent says before it hangs up."""
    with raw(agent.home.socket_file) as sock:
        sock.sendall(data)
        said = heard(sock)
    failure = decode(said[4:])
    assert isinstance(failure, Failure)
    assert agent.ask("status")["name"] == "desk"
    return failure


def test_only_the_user_may_open_the_door(agent: RunningAgent) -> None:
    assert stat.S_IMODE(agent.home.socket_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(agent.home.path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"hello", b"\x80", b"\x91" * 2000, msgspec.msgpack.encode({"type": "q"}), msgspec.msgpack.encode(3)],
)
def test_a_frame_that_is_no_message_ends_the_connection_with_a_sentence(agent: RunningAgent, body: bytes) -> None:
    failure = answered(agent, HELLO + framed(body))
    assert "no message" in failure.message
    assert failure.hint


def test_a_message_too_long_is_refused_before_it_is_read(agent: RunningAgent) -> None:
    failure = answered(agent, HELLO + (LOCAL_MESSAGE_BYTES_MAX + 1).to_bytes(4, "little"))
    assert "bytes" in failure.message


def test_a_program_of_another_version_is_told_so(agent: RunningAgent) -> None:
    hello = msgspec.msgpack.encode(Hello(version=99, program="old"))
    assert "speaks version 99" in answered(agent, framed(hello)).message


def test_nothing_is_answered_before_hello(agent: RunningAgent) -> None:
    assert "hello" in answered(agent, asked("status")).message


def test_a_megabyte_of_random_bytes_hurts_nobody(agent: RunningAgent) -> None:
    for seed in range(5):
        data = random.Random(seed).randbytes(1 << 20)
        with raw(agent.home.socket_file) as sock:
            try:
                sock.sendall(data)
                heard(sock)
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert agent.ask("status")["name"] == "desk"


def test_a_message_in_single_bytes_is_a_message(agent: RunningAgent) -> None:
    with raw(agent.home.socket_file) as sock:
        for byte in HELLO + asked("status"):
            sock.sendall(bytes([byte]))
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "little"):
            answer += sock.recv(65536)
    message = decode(answer[4:])
    assert isinstance(message, Answer)
    assert message.request == 7


def test_half_a_message_and_a_hang_up_leave_nothing(agent: RunningAgent) -> None:
    before = len(os.listdir(f"/proc/{agent.process.pid}/fd"))
    for _ in range(50):
        with raw(agent.home.socket_file) as sock:
            sock.sendall(HELLO[:7])
    assert agent.ask("status")["programs"] == 1
    assert len(os.listdir(f"/proc/{agent.process.pid}/fd")) <= before + 2


class Heard:
    """Who listens behind the door."""

    def __init__(self) -> None:
        self.messages: list[FromClient] = []
        self.gone = asyncio.Event()
        self.came = asyncio.Event()
        self.clients: list[Client] = []

    def client_said(self, client: Client, message: FromClient) -> None:
        self.messages.append(message)
        self.clients.append(client)
        self.came.set()

    def client_gone(self, client: Client) -> None:
        self.gone.set()


def test_a_program_that_does_not_read_is_dropped(folder: Path) -> None:
    async def story() -> None:
        listener = Heard()
        api = LocalApi(folder / "a.sock", listener)
        await api.start()
        reader, writer = await asyncio.open_unix_connection(folder / "a.sock")
        writer.write(HELLO + asked("status"))
        async with asyncio.timeout(30):
            await listener.came.wait()
            (client,) = listener.clients
            for _ in range(WAITING_BYTES_MAX // (1 << 20) + 2):
                client.tell(Noticed(name="x" * (1 << 20), fields={}))
            await listener.gone.wait()
        writer.close()
        del reader
        await api.close()

    asyncio.run(story())


def test_a_socket_that_a_killed_agent_left_is_taken_over(folder: Path) -> None:
    async def story() -> None:
        (folder / "a.sock").touch()
        api = LocalApi(folder / "a.sock", Heard())
        await api.start()
        _, writer = await asyncio.open_unix_connection(folder / "a.sock")
        writer.close()
        await api.close()
        assert not (folder / "a.sock").exists()

    asyncio.run(story())
