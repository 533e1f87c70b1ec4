"""What installed packages offer under the name of a group: the entry points that installers leave beside them.

``importlib.metadata`` says the same (a test compares them) but loads the readers of mail and of archives first, which is a
tenth of the time in which a program that says ``use("CPU")`` must have its first result. Packages in zip archives are not
looked into. Source: packaging.python.org, "Entry points specification" and "Recording installed projects".
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

METADATA_FOLDER = re.compile(r"^(?P<name>.+?)(-.*)?\.(dist-info|egg-info)$")


class EntryPoint(NamedTuple):
    """One line ``name = module:attribute``."""

    name: str
    value: str

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.value.partition(":")
        loaded: Any = importlib.import_module(module.strip())
        for part in attribute.split("[")[0].strip().split("."):
            loaded = getattr(loaded, part) if part else loaded
        return loaded


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, in the order of ``sys.path``; of two versions of a package the first counts."""
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for folder in sys.path:
        for name, path in sorted(_packages(folder or ".")):
            if name not in seen:
                seen.add(name)
                found.extend(_points(path, group))
    return found


def _packages(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the normalized name and the metadata folder of each package installed in ``folder``."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = METADATA_FOLDER.match(name)
        if match:
            yield re.sub(r"[-_.]+", "-", match["name"]).lower(), os.path.join(folder, name)


def _points(folder: str, group: str) -> Iterator[EntryPoint]:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    section = ""
    for line in lines:
        text = line.split("#")[0].strip()
        if text.startswith("["):
            section = text.strip("[] ")
        elif section == group and "=" in text:
            name, _, value = text.partition("=")
            yield EntryPoint(name.strip(), value.strip())
