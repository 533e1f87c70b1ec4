import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.trust.words import seed_from_words, words_from_entropy

WORDS = words_from_entropy(bytes(range(32)))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_words_lead_back_to_one_seed(entropy: bytes, other: bytes) -> None:
    words = words_from_entropy(entropy)
    assert len(words.split()) == 24
    assert seed_from_words(words) == seed_from_words(words_from_entropy(entropy))
    assert (seed_from_words(words) == seed_from_words(words_from_entropy(other))) == (entropy == other)


def test_the_seed_of_known_words_never_changes() -> None:
    """A phrase on paper must open the account in every later version."""
    assert words_from_entropy(bytes(32)) == "abandon " * 23 + "art"
    assert seed_from_words("abandon " * 23 + "art").hex() == GOLDEN_SEED


GOLDEN_SEED = "fef2080845f730f0dcff31faec96f53a2259a0f6d682d1afa2033574e3459e55"


def test_case_and_spaces_do_not_matter() -> None:
    assert seed_from_words(f"  {WORDS.upper().replace(' ', chr(10))} ") == seed_from_words(WORDS)


def test_a_wrong_word_is_named_by_its_place_with_what_it_may_be() -> None:
    said = WORDS.split()
    said[6] = "abandonn"
    with pytest.raises(BadRequest, match="word 7, 'abandonn', is not in the word list") as caught:
        seed_from_words(" ".join(said))
    assert "abandon" in caught.value.hint


def test_two_swapped_words_fail_the_checksum() -> None:
    said = WORDS.split()
    said[0], said[1] = said[1], said[0]
    with pytest.raises(BadRequest, match="together they are not a recovery phrase") as caught:
        seed_from_words(" ".join(said))
    assert "swapped" in caught.value.hint


@pytest.mark.parametrize("count", [0, 1, 12, 23, 25])
def test_another_number_of_words_is_counted(count: int) -> None:
    with pytest.raises(BadRequest, match=f"takes 24 words, and these are {count}"):
        seed_from_words("abandon " * count)


@given(st.text(max_size=300))
def test_any_text_is_refused_as_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        seed_from_words(text)


def test_a_wrong_word_of_any_length_is_cut_before_it_is_shown() -> None:
    with pytest.raises(BadRequest) as caught:
        seed_from_words("x" * 3000 + " abandon" * 23)
    assert len(str(caught.value)) < 100
