"""Grants as text: what is printed, put into a file, and given to whom it is for. ``wosg1.`` and base64 without padding."""

from __future__ import annotations

import base64
import binascii

from worldos.errors import BadRequest
from worldos.trust.limits import GRANT_BYTES_MAX

PREFIX = "wosg1."
TEXT_CHARS_MAX = len(PREFIX) + GRANT_BYTES_MAX * 4 // 3 + 4


def grant_text(grant: bytes) -> str:
    """Write a grant as one word."""
    return PREFIX + base64.urlsafe_b64encode(grant).decode().rstrip("=")


def read_grant_text(text: str) -> bytes:
    """Read that word again; blanks and line breaks are forgiven. BadRequest for anything else."""
    word = "".join(text[: 2 * TEXT_CHARS_MAX].split())
    hint = "copy the whole of what wos role grant printed"
    if not word.startswith(PREFIX) or len(word) > TEXT_CHARS_MAX:
        raise BadRequest("that is no grant", hint=hint)
    body = word.removeprefix(PREFIX)
    try:
        grant = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as cause:
        raise BadRequest("that is no whole grant", hint=hint) from cause
    if not grant or grant_text(grant) != word:
        raise BadRequest("that is no whole grant", hint=hint)
    return grant
