"""Feature codes: the one short code of a person or firm, to which others encrypt, and by which they share.

``wos1`` and 36 characters of base32: the first 20 bytes of the account's id, which are its first 32 characters as they
stand, and 20 bits that catch a slip of the hand. The code is no secret and gives no right. It names the account for
ever, since the id is the hash of its genesis: whoever shows a key log whose genesis hashes to other characters is
somebody else. Which keys are sealed to is read in that log (``cards``), so a code outlives every device.

Codes of files (``store.caps``) begin alike and are 60 characters long; the length tells which is which. Blanks, line
breaks, dashes and capitals are forgiven, as there. What somebody *is* (a face, a finger) may unlock a device and is
never part of a code: it cannot be taken back. Source: RFC 4648 section 6.
"""

from __future__ import annotations

import hashlib

from worldos.errors import BadRequest
from worldos.model.ids import AccountId
from worldos.trust.keys import bytes_of

PREFIX = "wos1"
NAMED_CHARS = 32
CHECK_CHARS = 4
CODE_CHARS = len(PREFIX) + NAMED_CHARS + CHECK_CHARS
_TEXT_CHARS_MAX = 4096
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_BLANKS = dict.fromkeys(map(ord, "-\u2010\u2011\u2013"))  # hyphens that writing programs put in for one


def feature_code_of(account: AccountId) -> str:
    """Return the code of an account: 40 characters."""
    bytes_of(account)
    named = account[:NAMED_CHARS]
    return PREFIX + named + _check(named)


def read_feature_code(text: str) -> str:
    """Return the 32 characters with which the account's id begins; raise BadRequest that says what is wrong."""
    code = _cleaned(text)
    if not code.startswith(PREFIX):
        raise BadRequest(
            f"this is no code of a person: those begin with {PREFIX}", hint="they see theirs with: wos account code"
        )
    if len(code) != CODE_CHARS:
        raise BadRequest(
            f"the code of a person has {CODE_CHARS} characters, not {len(code)}",
            hint="copy the whole of it; codes of 60 characters are of files: wos open CODE",
        )
    for place, letter in enumerate(code, start=1):
        if letter not in _ALPHABET and place > len(PREFIX):
            raise BadRequest(
                f"character {place}, {letter!r}, is in no code", hint="codes are made of a to z and 2 to 7"
            )
    named, check = code[len(PREFIX) : -CHECK_CHARS], code[-CHECK_CHARS:]
    if check != _check(named):
        raise BadRequest("this code has a wrong character somewhere", hint="compare it with the original, or ask again")
    return named


def is_feature_code(text: str) -> bool:
    """Tell whether somebody means a person by this: it begins as codes do, and is as long as theirs."""
    code = _cleaned(text)
    return code.startswith(PREFIX) and len(code) == CODE_CHARS


def names_account(code: str, account: AccountId) -> bool:
    """Tell whether a code is that of this account; raise BadRequest if it is none at all."""
    return account[:NAMED_CHARS] == read_feature_code(code)


def _cleaned(text: str) -> str:
    return "".join(text[:_TEXT_CHARS_MAX].split()).translate(_BLANKS).lower()


def _check(named: str) -> str:
    number = int.from_bytes(hashlib.sha256(b"worldos/feature code\0" + named.encode("ascii", "replace")).digest()[:4])
    return "".join(_ALPHABET[number >> shift & 31] for shift in (27, 22, 17, 12))
