"""Recovery words: 32 bytes of chance that a person can keep on paper.

24 words of the BIP-39 English list carry 256 bits and an 8-bit checksum. The recovery key is HKDF-SHA256 of those 256
bits: they are as random as the key itself, so the slow hash that BIP-39 adds for short passphrases would protect
nothing. A mistake is named by the place and the word, because the person who types has only the paper. The word list
is a data file of the ``mnemonic`` package, read at first use. Source: BIP-39; RFC 5869.
"""

from __future__ import annotations

import difflib
import functools
import unicodedata

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from worldos.errors import BadRequest

ENTROPY_BYTES = 32
WORD_COUNT = 24
_WORD_CHARS_MAX = 16
_TEXT_CHARS_MAX = 4096


def words_from_entropy(entropy: bytes) -> str:
    """Write 32 random bytes as 24 words, separated by single spaces."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"recovery words are made of {ENTROPY_BYTES} bytes, not {len(entropy)}")
    return str(_language().to_mnemonic(entropy))


def seed_from_words(words: str) -> bytes:
    """Return the 32-byte seed of the recovery key; raise BadRequest that names the word which is wrong."""
    said = unicodedata.normalize("NFKD", words[:_TEXT_CHARS_MAX]).lower().split()
    if len(said) != WORD_COUNT:
        raise BadRequest(f"recovery takes {WORD_COUNT} words, and these are {len(said)}")
    known = _language().wordlist
    for place, word in enumerate(said, start=1):
        if word not in known:
            raise BadRequest(
                f"word {place}, {word[:_WORD_CHARS_MAX]!r}, is not in the word list", hint=_nearest(word, known)
            )
    try:
        entropy = bytes(_language().to_entropy(said))
    except ValueError as cause:
        raise BadRequest(
            "all the words are known, but together they are not a recovery phrase",
            hint="one word is wrong or two are swapped: compare with the paper, in order",
        ) from cause
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"worldos/recovery/1").derive(entropy)


@functools.cache
def _language() -> Mnemonic:
    return Mnemonic("english")


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:_WORD_CHARS_MAX], known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else "every word is on the English BIP-39 list"
