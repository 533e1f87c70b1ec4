"""Let joblib know the name ``worldos`` without loading anything: ``import worldos`` and ``parallel_config("worldos")``.

joblib asks ``joblib.parallel.EXTERNAL_BACKENDS`` for names that it does not know and calls what it finds there. If joblib is
loaded, our name is put there now; if it comes later, when it has come: a finder waits for that one module, lets the others
find it, and adds the name after it ran. Source: importlib, "The meta path"; joblib/parallel.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

WAITED_FOR = "joblib.parallel"


def announce() -> None:
    """Put our name where joblib looks, now or as soon as joblib is loaded."""
    loaded = sys.modules.get(WAITED_FOR)
    if loaded is not None:
        _add(loaded)
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


def _add(parallel: ModuleType) -> None:
    backends = getattr(parallel, "EXTERNAL_BACKENDS", None)
    if isinstance(backends, dict):
        backends.setdefault("worldos", _register)


def _register() -> None:
    from worldos.sdk.joblib import register  # noqa: PLC0415 - only now is it wanted

    register()


class _Waiting:
    """A finder that finds nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != WAITED_FOR:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = cast("Loader", _Adding(spec.loader))
                return spec
        return None


class _Adding:
    """The loader of the module, with our name added afterwards."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _add(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
