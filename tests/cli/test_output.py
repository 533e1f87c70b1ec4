"""How commands speak: errors with causes and what to do, tables as wide as needed, JSON for anything."""

from __future__ import annotations

import json

import pytest

from worldos.cli import output
from worldos.errors import BadRequest, NoAgent, WorldError


def test_an_error_is_a_sentence_its_cause_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    error = BadRequest("the file [x] is damaged", hint="mend it")
    error.__cause__ = OSError(28, "No space left on device", "/x")
    output.complain(error)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "wos: the file [x] is damaged\n  because: No space left on device: /x\n  try: mend it\n"


def test_that_nobody_listens_needs_no_cause(capsys: pytest.CaptureFixture[str]) -> None:
    error = NoAgent()
    error.__cause__ = FileNotFoundError(2, "No such file or directory")
    output.complain(error)
    assert capsys.readouterr().err == "wos: No World OS agent runs on this machine.\n  try: start one with: wos up\n"


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(WorldError("no"))
    assert capsys.readouterr().err == "wos: no\n"


def test_bytes_and_unknown_things_become_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({"key": b"\x01\xff", "nothing": None})
    assert json.loads(capsys.readouterr().out) == {"key": "01ff", "nothing": None}


def test_a_table_in_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NODE", "FREE"), [("x" * 150, 1), ("y", 22)], right=("FREE",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("x" * 150)
    assert lines[1].rstrip().endswith(" 1")
    assert lines[2].rstrip().endswith("22")


@pytest.mark.parametrize(("us", "shown"), [(0, "0 us"), (999, "999 us"), (1000, "1.0 ms"), (12345, "12.3 ms")])
def test_times_are_in_a_unit_people_read(us: int, shown: str) -> None:
    assert output.micros(us) == shown


def test_amounts_of_nothing_are_nothing() -> None:
    assert output.size(0) == output.amount("CPU", 0) == "0"
    assert output.amount("CPU", 2000) == "2 cores"


def test_waiting_leaves_no_trace_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with output.waiting("something slow"):
        pass
    assert capsys.readouterr().err == ""
    assert output.text("a[b]") == "a\\[b]"
