"""Forwards: whose socket it is that connects is read from the kernel's tables."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from worldos.errors import LeaseEnded
from worldos.lanes.net_wire import Enter
from worldos.model.ids import LeaseId
from worldos.sdk.forward import Forwards, Way, enter, is_ours

NOWHERE = Way(door="/nowhere/net", word=Enter(lease=LeaseId("l"), key=b"k" * 32))
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(local: str, remote: str, state: str, uid: int) -> str:
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 1 1 0 20 0 0 10 -1\n"
    )


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_of_this_user_is_ours_by_either_protocol(family: socket.AddressFamily) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as client:
        host = "127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1"
        client.connect((host, server.getsockname()[1]))
        there, peer = server.accept()
        with there:
            assert is_ours(peer, there.getsockname())


@pytest.mark.parametrize(
    ("state", "uid", "answer"), [("01", os.getuid(), True), ("01", os.getuid() + 1, False), ("06", os.getuid(), False)]
)
def test_another_user_or_a_socket_that_is_no_more_is_not(tmp_path: Path, state: str, uid: int, answer: bool) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        HEAD + row("0100007F:1F90", "0100007F:A001", "01", 77) + row("0100007F:A001", "0100007F:1F90", state, uid)
    )
    assert is_ours(("127.0.0.1", 0xA001), ("127.0.0.1", 0x1F90), (str(table),)) is answer


def test_who_stands_in_no_table_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEAD)
    assert not is_ours(("127.0.0.1", 1), ("127.0.0.1", 2), (str(tmp_path / "tcp"), str(tmp_path / "absent")))


def test_a_forward_to_a_door_that_is_gone_hangs_up_at_once() -> None:
    forwards = Forwards()
    try:
        with socket.create_connection(("127.0.0.1", forwards.open_port(NOWHERE, 80)), 5) as sock:
            sock.settimeout(15)
            with contextlib.suppress(ConnectionError):
                assert sock.recv(1) == b""
    finally:
        forwards.close()
    forwards.close()
    with pytest.raises(LeaseEnded):
        forwards.open_port(NOWHERE, 80)


def test_there_is_no_way_through_a_door_that_is_shut(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        enter(Way(door=str(tmp_path / "none"), word=NOWHERE.word), 80)
