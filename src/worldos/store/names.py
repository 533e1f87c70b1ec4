"""Names: the path of a file, in the one spelling that all devices agree on.

A path is its parts from the top, each a name of at most 255 bytes in any script. Names are equal when they are after
Unicode's form NFC, so that what a Mac spells in two code points and Linux in one is the same file; names that differ
in case only stay two. What would climb out (``..``), end a string early (NUL) or draw on a terminal (control
characters) is no name. Source: Unicode TR 15; POSIX.1 NAME_MAX and PATH_MAX, which most systems share.
"""

from __future__ import annotations

import unicodedata

from worldos.errors import BadRequest
from worldos.store.limits import NAME_BYTES_MAX, NAME_DEPTH_MAX, NAME_PART_BYTES_MAX

SCHEME = "wos://"
_CONTROL = frozenset(range(0x20)) | {0x7F}
_DOTS = frozenset({"", ".", ".."})

Parts = tuple[str, ...]


def clean(name: str) -> Parts:
    """Read a path as people and programs write it; () is the top. Raise BadRequest, saying what is wrong."""
    text = name.removeprefix(SCHEME)
    if len(text) > 2 * NAME_BYTES_MAX:
        raise BadRequest(f"a name of {len(text)} characters: {NAME_BYTES_MAX} bytes are the most")
    text = unicodedata.normalize("NFC", text).removeprefix("/").removesuffix("/")
    if not text:
        return ()
    parts = tuple(text.split("/"))
    check(parts)
    return parts


def check(parts: Parts) -> None:
    """Return if these are the parts of a path in the one spelling; raise BadRequest, saying what is wrong."""
    if len(parts) > NAME_DEPTH_MAX:
        raise BadRequest(f"a name of {len(parts)} folders in each other: {NAME_DEPTH_MAX} are the most")
    whole = len(parts) - 1
    for part in parts:
        whole += _part_bytes(part)
    if whole > NAME_BYTES_MAX:
        raise BadRequest(f"a name of {whole} bytes: {NAME_BYTES_MAX} are the most")


def text_of(parts: Parts) -> str:
    """Write a path as one string, as it stands in entries and as people see it."""
    return "/".join(parts)


def is_clean(text: str) -> bool:
    """Whether a string is a path in the one spelling, as it must stand in an entry; the top is not one."""
    if not unicodedata.is_normalized("NFC", text):
        return False
    try:
        check(tuple(text.split("/")))
    except BadRequest:
        return False
    return True


def conflict_name(name: str, device: str, number: int = 1) -> str:
    """Name the file that was written on ``device`` at the same time as another of this name."""
    who = "".join("_" if char == "/" or not char.isprintable() else char for char in device)[:64] or "another device"
    ending = f" (conflict from {who})" if number == 1 else f" (conflict from {who}, {number})"
    room = NAME_PART_BYTES_MAX - len(ending.encode())
    return unicodedata.normalize("NFC", name.encode()[:room].decode(errors="ignore") + ending)


def may_be_conflict(name: str) -> bool:
    """Whether a name looks like one that ``conflict_name`` made."""
    return name.endswith(")") and " (conflict from " in name


def _part_bytes(part: str) -> int:
    if part in _DOTS:
        raise BadRequest("a name has an empty part" if not part else f"a name may not have the part {part!r}")
    if not part.isprintable() and any(ord(char) in _CONTROL or 0x80 <= ord(char) < 0xA0 for char in part):
        raise BadRequest(f"a name may not have control characters: {part[:80]!r}")
    if part.isascii():
        size = len(part)
    else:
        try:
            size = len(part.encode())
        except UnicodeEncodeError as cause:
            raise BadRequest(f"a name is not Unicode text: {part[:80]!r}") from cause
    if size > NAME_PART_BYTES_MAX:
        raise BadRequest(f"a name with a part of {size} bytes: {NAME_PART_BYTES_MAX} are the most: {part[:40]!r}...")
    return size
