"""``wos realm``: what its commands say of themselves, and the tree as it is drawn."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.tui.realms import EARTH, row
from typer.testing import CliRunner

from worldos.cli import main, realm

NAMES = ("create", "invite", "join", "leave", "tree", "show", "policy", "watch")


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    realm.register(main.app)


def tree_of(rows: list[dict]) -> str:
    console = Console(width=150, record=True, highlight=False, file=io.StringIO())
    for line in realm.drawn(rows):
        console.print(line)
    return console.export_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself(expected, name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["realm", name, "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected(f"wos-realm-{name}", done.output)
    assert ("--json" in done.output) is (name != "watch")


def test_the_tree_stands_in_columns(expected) -> None:
    expected("realm-tree", tree_of(EARTH))


def test_names_of_others_are_drawn_as_they_are() -> None:
    assert "a[bold]b" in tree_of([row("a[bold]b", "", 1)])
