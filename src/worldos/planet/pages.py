"""Tables and pictures of ``docs/planet.md``: people write its text, this writes what stands between its marks.

A mark is a pair of comments, ``<!-- NAME -->`` and ``<!-- /NAME -->``, each on a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(said(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def said(value: object) -> str:
    """Write a number with as many digits as mean something; text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.2g}"


def filled(text: str, blocks: Mapping[str, str]) -> str:
    """Return the text with each block between its marks; each must have one place."""
    for name, block in sorted(blocks.items()):
        mark = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
        found = mark.findall(text)
        if len(found) != 1:
            raise ValueError(f"{len(found)} places for {name!r}, not one")
        text = mark.sub(rf"\g<1>{_literal(block)}\n\g<2>", text)
    return text


def _literal(block: str) -> str:
    return block.replace("\\", "\\\\")


def write(folder: Path, blocks: Mapping[str, str], pictures: Mapping[str, str]) -> None:
    """Fill ``planet.md`` in this folder, and write the pictures beside it."""
    page = folder / "planet.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    (folder / "planet").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (folder / "planet" / f"{name}.svg").write_text(picture, encoding="utf-8")
