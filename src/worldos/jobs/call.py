"""What a task of ``worldos.submit(function, ...)`` runs: ``python -m worldos.jobs.call``, or ``task`` in a resident interpreter.

The parcel of the job holds the function with its arguments, and the items of the array if there are any; this task takes the one
of its index. What it returns or raises is the task's result. All are pickles, made and read by programs of one account.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import cloudpickle

from worldos.lanes.resident import MADE

ASKED: Final = ".wos-call"  # the name of what it is given in its folder
PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})  # need no more than pickle

RETURNED, RAISED = "returned", "raised"


def main() -> int:
    """Call the function for this task."""
    code, made = task()
    Path(MADE).write_bytes(made)
    return code


def task() -> tuple[int, bytes]:
    """Call the function for the task that the environment names; return the exit code, and its result."""
    try:
        function, args, kwargs, items = _asked()
        index = int(os.environ.get("WOS_TASK", "0"))
        if items is not None:
            args = (items[index], *args)
        elif os.environ.get("WOS_CALL_INDEX"):
            args = (index, *args)
        value = function(*args, **kwargs)
        dumps = pickle.dumps if type(value) in PLAIN else cloudpickle.dumps
        return 0, dumps((RETURNED, value))
    except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits for the task gets it
        traceback.print_exc()
        return 1, _raised(error)


@functools.cache
def _asked() -> tuple[Any, tuple[Any, ...], dict[str, Any], list[Any] | None]:
    function, args, kwargs, items = pickle.loads(Path(ASKED).read_bytes())  # noqa: S301 - our own account's
    return function, args, kwargs, items


def _raised(error: BaseException) -> bytes:
    try:
        data: bytes = cloudpickle.dumps((RAISED, error))
        pickle.loads(data)  # noqa: S301 - our own, to see that it can be loaded
    except Exception:  # noqa: BLE001 - an exception that does not survive pickling is described instead
        data = cloudpickle.dumps((RAISED, RuntimeError(f"{type(error).__name__}: {error}")))
    return data


if __name__ == "__main__":
    sys.path.insert(0, "")  # modules that came along
    sys.exit(main())
