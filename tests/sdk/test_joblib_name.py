"""``import worldos`` is enough for joblib to know the name, in whatever order the two are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

KNOWN = "\nimport joblib.parallel\nprint(*joblib.parallel.EXTERNAL_BACKENDS, 'worldos.sdk.use' in sys.modules)"


def said(text: str) -> str:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "order", ["import worldos, joblib", "import joblib, worldos", "import worldos, worldos.errors"]
)
def test_the_name_is_known_and_nothing_of_ours_is_loaded_for_it(order: str) -> None:
    assert said(f"import sys\n{order}{KNOWN}") == "dask worldos False"


def test_the_module_is_as_joblib_made_it() -> None:
    shown = said(
        "import worldos, joblib.parallel as p, inspect, sys\n"
        "print(type(p.__loader__).__name__, p.__spec__.name, len(inspect.getsource(p)) > 1000)\n"
        "print([type(f).__name__ for f in sys.meta_path].count('_Waiting'))"
    )
    assert shown.split() == ["SourceFileLoader", "joblib.parallel", "True", "0"]


def test_without_joblib_nothing_is_missed() -> None:
    assert said("import worldos, json.decoder\nprint('fine')") == "fine"
