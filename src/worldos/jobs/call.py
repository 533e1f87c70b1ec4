"""What a task of ``worldos.submit(function, ...)`` runs: ``python -m worldos.jobs.call``.

The parcel of the job holds the function with its arguments, and the items of the array if there are any; this task takes the one
of its index. What it returns or raises is the task's result. All are pickles, made and read by programs of one account.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import cloudpickle

ASKED: Final = ".wos-call"  # the name of what it is given in its folder
MADE: Final = ".wos-result"  # ... and of what it leaves there

RETURNED, RAISED = "returned", "raised"


def main() -> int:
    """Call the function for this task."""
    function, args, kwargs, items = pickle.loads(Path(ASKED).read_bytes())  # noqa: S301 - our own account's
    index = int(os.environ.get("WOS_TASK", "0"))
    if items is not None:
        args = (items[index], *args)
    elif os.environ.get("WOS_CALL_INDEX"):
        args = (index, *args)
    try:
        outcome: tuple[str, Any] = (RETURNED, function(*args, **kwargs))
        data = cloudpickle.dumps(outcome)
    except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits for the task gets it
        traceback.print_exc()
        data = _raised(error)
        Path(MADE).write_bytes(data)
        return 1
    Path(MADE).write_bytes(data)
    return 0


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
