import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.trust.channel import COMMIT, Frames, Sealed, Share, Transcript, commitment_of, framed


@given(st.lists(st.binary(max_size=128), max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_whole_however_they_are_cut(payloads, cuts) -> None:
    stream = b"".join(framed(payload) for payload in payloads)
    frames, got = Frames(), []
    for number in range(len(stream) + 1):
        size = cuts[number % len(cuts)]
        frames.feed(stream[:size])
        stream = stream[size:]
        while (frame := frames.next()) is not None:
            got.append(frame)
    assert got == payloads


def test_a_frame_too_large_is_refused_before_it_is_here() -> None:
    frames = Frames()
    frames.feed((129).to_bytes(4, "big"))
    with pytest.raises(PeerBroke, match="129 bytes"):
        frames.next()


def test_the_first_byte_is_never_that_of_tls() -> None:
    assert framed(bytes(24 * 1024 * 1024))[0] != 0x16
    assert framed(bytes(128))[0] == 0


def test_both_sides_come_to_the_same_keys_and_code() -> None:
    one, two = Share(b"1" * 32), Share(b"2" * 32)
    here, there = Transcript(b"s" * 16), Transcript(b"s" * 16)
    assert there.hear(here.say(COMMIT, one.commitment)) == (COMMIT, commitment_of(one.shown))
    assert here.digest == there.digest
    keys = here.keys(one.agree(two.shown))
    assert keys == there.keys(two.agree(one.shown))
    assert len({keys[0], keys[1]}) == 2
    assert len(keys[2]) == 6
    assert keys[2].isdigit()


def test_without_the_secret_nothing_is_heard() -> None:
    assert Transcript(b"s" * 16).hear(Transcript(b"t" * 16).say(COMMIT, bytes(32))) is None


@given(st.binary(max_size=128))
def test_garbage_is_not_heard(payload: bytes) -> None:
    assert Transcript(b"s" * 16).hear(payload) is None


def test_an_open_frame_is_good_at_its_place_only() -> None:
    here, there = Transcript(b"s" * 16), Transcript(b"s" * 16)
    said = here.say(COMMIT, bytes(32))
    assert there.hear(said) is not None
    assert there.hear(said) is None
    assert here.hear(said) is None


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little")])
def test_a_degenerate_key_exchange_is_refused(public: bytes) -> None:
    with pytest.raises(PeerBroke, match="degenerate"):
        Share(b"1" * 32).agree(public + bytes(32))


def test_a_sealed_message_opens_once_and_in_order() -> None:
    out, there = Sealed(b"k" * 32), Sealed(b"k" * 32)
    first, second = out.seal(b"one"), out.seal(b"two")
    assert there.open(first) == b"one"
    for wrong in (first, b"", second[:-1]):
        with pytest.raises(PeerBroke, match="changed"):
            Sealed(b"k" * 32).open(second if wrong == first else wrong)
    assert there.open(second) == b"two"
