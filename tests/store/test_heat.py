"""Heat fades by halves, is known by place, and brings files near before they are asked for."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worldos.store.heat import DEGREE, Heats, Warm, Wish, room_for_copies
from worldos.store.limits import HEAT_FILES_MAX, HEAT_HALF_LIFE_NS

NOW_NS = 3000 * HEAT_HALF_LIFE_NS
MB = 1_000_000


def test_half_of_the_heat_is_gone_after_each_half_life() -> None:
    heats = Heats()
    for _ in range(8):
        heats.use(b"f", "desk", MB, NOW_NS)
    assert heats.heat(b"f", NOW_NS) == 8 * DEGREE
    assert heats.heat(b"f", NOW_NS + HEAT_HALF_LIFE_NS) == 4 * DEGREE
    assert heats.heat(b"f", NOW_NS + 3 * HEAT_HALF_LIFE_NS) == DEGREE
    assert heats.heat(b"f", NOW_NS + 100 * HEAT_HALF_LIFE_NS) == 0


@given(st.integers(0, 10 * HEAT_HALF_LIFE_NS), st.integers(0, 10 * HEAT_HALF_LIFE_NS))
def test_heat_only_falls_with_time(early_ns: int, later_ns: int) -> None:
    heats = Heats()
    heats.use(b"f", "desk", MB, NOW_NS)
    assert heats.heat(b"f", NOW_NS + early_ns) >= heats.heat(b"f", NOW_NS + early_ns + later_ns)


def test_what_is_used_often_here_is_wished_whole_here_and_what_cooled_down_is_not() -> None:
    heats = Heats()
    for _ in range(3):
        heats.use(b"f", "desk", MB, NOW_NS)
    assert heats.wish(b"f", "desk", NOW_NS) is Wish.WHOLE
    assert heats.wish(b"f", "phone", NOW_NS) is Wish.AS_IS
    assert heats.wish(b"f", "desk", NOW_NS + 10 * HEAT_HALF_LIFE_NS) is Wish.COLD
    assert heats.wish(b"never", "desk", NOW_NS) is Wish.COLD


def test_where_the_user_appears_the_hottest_bytes_come_first_within_room_and_link() -> None:
    heats = Heats()
    for file, uses, size_bytes in (
        (b"small", 3, MB),
        (b"large", 4, 50 * MB),
        (b"huge", 99, 5000 * MB),
        (b"mild", 1, MB),
    ):
        for _ in range(uses):
            heats.use(file, "desk", size_bytes, NOW_NS)

    def fetched(room_bytes: int = 100 * MB, link: int = 10 * MB, held: frozenset[bytes] = frozenset()) -> list[bytes]:
        return heats.prefetch("laptop", NOW_NS, held=held, room_bytes=room_bytes, link_bytes_per_s=link)

    assert fetched() == [b"small", b"mild", b"large"]
    assert fetched(held=frozenset([b"small"])) == [b"mild", b"large"]
    assert fetched(room_bytes=2 * MB) == [b"small", b"mild"]
    assert fetched(link=1) == []


def test_what_was_hot_at_this_place_comes_before_what_was_hot_elsewhere() -> None:
    heats = Heats()
    for file, place in ((b"here", "laptop"), (b"there", "desk")):
        heats.use(file, place, MB, NOW_NS)
    ordered = heats.prefetch("laptop", NOW_NS, held=(), room_bytes=9 * MB, link_bytes_per_s=MB)
    assert ordered == [b"here", b"there"]


def test_the_coldest_are_forgotten_above_the_bound() -> None:
    heats = Heats()
    for number in range(HEAT_FILES_MAX + 1):
        heats.use(number.to_bytes(4, "big"), "desk", MB, NOW_NS + number * HEAT_HALF_LIFE_NS // HEAT_FILES_MAX)
    assert len(heats.snapshot()) <= HEAT_FILES_MAX
    assert heats.heat(HEAT_FILES_MAX.to_bytes(4, "big"), NOW_NS + HEAT_HALF_LIFE_NS)
    assert not heats.heat(bytes(4), NOW_NS)


def test_heat_survives_a_restart() -> None:
    heats = Heats()
    heats.use(b"f", "desk", MB, NOW_NS)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(heats.snapshot()), type=tuple[Warm, ...])
    assert Heats(saved).heat(b"f", NOW_NS) == heats.heat(b"f", NOW_NS)


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, 10**10), st.integers(0, 10**6))
def test_copies_never_take_the_last_tenth_of_a_disk(free: int, used: int, link: int, away_ppm: int) -> None:
    capacity = free + used
    room = room_for_copies(free, capacity, link_bytes_per_s=link, away_ppm=away_ppm)
    assert 0 <= room <= max(0, free - capacity // 10)
    assert room >= room_for_copies(free, capacity, link_bytes_per_s=link, away_ppm=0)
