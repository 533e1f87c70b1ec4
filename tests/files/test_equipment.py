"""Equipment: the same few buffers for a file of any size, under every code that is chosen."""

from __future__ import annotations

import pytest

from worldos.depot.limits import PAYLOAD_BYTES_MAX
from worldos.files.equipment import Equipment, Workshop, largest_segment
from worldos.files.limits import READ_BUFFERS, READ_BYTES
from worldos.store.durability import CODES
from worldos.store.erasure import Code, share_bytes

ALL = sorted({pair for _, codes in CODES for pair in codes})
BUFFERS_BYTES_MAX = 160 << 20


@pytest.mark.parametrize(("k", "n"), ALL)
def test_every_share_fits_into_a_frame_and_all_buffers_into_memory(k: int, n: int) -> None:
    code = Code(k=k, n=n)
    equipment = Equipment(code)
    assert share_bytes(largest_segment(code), k) <= PAYLOAD_BYTES_MAX
    assert equipment.segments.count >= 2
    held = READ_BUFFERS * READ_BYTES
    held += equipment.segments.count * (equipment.segments.size_bytes + equipment.parity.size_bytes)
    assert held <= BUFFERS_BYTES_MAX


def test_equipment_is_used_again_for_the_same_code_and_not_while_a_buffer_is_out() -> None:
    workshop = Workshop()
    code = Code(k=3, n=6)
    with workshop.lend(code) as first:
        pass
    with workshop.lend(code) as again:
        assert again is first
        room = again.segments.take()
    with workshop.lend(code) as other:
        assert other is not first, "a store may still read from the one that is out"
    room.release()
    with workshop.lend(Code(k=2, n=5)) as narrow:
        assert narrow.code == Code(k=2, n=5)
    workshop.close()
