"""``%%wos`` in a real IPython shell, with a real agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from worldos.errors import BadRequest
from worldos.sdk.notebook import names_read, read_order


@pytest.fixture(scope="module")
def shell() -> Iterator[Any]:
    made = InteractiveShell.instance()
    made.history_manager.enabled = False
    made.run_line_magic("load_ext", "worldos")
    yield made
    made.run_line_magic("wos", "release")
    InteractiveShell.clear_instance()


def run(shell: Any, cell: str) -> Any:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def test_a_cell_runs_elsewhere_with_the_names_it_reads_and_its_names_come_back(shell: Any) -> None:
    run(shell, "import os, math\nbase = 20\ndef twice(x): return 2 * x")
    value = run(
        shell, "%%wos\npid = os.getpid()\ndef half(x): return x / 2\nanswer = twice(base) + math.floor(2.5)\nanswer"
    )
    assert value == 42
    assert shell.user_ns["answer"] == 42
    assert shell.user_ns["pid"] != os.getpid()
    assert run(shell, "half(answer)") == 21


def test_the_next_cell_finds_the_same_worker_and_what_was_changed_is_changed_here(shell: Any) -> None:
    run(shell, "box = []")
    run(shell, "%%wos\nbox.append(os.getpid())")
    run(shell, "%%wos\nbox.append(os.getpid())")
    assert len(set(shell.user_ns["box"])) == 1


def test_what_it_prints_is_seen_and_what_cannot_travel_is_named(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%wos\nimport threading\nprint('from there')\nlock = threading.Lock()")
    said = capsys.readouterr().out
    assert "from there" in said
    assert "lock stayed there: lock cannot travel" in said
    assert "lock" not in shell.user_ns


def test_what_fails_there_fails_here_as_itself(shell: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        run(shell, "%%wos\n1 / 0")


def test_what_cannot_be_had_is_said_without_a_traceback(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shell, "%%wos --cpu 4000\n1") is None
    assert "no node can give" in capsys.readouterr().out
    run(shell, "%wos dance")
    assert "does not know 'dance'" in capsys.readouterr().out


def test_what_is_held_is_said_and_given_back(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%wos --cpu 0.5\n1")
    run(shell, "%wos")
    assert "0.5 CPU on " in capsys.readouterr().out
    run(shell, "%wos release")
    assert "CPU" not in capsys.readouterr().out


def test_words_are_those_of_use() -> None:
    order = read_order("--gpu 1 --memory 8GB --where \"arch == 'arm64'\"")
    assert (order.kind, order.amount) == ("GPU", "1")
    assert dict(order.words) == {"memory": "8GB", "where": "arch == 'arm64'"}


@pytest.mark.parametrize("line", ["--gpus 1", "--cpu", "4", "--where 'open"])
def test_odd_words_are_refused_by_name(line: str) -> None:
    with pytest.raises(BadRequest, match="%%wos"):
        read_order(line)


def test_only_names_of_the_notebook_go_along() -> None:
    there = {"a": 1, "b": 2, "print": 3, "c": 4}
    assert names_read("print(a + sum([b for _ in range(3)]))", there) == {"a": 1, "b": 2}
