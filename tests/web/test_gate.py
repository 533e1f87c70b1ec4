"""Who gets in, and who does not. No clock and no chance here: both are given."""

from __future__ import annotations

import base64

import pytest

from worldos.errors import NotAllowed
from worldos.web.gate import PAGE_HEADER, Gate, Visit, make_link, vouch
from worldos.web.limits import CHALLENGES_MAX, LINK_LIFE_S, SURE_LIFE_S, VISIT_LIFE_S, VISITS_MAX

ORIGIN = "http://localhost:7381"
KEY = b"k" * 32
WALL_S, NOW_S = 1_800_000_000, 5000


def gate(origin: str = ORIGIN) -> Gate:
    return Gate(origin, KEY)


def link(nonce: bytes = b"n" * 16, at_s: int = WALL_S, key: bytes = KEY) -> str:
    return make_link(key, nonce, at_s)


def random(seed: int = 1) -> bytes:
    return bytes([seed]) * 32 + bytes([seed + 100]) * 32


def entered(place: Gate, seed: int = 1) -> Visit:
    return place.enter(link(bytes([seed]) * 16), random(seed), WALL_S, NOW_S)


def keys_of(place: Gate, visit: Visit) -> tuple[dict[str, str], dict[str, str]]:
    return {place.cookie_name: visit.cookie}, {PAGE_HEADER: visit.secret}


def test_a_link_lets_in_once() -> None:
    place = gate()
    visit = place.enter(link(), random(), WALL_S, NOW_S)
    assert place.visit(*keys_of(place, visit), NOW_S) is visit
    with pytest.raises(NotAllowed, match="used already"):
        place.enter(link(), random(2), WALL_S, NOW_S)
    with pytest.raises(NotAllowed, match="used already"):
        place.enter(link(), random(2), WALL_S + LINK_LIFE_S - 1, NOW_S)


def test_a_link_lasts_two_minutes() -> None:
    place = gate()
    with pytest.raises(NotAllowed, match="too old"):
        place.enter(link(), random(), WALL_S + LINK_LIFE_S, NOW_S)
    with pytest.raises(NotAllowed, match="too old"):  # a clock that went back makes no link longer
        place.enter(link(), random(), WALL_S - 1, NOW_S)
    place.enter(link(), random(), WALL_S + LINK_LIFE_S - 1, NOW_S)


@pytest.mark.parametrize(
    "text",
    ["", "x", "=" * 80,
      "A" * 75, "A" * 10_000, "\0" * 75, "\u00e9" * 75, link(key=b"q" * 32), link()[:-1], link() + "A", link().swapcase()],
)  # fmt: skip
def test_no_other_link_lets_in(text: str) -> None:
    with pytest.raises(NotAllowed, match="opens nothing"):
        gate().enter(text, random(), WALL_S, NOW_S)


def test_one_of_the_two_secrets_is_not_enough() -> None:
    place = gate()
    cookies, headers = keys_of(place, entered(place))
    others, other_headers = keys_of(place, entered(place, 2))
    for seen, shown in (({}, headers), (cookies, {}), ({}, {}), (cookies, other_headers), (others, headers)):
        with pytest.raises(NotAllowed, match="not signed in"):
            place.visit(seen, shown, NOW_S)
    with pytest.raises(NotAllowed):
        place.visit({place.cookie_name: "\udcff"}, {PAGE_HEADER: "\u1234"}, NOW_S)


def test_a_visit_ends_after_twelve_hours_and_when_it_is_left() -> None:
    place = gate()
    visit, other = entered(place), entered(place, 2)
    keys = keys_of(place, visit)
    place.visit(*keys, NOW_S + VISIT_LIFE_S - 1)
    with pytest.raises(NotAllowed, match="over"):
        place.visit(*keys, NOW_S + VISIT_LIFE_S)
    with pytest.raises(NotAllowed, match="not signed in"):
        place.visit(*keys, NOW_S)
    place.leave(other)
    with pytest.raises(NotAllowed, match="not signed in"):
        place.visit(*keys_of(place, other), NOW_S)


