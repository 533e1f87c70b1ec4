"""Caps: the right to a file as one code that can be sent, of 60 characters.

A code is ``wos1`` and 56 characters of lower-case base32: ``version(3 bits) kind(1) right(4) secret(32 bytes)
check(2 bytes)``. The secret is that of the right (``keys``): who has one code can make those of lesser rights and no
others. The check catches a slip of the hand, with 1 in 65 536 to pass; it protects nothing, since the secret does.
Blanks, line breaks, dashes and capitals are forgiven, because codes travel through letters and telephones.
Source: RFC 4648 section 6; docs/reference/formats/caps.md.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Literal

import blake3
import msgspec

from worldos.errors import BadRequest, NotAllowed
from worldos.store import keys
from worldos.store.keys import SECRET_BYTES, Bytes32

CODE_CHARS = 60
VERSION = 1
_PREFIX = "wos1"
_CHECK_BYTES = 2
_CHECK_CONTEXT = "worldos 2026 store code check"
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_TEXT_CHARS_MAX = 4096
_BLANKS = "-\u2010\u2011\u2013"  # hyphens that writing programs put in for one


class Right(StrEnum):
    """What a cap lets its holder do with a file."""

    READ = "read"
    VERIFY = "verify"
    APPEND = "append"
    WRITE = "write"


_RIGHTS = (Right.READ, Right.VERIFY, Right.APPEND, Right.WRITE)
_KINDS: tuple[Literal["file", "folder"], ...] = ("file", "folder")
_LESSER = {
    Right.WRITE: (Right.READ, Right.VERIFY, Right.APPEND),
    Right.READ: (Right.VERIFY,),
    Right.VERIFY: (),
    Right.APPEND: (),
}

Kind = Literal["file", "folder"]


class Cap(msgspec.Struct, frozen=True, kw_only=True):
    """A right and the secret that is the right. Its repr shows no secret: a log must not leak one."""

    right: Right
    kind: Kind = "file"
    secret: Bytes32

    def code(self) -> str:
        """Write this cap as the 60 characters that are sent."""
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"the secret of a cap has {SECRET_BYTES} bytes, not {len(self.secret)}")
        first = VERSION << 5 | _KINDS.index(self.kind) << 4 | _RIGHTS.index(self.right)
        held = bytes([first]) + self.secret
        return _PREFIX + base64.b32encode(held + _check(held)).decode("ascii").lower()

    def narrow(self, right: Right) -> Cap:
        """Return the cap of a lesser right; raise NotAllowed where none can be made of this one."""
        if right == self.right:
            return self
        if right not in _LESSER[self.right]:
            raise NotAllowed(f"a code to {self.right} gives no right to {right}", hint="ask the owner for another code")
        match right:
            case Right.READ:
                secret = self.read_secret
            case Right.VERIFY:
                secret = self.verify_secret
            case _:
                secret = keys.append_of(self.secret)
        return Cap(right=right, kind=self.kind, secret=secret)

    @property
    def read_secret(self) -> bytes:
        """R of the file; raise NotAllowed for a cap that may not read."""
        if self.right is Right.WRITE:
            return keys.read_of(self.secret)
        if self.right is Right.READ:
            return self.secret
        raise NotAllowed(f"a code to {self.right} does not let you read", hint="ask the owner for a code to read")

    @property
    def verify_secret(self) -> bytes:
        """V of the file; raise NotAllowed for a cap that only appends."""
        if self.right is Right.VERIFY:
            return self.secret
        return keys.verify_of(self.read_secret)

    @property
    def locator(self) -> bytes:
        """The log where this cap leads: the manifest, or for a cap to append the drop box."""
        if self.right is Right.APPEND:
            return keys.drop_log(self.secret)
        return keys.locator_of(self.verify_secret)

    def __repr__(self) -> str:
        """Say what it is for, and never the secret."""
        return f"Cap({self.right} {self.kind})"


def read_code(text: str) -> Cap:
    """Read a code as a person passes it on; raise BadRequest that says what is wrong with it."""
    code = "".join(text[:_TEXT_CHARS_MAX].split()).translate(dict.fromkeys(map(ord, _BLANKS))).lower()
    _check_form(code)
    held = base64.b32decode(code[len(_PREFIX) :].upper())
    held, check = held[:-_CHECK_BYTES], held[-_CHECK_BYTES:]
    if check != _check(held):
        raise BadRequest("this code has a wrong character somewhere", hint="compare it with the original, or ask again")
    version, kind, right = held[0] >> 5, held[0] >> 4 & 1, held[0] & 15
    if version != VERSION or right >= len(_RIGHTS):
        raise _other_version()
    return Cap(right=_RIGHTS[right], kind=_KINDS[kind], secret=held[1:])


def _check_form(code: str) -> None:
    if not code.startswith("wos"):
        raise BadRequest(f"this is not a code of World OS: those begin with {_PREFIX}")
    if len(code) > len(_PREFIX) and not code.startswith(_PREFIX):
        raise _other_version()
    missing = CODE_CHARS - len(code)
    if missing > 0:
        raise BadRequest(
            f"this code is cut off: {missing} of {CODE_CHARS} characters are missing",
            hint="copy the whole of it, also what stands on a second line",
        )
    if missing < 0:
        raise BadRequest(f"this code has {-missing} characters too many", hint=f"a code has {CODE_CHARS} characters")
    for place, letter in enumerate(code[len(_PREFIX) :], start=len(_PREFIX) + 1):
        if letter not in _ALPHABET:
            raise BadRequest(
                f"character {place} of this code, {letter!r}, is in no code", hint="codes are made of a to z and 2 to 7"
            )


def _other_version() -> BadRequest:
    return BadRequest("this code is of a version that this World OS does not know", hint="update World OS here")


def _check(held: bytes) -> bytes:
    return blake3.blake3(held, derive_key_context=_CHECK_CONTEXT).digest(length=_CHECK_BYTES)
