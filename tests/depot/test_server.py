import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from worldos.depot import server as servers
from worldos.depot import wire
from worldos.depot.block_store import BlockStore
from worldos.depot.limits import GUEST_CONNECTIONS_MAX, LEAF_BYTES, WORKERS_OWN
from worldos.depot.link import StoreLink
from worldos.depot.server import DepotServer
from worldos.depot.stream import Inlet
from worldos.errors import BadRequest, DiskFull, OverQuota, PeerBroke, Unreachable, WorldError
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

WHO = wire.Who(node="n", account="me", rights="own")
GUEST = wire.Who(node="g", account="guest", rights="guest")
LOG = bytes([9]) * 32
WAIT_S = 10


def share_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def digests(data: bytes) -> bytes:
    return bytes(-(-len(data) // LEAF_BYTES) * 32)


def wait_for(condition, what: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until_s, what
        time.sleep(0.005)


@pytest.fixture
def depot(tmp_path):
    with BlockStore(tmp_path / "depot", capacity_bytes=1 << 30) as store:
        server = DepotServer(store, tmp_path / "s")
        server.start()
        yield server, tmp_path / "s"
        server.close()


@pytest.fixture
def path(depot):
    return depot[1]


def raw(path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    sock.connect(str(path))
    return sock


def test_many_shares_of_all_sizes_go_in_and_come_out(path):
    dice = random.Random(1)
    shares = {
        share_id(n): dice.randbytes(dice.choice((1, 100, LEAF_BYTES, LEAF_BYTES + 1, 1 << 20))) for n in range(40)
    }
    with StoreLink.open(path, WHO) as link:
        done = [link.put_share(share, data, digests=digests(data)) for share, data in shares.items()]
        for future in done:
            future.result(WAIT_S)
        assert link.have(list(shares)).result(WAIT_S) == tuple(len(data) for data in shares.values())
        asked = {share: link.get_share(share, digests=True) for share in shares}
        for share, future in asked.items():
            fetched = future.result(WAIT_S)
            assert fetched.data == shares[share]
            assert fetched.digests == digests(shares[share])


def test_many_programs_at_once_do_not_meet(path):
    def program(number: int) -> None:
        dice = random.Random(number)
        with StoreLink.open(path, WHO) as link:
            for turn in range(10):
                data = dice.randbytes(dice.choice((10, 100_000)))
                share = share_id(number * 100 + turn)
                link.put_share(share, data, digests=digests(data)).result(WAIT_S)
                assert link.get_share(share).result(WAIT_S).data == data

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(program, range(6)))


def test_entries_survive_their_server(tmp_path):
    entry = sign_entry(DeviceKey.from_seed(bytes(32)), LOG, 1, b"x" * (4 << 20))
    for turn in range(2):
        with BlockStore(tmp_path / "depot", capacity_bytes=1 << 30) as store:
            server = DepotServer(store, tmp_path / "s")
            server.start()
            with StoreLink.open(tmp_path / "s", WHO) as link:
                if not turn:
                    assert link.append([entry]).result(WAIT_S) == 1
                assert link.read_log(LOG).result(WAIT_S) == (entry,)
            server.close()


def test_the_door_is_for_this_user_alone(path):
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_first_frame_says_who_speaks(depot):
    server, path = depot
    with StoreLink.open(path) as link, pytest.raises(PeerBroke, match="first frame"):
        link.have([]).result(WAIT_S)
    with raw(path) as sock:
        sock.sendall(wire.frame_head(WHO) * 2)
        refused = wire.read_reply(Inlet(sock, stall_s=1).next()[0])
        assert (refused.id, refused.error) == (0, "PeerBroke")
    wait_for(lambda: server.statistics().connections == 0, "they were hung up on")
    assert server.statistics().broke == 2


def test_another_version_is_told_so(path):
    newer = wire.Who(version=wire.VERSION + 1, node="n", account="a", rights="own")
    with StoreLink.open(path, newer) as link, pytest.raises(BadRequest, match="version"):
        link.have([]).result(WAIT_S)


GARBAGE = (
    ("an endless head", b"\xff" * 8),
    ("an empty head", bytes(8)),
    ("no msgpack", wire.HEADER.pack(4, 0) + b"\xc1\xc1\xc1\xc1"),
    ("an answer", wire.frame_head(wire.Done(id=1))),
    ("an endless payload", wire.HEADER.pack(1, 2**32 - 1)),
    ("a web browser", b"GET / HTTP/1.1\r\n\r\n"),
)


@pytest.mark.parametrize("garbage", [data for _, data in GARBAGE], ids=[name for name, _ in GARBAGE])
@pytest.mark.parametrize("greeted", [False, True])
def test_garbage_ends_its_own_connection_with_a_reason(path, garbage, greeted, capfd):
    with StoreLink.open(path, WHO) as other, raw(path) as sock:
        sock.sendall((wire.frame_head(WHO) if greeted else b"") + garbage)
        inlet = Inlet(sock, stall_s=1)
        refused = wire.read_reply(inlet.next()[0])
        assert (refused.id, refused.error) == (0, "PeerBroke")
        assert inlet.next() is None
        assert other.have([]).result(WAIT_S) == ()
    assert "Traceback" not in capfd.readouterr().err


def test_random_bytes_never_do_more_than_end_their_connection(depot, capfd):
    server, path = depot
    dice = random.Random(7)
    greeting, plain = wire.frame_head(WHO), wire.frame_head(wire.Have(id=1, shares=(LOG,)))
    for _ in range(150):
        frame = bytearray(plain)
        frame[dice.randrange(len(frame))] ^= 1 << dice.randrange(8)
        with raw(path) as sock:
            sock.sendall(greeting + bytes(frame) + dice.randbytes(dice.randrange(50)))
    wait_for(lambda: server.statistics().connections == 0, "they were hung up on")
    with StoreLink.open(path, WHO) as link:
        assert link.have([LOG]).result(WAIT_S) == (-1,)
    assert "Traceback" not in capfd.readouterr().err


def test_who_does_not_read_its_answers_holds_nobody_else_up(path):
    data = os.urandom(1 << 20)
    with StoreLink.open(path, WHO) as link, raw(path) as lazy:
        link.put_share(LOG, data, digests=digests(data)).result(WAIT_S)
        lazy.sendall(wire.frame_head(WHO))
        asked = [wire.frame_head(wire.GetShare(id=number, share=LOG)) for number in range(100)]
        lazy.sendall(b"".join(asked))  # more than all the buffers on the way hold
        for _ in range(20):
            assert link.get_share(LOG).result(WAIT_S).data == data


def test_a_program_that_dies_in_the_middle_of_a_share_leaves_nothing_of_it(depot):
    server, path = depot
    head = wire.PutShare(id=1, share=LOG, owner="", kind="share", digests=digests(bytes(1 << 20)))
    with raw(path) as sock:
        sock.sendall(wire.frame_head(WHO) + wire.frame_head(head, 1 << 20) + bytes(1000))
    wait_for(lambda: server.statistics().connections == 0, "it was let go")
    with StoreLink.open(path, WHO) as link:
        assert link.have([LOG]).result(WAIT_S) == (-1,)


def test_guests_never_keep_the_owner_out(depot):
    server, path = depot
    guests = [StoreLink.open(path, GUEST) for _ in range(GUEST_CONNECTIONS_MAX)]
    for guest in guests:
        guest.have([]).result(WAIT_S)
    with StoreLink.open(path, GUEST) as late, pytest.raises(OverQuota):
        late.have([]).result(WAIT_S)
    with StoreLink.open(path, WHO) as link:
        assert link.have([]).result(WAIT_S) == ()
    for guest in guests:
        guest.close()
    wait_for(lambda: server.statistics().guests == 0, "the guests have gone")


def test_threads_come_with_work_and_go_without(depot, monkeypatch):
    monkeypatch.setattr(servers, "IDLE_S", 0.05)
    server, path = depot
    data = os.urandom(1 << 18)
    with StoreLink.open(path, WHO) as link:
        for future in [link.put_share(share_id(n), data, digests=digests(data)) for n in range(64)]:
            future.result(WAIT_S)
        assert 1 < server.statistics().threads <= WORKERS_OWN
        wait_for(lambda: server.statistics().threads == 1, "one thread stays")
        assert link.have([share_id(0)]).result(WAIT_S) == (len(data),)


def test_a_closed_server_leaves_no_thread_and_no_socket(tmp_path):
    before = threading.active_count()
    with BlockStore(tmp_path / "depot", capacity_bytes=1 << 30) as store:
        beside = threading.active_count()
        server = DepotServer(store, tmp_path / "s")
        server.start()
        link = StoreLink.open(tmp_path / "s", WHO)
        link.have([]).result(WAIT_S)
        server.close()
        with pytest.raises(Unreachable):
            link.have([]).result(WAIT_S)
        link.close()
        assert not (tmp_path / "s").exists()
        wait_for(lambda: threading.active_count() <= beside, "all threads have ended")
    assert threading.active_count() <= before + 1


def test_a_socket_that_cannot_be_made_is_said(tmp_path):
    with BlockStore(tmp_path / "depot", capacity_bytes=1 << 30) as store, pytest.raises(DiskFull, match="nowhere"):
        DepotServer(store, tmp_path / "nowhere" / "s").start()


def test_what_a_store_refuses_reaches_the_program_as_it_is(path):
    with StoreLink.open(path, WHO) as link:
        link.put_share(LOG, b"x", digests=bytes(32)).result(WAIT_S)
        errors: list[WorldError] = []
        for future in (link.put_share(LOG, b"y", digests=bytes(32)), link.get_share(share_id(5))):
            with pytest.raises(WorldError) as caught:
                future.result(WAIT_S)
            errors.append(caught.value)
        assert [type(error).__name__ for error in errors] == ["NotAllowed", "BadRequest"]
        assert link.is_open
