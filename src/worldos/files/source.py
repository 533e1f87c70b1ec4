"""What is put: a file of this machine, bytes, or anything that can be read; and whether it stayed the same meanwhile."""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from worldos.errors import BadRequest, NotAllowed, NotThere
from worldos.files.writer import Upload


class Seen(NamedTuple):
    """What a file was when it was looked at: two looks that are equal mean that it did not change."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    mode: int


def seen(about: os.stat_result) -> Seen:
    """Take down what tells of a change."""
    return Seen(
        about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, stat.S_IMODE(about.st_mode)
    )


def open_source(path: Path | str) -> int:
    """Open a file to read, as a descriptor; an error says what is wrong with it in our words."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    except FileNotFoundError as cause:
        raise NotThere(f"{path} is not there") from cause
    except PermissionError as cause:
        raise NotAllowed(f"{path} may not be read", hint=f"see whose it is: ls -l {path}") from cause
    except OSError as cause:
        raise BadRequest(f"{path} cannot be read: {cause.strerror}") from cause


def pour(descriptor: int, upload: Upload, name: str, size_bytes: int, told: Callable[[int], None]) -> int:
    """Read a descriptor into an upload: to its end, or until it is larger than it was said to be (-1: not known).

    Return how many bytes that were.
    """
    total = 0
    while size_bytes < 0 or total <= size_bytes:
        try:
            count = os.readv(descriptor, [upload.space()])
        except OSError as cause:
            raise BadRequest(f"{name} cannot be read to its end: {cause.strerror}") from cause
        if not count:
            return total
        upload.filled(count)
        total += count
        told(total)
    return total


def pour_stream(stream: BinaryIO, upload: Upload, told: Callable[[int], None]) -> None:
    """Read a stream to its end into an upload."""
    total = 0
    readinto = getattr(stream, "readinto", None)
    while True:
        space = upload.space()
        if readinto is not None:
            count = readinto(space) or 0
        else:
            data = stream.read(len(space))
            count = len(data)
            space[:count] = data
        if not count:
            return
        upload.filled(count)
        total += count
        told(total)


def media_of(name: str) -> str:
    """Guess the media type of a name."""
    return mimetypes.guess_type(name, strict=False)[0] or ""
