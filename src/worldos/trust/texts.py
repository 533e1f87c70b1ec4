"""Texts: short messages that people carry for their devices, by whatever way people send texts.

A prefix that says what it is, then base32 of the bytes and a check of 4 bytes: what was cut off or mistyped is noticed.
Blanks and line ends that a mail program puts in do no harm. Nothing in it is secret, nothing in it is believed by itself.
"""

from __future__ import annotations

import base64
import hashlib

from worldos.errors import BadRequest

TEXT_CHARS_MAX = 32 * 1024
_CHECK_BYTES = 4


def write_text(prefix: str, data: bytes) -> str:
    """Write bytes down as a text that begins so."""
    return prefix + base64.b32encode(data + _check(prefix, data)).decode("ascii").lower().rstrip("=")


def read_text(prefix: str, text: str) -> bytes:
    """Read such a text back; BadRequest, in words for people, for anything else."""
    said = "".join(text[: TEXT_CHARS_MAX + 1].split()).lower()
    if len(said) > TEXT_CHARS_MAX or not said.isascii():
        raise BadRequest("this is no such text: it is too long, or has letters that none has")
    if not said.startswith(prefix):
        raise BadRequest(f"such a text begins with {prefix}")
    letters = said.removeprefix(prefix).upper()
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError as cause:
        raise BadRequest("this text is cut off, or a character is wrong", hint="copy the whole of it") from cause
    body = data[:-_CHECK_BYTES]
    if _check(prefix, body) != data[-_CHECK_BYTES:] or write_text(prefix, body) != said:
        raise BadRequest("this text is cut off, or a character is wrong", hint="copy the whole of it")
    return body


def _check(prefix: str, data: bytes) -> bytes:
    return hashlib.sha256(prefix.encode("ascii") + b"\0" + data).digest()[:_CHECK_BYTES]
