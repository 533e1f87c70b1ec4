"""A task of a function calls it for its item, and leaves what it returned or raised."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from worldos.jobs.call import ASKED
from worldos.lanes.resident import MADE


def call(folder: Path, asked: tuple[Any, ...], **told: str) -> tuple[int, str, Any]:
    """Run a task as a worker does; return its code, the kind of its result, and the result."""
    (folder / ASKED).write_bytes(cloudpickle.dumps(asked))
    run = subprocess.run(
        [sys.executable, "-m", "worldos.jobs.call"],
        cwd=folder,
        env={**os.environ, **told},
        capture_output=True,
        check=False,
        timeout=90,
    )
    kind, value = pickle.loads((folder / MADE).read_bytes())
    return run.returncode, kind, value


def test_each_task_takes_the_item_of_its_index(tmp_path: Path) -> None:
    found = call(tmp_path, (lambda item, plus: item + plus, (1,), {}, [10, 20, 30]), WOS_TASK="2")
    assert found == (0, "returned", 31)


@pytest.mark.parametrize(("told", "value"), [({"WOS_CALL_INDEX": "1"}, (7, 5)), ({}, (5,))])
def test_a_task_without_items_may_take_its_index(tmp_path: Path, told: dict[str, str], value: Any) -> None:
    assert call(tmp_path, (lambda *args: args, (5,), {}, None), WOS_TASK="7", **told) == (0, "returned", value)


def test_what_is_raised_comes_back_as_it_was(tmp_path: Path) -> None:
    code, kind, error = call(tmp_path, (lambda: {}["key"], (), {}, None))
    assert (code, kind) == (1, "raised")
    assert isinstance(error, KeyError)


def test_what_cannot_be_pickled_is_described(tmp_path: Path) -> None:
    code, kind, error = call(tmp_path, (lambda: (x for x in ()), (), {}, None))
    assert (code, kind) == (1, "raised")
    assert "pickle" in str(error)
