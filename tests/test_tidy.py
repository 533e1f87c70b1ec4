"""Our own rules, as a test: what a reviewer would otherwise say again and again.

Each rule is a function from a file's text to complaints, so that the last tests of this file can show it bad text.
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "worldos"
LINES_MAX = 550
EXAMPLE_LINES_MAX = 40
ARCHITECTURE_LINES_MAX = 300
TINY_LINES = 40  # a module shorter than this may be tested with its neighbour

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE_CONTRACT = next(contract for contract in CONTRACTS if contract["id"] == "pure")
PURE = tuple(name.removeprefix("worldos.") for name in PURE_CONTRACT["source_modules"])
NOT_IN_PURE = frozenset(PURE_CONTRACT["forbidden_modules"])
EXCEPTED = frozenset(PURE_CONTRACT.get("ignore_imports", ()))
EMPTY_NAME = re.compile(r"manager|helper|util|service", re.IGNORECASE)
LEFT_OPEN = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

# What is not yet as it should be: modules without a test file, files that are too long. The list may only shrink: whoever pays
# a debt takes its line out (`python -m tests.test_tidy` writes what is left).
DEBTS = Path(__file__).with_name("debts.txt")


@functools.lru_cache(maxsize=1)
def tree_of(text: str) -> ast.Module:
    """Parse a file once for all rules."""
    return ast.parse(text)


def imports_of_effects(text: str) -> list[str]:
    """Name each import of a clock, dice, file, socket or thread, wherever it stands in the module."""
    names = []
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return [f"imports {name}" for name in names if name.split(".")[0] in NOT_IN_PURE]


def empty_names(text: str, stem: str) -> list[str]:
    """Name the module and the classes called Manager, Helper, Util or Service."""
    classes = [node.name for node in ast.walk(tree_of(text)) if isinstance(node, ast.ClassDef)]
    return [f"{name} says nothing about what it is" for name in [stem, *classes] if EMPTY_NAME.search(name)]


def missing_docstring(text: str) -> list[str]:
    return [] if ast.get_docstring(tree_of(text)) else ["has no docstring"]


def left_open(text: str) -> list[str]:
    return [f"line {number} is left open" for number, line in enumerate(text.splitlines(), 1) if LEFT_OPEN.search(line)]


def too_long(text: str, lines_max: int) -> list[str]:
    lines = len(text.splitlines())
    return [f"has {lines} lines, more than {lines_max}: it holds two nouns"] if lines > lines_max else []


def mirror_of(module: str) -> str:
    """The test file of a module: kernel/leases.py -> kernel/test_leases.py."""
    path = Path(module)
    return str(path.with_name(f"test_{path.name}"))


def complaints(path: Path) -> list[str]:
    """Everything this file does against the rules."""
    text = path.read_text(encoding="utf-8")
    said = left_open(text)
    if path.is_relative_to(SOURCE):
        said += missing_docstring(text) + empty_names(text, path.stem)
        if path.relative_to(SOURCE).parts[0].removesuffix(".py") in PURE:
            module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
            effects = imports_of_effects(text)
            said += [line for line in effects if line.replace("imports", f"{module} ->") not in EXCEPTED]
    if path.is_relative_to(ROOT / "examples"):
        said += too_long(text, EXAMPLE_LINES_MAX) + missing_docstring(text)
    return [f"{path.relative_to(ROOT)} {line}" for line in said]


def python_files() -> list[Path]:
    return sorted(path for top in ("src", "tests", "bench", "examples", "docs") for path in (ROOT / top).rglob("*.py"))


def does_something(text: str) -> bool:
    """Whether there is something to test: code in functions, and more than a few lines. Values alone do nothing."""
    functions = [node for node in ast.walk(tree_of(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return bool(functions) and len(text.splitlines()) >= TINY_LINES


def unmirrored() -> set[str]:
    """The modules that do something and have no test file of their own."""
    return {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py", "ports.py"}  # the ports have tests/contract
        and not (ROOT / "tests" / mirror_of(str(path.relative_to(SOURCE)))).exists()
        and does_something(path.read_text(encoding="utf-8"))
    }


def test_no_file_breaks_a_rule_of_the_house() -> None:
    said = [line for path in python_files() for line in complaints(path)]
    assert not said, "\n".join(said)


def debts() -> list[str]:
    """Everything that should not be so, and is let pass for now where debts.txt has it."""
    untested = [f"src/worldos/{module} has no {mirror_of(module)} in tests/" for module in unmirrored()]
    long = [path for path in python_files() if too_long(path.read_text(encoding="utf-8"), LINES_MAX)]
    return sorted(untested + [f"{path.relative_to(ROOT)} has more than {LINES_MAX} lines: two nouns" for path in long])


def test_no_module_is_without_its_test_file_and_no_file_too_long_beyond_the_known_ones() -> None:
    new = sorted(set(debts()) - set(DEBTS.read_text().splitlines()))
    assert not new, "\n".join(new)


def test_the_list_of_debts_only_shrinks() -> None:
    paid = sorted(set(DEBTS.read_text().splitlines()) - set(debts()))
    assert not paid, "paid, so take them out of tests/debts.txt:\n" + "\n".join(paid)


def test_the_architecture_can_be_read_in_one_sitting() -> None:
    assert too_long((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), ARCHITECTURE_LINES_MAX) == []


@pytest.mark.parametrize("text", ["import time", "def f():\n    from os import path", "import asyncio.events"])
def test_an_effect_in_a_pure_floor_is_seen(text: str) -> None:
    assert imports_of_effects(text)


def test_a_name_that_only_sounds_like_an_effect_passes() -> None:
    assert imports_of_effects("from worldos.kernel import leases\nimport timeline\nfrom . import os") == []


@pytest.mark.parametrize("text", ["class LeaseManager: ...", "class IOHelper: ...", "class StringUtils: ..."])
def test_a_class_that_does_not_say_what_it_is_is_seen(text: str) -> None:
    assert empty_names(text, "leases")
    assert empty_names("class Leases: ...", "leases") == []
    assert empty_names("", "lease_utils")


def test_a_missing_docstring_is_seen() -> None:
    assert missing_docstring("x = 1")
    assert missing_docstring('"""Leases."""') == []


def test_a_line_left_open_is_seen() -> None:
    assert left_open("x = 1  # TO" + "DO later") == ["line 1 is left open"]
    assert left_open("todo = 1") == []


def test_a_file_that_grew_too_long_is_seen() -> None:
    assert too_long("x\n" * (LINES_MAX + 1), LINES_MAX)
    assert too_long("x\n" * LINES_MAX, LINES_MAX) == []


def test_a_module_and_its_test_file_are_paired_by_name() -> None:
    assert mirror_of("kernel/leases.py") == "kernel/test_leases.py"
    assert mirror_of("node.py") == "test_node.py"


def test_values_alone_need_no_test_file() -> None:
    assert not does_something("LIMIT = 3\n" * TINY_LINES)
    assert does_something("def double(x): return 2 * x\n" + "#\n" * TINY_LINES)


if __name__ == "__main__":
    DEBTS.write_text("".join(f"{line}\n" for line in debts()))
