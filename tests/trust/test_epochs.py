"""Epochs: sealed to each device, named by their key, and open to nobody else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged, PeerBroke
from worldos.trust.epochs import (
    BODY_BYTES_MAX,
    PAD_BYTES,
    WRAPS_MAX,
    epoch_id,
    open_epoch,
    open_under,
    read_epoch,
    seal_under,
    tell_epoch,
)
from worldos.trust.hybrid import HybridKey
from worldos.trust.keys import DeviceKey

KEY = b"\7" * 32
DEVICES = [(DeviceKey.from_seed(bytes([n]) * 32), HybridKey(bytes([n + 100]) * 32)) for n in range(14)]


def told(count: int, number: int = 1) -> tuple[bytes, ...]:
    return tell_epoch(number, KEY, [(device.node_id, hybrid.public) for device, hybrid in DEVICES[:count]])


def test_each_device_opens_its_own_wrap_and_no_other_does() -> None:
    (body,) = told(3)
    epoch = read_epoch(body)
    assert epoch.id == epoch_id(1, KEY)
    for device, hybrid in DEVICES[:3]:
        assert open_epoch(epoch, device.public, hybrid) == KEY
    stranger, hybrid = DEVICES[3]
    assert open_epoch(epoch, stranger.public, hybrid) is None
    with pytest.raises(Damaged):
        open_epoch(epoch, DEVICES[0][0].public, hybrid)


def test_many_devices_are_told_in_several_statements_each_small_enough() -> None:
    bodies = told(WRAPS_MAX + 2)
    assert len(bodies) == 2
    assert all(len(body) <= BODY_BYTES_MAX for body in bodies)
    opened = [open_epoch(read_epoch(body), DEVICES[13][0].public, DEVICES[13][1]) for body in bodies]
    wrapped = [{wrap.to for wrap in read_epoch(body).wraps} for body in bodies]
    assert not wrapped[0] & wrapped[1]
    assert sorted(map(bool, opened)) == [False, True]


def test_a_wrap_that_holds_another_key_than_its_epoch_is_a_lie() -> None:
    device, hybrid = DEVICES[0]
    epoch = read_epoch(told(1)[0])
    for lie in (msgspec.structs.replace(epoch, number=2), msgspec.structs.replace(epoch, id=b"\1" * 32)):
        with pytest.raises(Damaged):
            open_epoch(lie, device.public, hybrid)


def test_only_the_one_right_form_is_read() -> None:
    (body,) = told(2)
    epoch = read_epoch(body)
    again = msgspec.msgpack.encode
    for wrong in (
        b"",
        body[:-1],
        body + b"\0",
        bytes(BODY_BYTES_MAX + 1),
        again(msgspec.structs.replace(epoch, number=0)),
        again(msgspec.structs.replace(epoch, number=1 << 60)),
        again(msgspec.structs.replace(epoch, wraps=epoch.wraps[::-1])),
        again(msgspec.structs.replace(epoch, wraps=(epoch.wraps[0], epoch.wraps[0]))),
        again(msgspec.structs.replace(epoch, wraps=())),
        again([1, epoch.id, [[b"short", b"box"]]]),
        b"\x93\xcd\0\x01" + body[2:],  # the number in more bytes than it needs
    ):
        with pytest.raises(PeerBroke):
            read_epoch(wrong)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_epoch(data)


@given(st.binary(max_size=500), st.binary(min_size=12, max_size=12))
def test_what_is_sealed_under_an_epoch_opens_whole_and_its_size_tells_little(text: bytes, nonce: bytes) -> None:
    sealed = seal_under(KEY, b"p", text, nonce, about=b"a")
    assert open_under(KEY, b"p", sealed, about=b"a") == text
    assert (len(sealed) - 12 - 16) % PAD_BYTES == 0


def test_another_key_purpose_or_bound_text_opens_nothing() -> None:
    sealed = seal_under(KEY, b"p", b"text", bytes(12), about=b"a")
    for key, purpose, about in ((b"\1" * 32, b"p", b"a"), (KEY, b"q", b"a"), (KEY, b"p", b"b")):
        with pytest.raises(Damaged):
            open_under(key, purpose, sealed, about=about)
    for cut in (sealed[:20], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(Damaged):
            open_under(KEY, b"p", cut, about=b"a")