def test_presence_is_good_for_a_quarter_of_an_hour() -> None:
    place = gate()
    visit = entered(place)
    place.check_sure(visit, NOW_S + SURE_LIFE_S - 1)
    with pytest.raises(NotAllowed, match="prove that it is you"):
        place.check_sure(visit, NOW_S + SURE_LIFE_S)
    place.prove(visit, NOW_S + VISIT_LIFE_S - 60)
    with pytest.raises(NotAllowed):  # no proof is good for longer than the visit
        place.check_sure(visit, NOW_S + VISIT_LIFE_S)


def test_the_oldest_visit_makes_room_for_a_new_one() -> None:
    place = gate()
    visits = [entered(place, seed) for seed in range(1, VISITS_MAX + 2)]
    with pytest.raises(NotAllowed):
        place.visit(*keys_of(place, visits[0]), NOW_S)
    for visit in visits[1:]:
        place.visit(*keys_of(place, visit), NOW_S)


def test_a_challenge_is_spent_once_by_who_got_it_and_soon() -> None:
    place = gate()
    visit, other = entered(place), entered(place, 2)
    visit.remember(b"c", NOW_S)
    with pytest.raises(NotAllowed):
        other.spend(b"c", NOW_S)
    visit.spend(b"c", NOW_S + 1)
    with pytest.raises(NotAllowed):
        visit.spend(b"c", NOW_S + 1)
    visit.remember(b"d", NOW_S)
    with pytest.raises(NotAllowed):
        visit.spend(b"d", NOW_S + 301)
    for number in range(3 * CHALLENGES_MAX):
        visit.remember(number.to_bytes(4, "big"), NOW_S)
    assert len(visit.challenges) == CHALLENGES_MAX


RIGHT = {"host": "localhost:7381", "origin": ORIGIN, "sec-fetch-site": "same-origin"}


def test_the_page_itself_may_ask() -> None:
    gate().check_headers(RIGHT, asks=True)
    gate().check_headers({"host": "localhost:7381", "origin": ORIGIN}, asks=True)
    gate().check_headers({"host": "localhost:7381", "sec-fetch-site": "none"}, asks=False)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:7381", "127.0.0.1:7381", "localhost", "localhost:80", "localhost:7381.", "[::1]:7381"]
)  # fmt: skip
def test_another_name_for_this_address_is_another_page(host: str) -> None:
    for asks in (True, False):
        with pytest.raises(NotAllowed, match="nothing else"):
            gate().check_headers({**RIGHT, "host": host}, asks=asks)


@pytest.mark.parametrize(
    "lie",
    [{"origin": "http://localhost:3000"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""},
     {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}],
)  # fmt: skip
def test_another_page_may_ask_nothing(lie: dict[str, str]) -> None:
    with pytest.raises(NotAllowed, match="only the page itself"):
        gate().check_headers({**RIGHT, **lie}, asks=True)


def test_a_page_behind_a_name_takes_that_name_and_a_stricter_cookie() -> None:
    place = gate("https://desk.example.org")
    assert (place.host, place.rp_id, place.cookie_name) == ("desk.example.org", "desk.example.org", "__Host-wos")
    place.check_headers({"host": "desk.example.org", "origin": "https://desk.example.org"}, asks=True)
    with pytest.raises(NotAllowed):
        place.check_headers(RIGHT, asks=True)


def test_a_page_vouches_for_itself_and_that_opens_nothing() -> None:
    place = gate()
    nonce = base64.urlsafe_b64encode(b"n" * 16).decode().rstrip("=")
    said = place.vouch(nonce)
    assert said == vouch(KEY, b"n" * 16)
    assert said != vouch(b"q" * 32, b"n" * 16)
    for bad in ("", "AAAA", "!", nonce + nonce):
        with pytest.raises(NotAllowed):
            place.vouch(bad)
    with pytest.raises(NotAllowed, match="opens nothing"):
        place.enter(said, random(), WALL_S, NOW_S)
