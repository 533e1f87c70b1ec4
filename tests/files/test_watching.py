"""Who is there, by links and by beats; and what carers tell each other in them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from tests.files.carers import DAY_NS, Carer, carers
from tests.files.depots import ACCOUNT, Site, site

from worldos.files.watching import BEAT_NS, LOOK_NS, Beat, Note, beat_log
from worldos.store.entry import sign_entry
from worldos.store.keys import derive
from worldos.trust.keys import DeviceKey

SEGMENT = b"s" * 16


@pytest.fixture
def three() -> Iterator[Site]:
    with site(3) as made:
        yield made


@pytest.fixture
def made(three: Site) -> Iterator[list[Carer]]:
    with carers(three) as all_carers:
        yield all_carers


def beat(carer: Carer) -> None:
    """Let it look after a beat's time, and its beat reach the others."""
    carer.now_ns += BEAT_NS + LOOK_NS
    carer.look_anew()
    carer.watch.look(carer.now_ns)
    carer.syncing.push(carer.watch.peers())


def test_who_comes_and_goes_is_seen_at_the_next_look(made: list[Carer], three: Site) -> None:
    carer = made[0]
    carer.look_anew()
    assert carer.watch.look(carer.now_ns)
    carer.look_anew()
    for _ in range(5):
        carer.now_ns += LOOK_NS + 1
        carer.look_anew()
        assert not carer.watch.look(carer.now_ns), "nobody came or went"
    three.depots[2].end()
    carer.look_anew()
    assert carer.watch.look(carer.now_ns + 2)
    assert {store.at.node for store in carer.watch.reachable()} == {depot.node for depot in three.depots[:2]}


@pytest.mark.slow
def test_a_device_that_is_met_only_by_a_third_is_known_to_live(made: list[Carer], three: Site) -> None:
    here, _, far = made
    for carer in made:
        beat(carer)
    beat(here)
    three.depots[2].end()
    for _ in range(3):
        here.live(1)
        fresh = sign_entry(
            far.key, beat_log(ACCOUNT, far.key.public), 10 + here.now_ns // DAY_NS, b"\x93\x01\x90\x90", register=True
        )
        assert three.depots[0].store is not None
        three.depots[0].store.append_many([fresh])
        here.look_anew()
        here.now_ns += LOOK_NS
        here.watch.look(here.now_ns)
    assert far.watch.me not in here.watch.lost
    assert here.watch.asleep_since(here.now_ns - DAY_NS // 2, here.now_ns, [])


def test_what_a_carer_made_is_known_to_the_others(made: list[Carer]) -> None:
    here, there = made[0], made[1]
    beat(there)
    here.watch.made(SEGMENT, 2, "somewhere", here.now_ns)
    beat(here)
    there.now_ns += LOOK_NS
    there.look_anew()
    there.watch.look(there.now_ns)
    assert there.watch.holders.held(SEGMENT) == {2: ("somewhere",)}


def test_a_beat_that_another_key_signed_or_that_is_garbage_says_nothing(made: list[Carer], three: Site) -> None:
    here, there = made[0], made[1]
    strange = DeviceKey.from_seed(b"q" * 32)
    assert three.depots[0].store is not None
    forged = sign_entry(strange, beat_log(ACCOUNT, there.key.public), 99, b"\x93\x01\x90\x90", register=True)
    three.depots[0].store.append_many([forged])
    for seq, body in enumerate((b"\xc1\xc1", b"\x93\x01\x91\xa2\xff\xfe\x90", b"\x91" * 5000), 7):
        garbage = sign_entry(made[2].key, beat_log(ACCOUNT, made[2].key.public), seq, body, register=True)
        three.depots[0].store.append_many([garbage])
        here.now_ns += LOOK_NS
        here.look_anew()
        here.watch.look(here.now_ns)
    assert here.watch.holders.held(SEGMENT) == {}


def test_who_is_given_up_is_lost_to_all_that_hear_of_it_and_doubt_it_too(made: list[Carer], three: Site) -> None:
    here = made[0]
    beat(here)
    three.depots[2].end()
    here.watch.give_up(three.depots[2].node)
    here.look_anew()
    here.now_ns += LOOK_NS
    here.watch.look(here.now_ns)
    assert here.watch.lost == {three.depots[2].node}
    three.depots[2].start()
    here.look_anew()
    here.now_ns += LOOK_NS
    assert here.watch.look(here.now_ns)
    assert here.watch.lost == frozenset()


def test_the_bytes_of_a_beat_are_those_of_its_format() -> None:
    told = Beat(1, ("node",), (Note(SEGMENT, 5, "other"),))
    raw = bytes.fromhex("930191a46e6f64659193c410" + "73" * 16 + "05a56f74686572")
    assert msgspec.msgpack.encode(told) == raw
    assert msgspec.msgpack.decode(raw, type=Beat) == told
    assert beat_log(ACCOUNT, bytes(32)) == derive(ACCOUNT.encode(), "beat", bytes(32))
