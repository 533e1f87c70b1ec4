"""``%%wos``: a notebook's cell on another machine, as if it ran here.

    %load_ext worldos
    %%wos --gpu 1 --memory 8GB
    model = train(data)          # `train` and `data` went there, `model` comes back

What the cell reads of the notebook's names goes along, what it assigns comes back; what it prints appears as it comes; the value
of its last line is shown. The lease stays for the next cell with the same words, so that its imports are warm; ``%wos`` says
what is held, ``%wos release`` gives it back. What cannot travel (an open file, a lock) is said by name, and stays there.

Source: IPython documentation, "Defining custom magics".
"""

from __future__ import annotations

import argparse
import ast
import builtins
import shlex
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, NamedTuple

from worldos.errors import BadRequest, WorldError
from worldos.lanes import pack
from worldos.lanes.wire import Status
from worldos.sdk.compute import Compute
from worldos.sdk.use import use

WORDS: Final = ("memory", "where", "near", "realm", "objective", "isolation")
VALUE: Final = "_wos_value"  # the last line's, in the cell's names


class Order(NamedTuple):
    """What stands after ``%%wos``: the kind, its amount, and the other words of ``use``."""

    kind: str
    amount: str
    words: tuple[tuple[str, str], ...]


class Came(NamedTuple):
    """What came back from a cell: names with values, names that could not travel and why, the last line's value."""

    names: dict[str, Any]
    stayed: dict[str, str]
    value: Any
    has_value: bool


def read_order(line: str) -> Order:
    """Read what stands after ``%%wos``. Raises BadRequest."""
    parser = argparse.ArgumentParser(prog="%%wos", add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--cpu", default="1")
    parser.add_argument("--gpu", default="")
    for word in WORDS:
        parser.add_argument(f"--{word}", default="")
    try:
        said, rest = parser.parse_known_args(shlex.split(line))
    except (argparse.ArgumentError, ValueError) as error:
        raise BadRequest(f"%%wos {line}: {error}", hint="say for example: %%wos --gpu 1 --memory 8GB") from None
    if rest:
        hint = f"there are --cpu, --gpu, {', '.join('--' + word for word in WORDS)}"
        raise BadRequest(f"%%wos does not know {rest[0]!r}", hint=hint)
    words = tuple((word, getattr(said, word)) for word in WORDS if getattr(said, word))
    return Order("GPU", said.gpu, words) if said.gpu else Order("CPU", said.cpu, words)


def names_read(code: str, there: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the notebook's names that the cell reads, also by functions of the notebook that it calls."""
    found: dict[str, Any] = {}
    waiting = [node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    for name in waiting:
        if name in there and name not in found and not hasattr(builtins, name):
            found[name] = there[name]
    return found


def run_cell(code: str, names: dict[str, Any], modules: dict[str, str]) -> Came:
    """Run a cell in a worker. ``modules``: names that are modules, to be imported here."""
    import importlib  # noqa: PLC0415 - this function runs elsewhere

    # Functions made here come back by value only if they seem to be the notebook's own.
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, **names}
    for name, module in modules.items():
        space[name] = importlib.import_module(module)
    before = dict(space)
    tree = ast.parse(code)
    has_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
    if has_value:
        last = tree.body[-1]
        assert isinstance(last, ast.Expr)
        target = ast.copy_location(ast.Name(id=VALUE, ctx=ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign(targets=[target], value=last.value), last)
    exec(compile(tree, "<cell>", "exec"), space)  # noqa: S102 - the holder's own code, at a worker of the holder's lease
    value = space.pop(VALUE, None)
    made: dict[str, Any] = {}
    stayed: dict[str, str] = {}
    for name, each in space.items():
        # Arguments too: the cell may have changed what they hold.
        if name in {"__name__", "__builtins__"} or (isinstance(each, ModuleType) and before.get(name) is each):
            continue
        status, _data, _buffers = pack.pack_result(each)
        if status == Status.RETURNED:
            made[name] = each
        else:
            stayed[name] = f"{type(each).__qualname__} cannot travel"
    if pack.pack_result(value)[0] != Status.RETURNED:
        value = repr(value)
    return Came(made, stayed, value, has_value)


class Notebook:
    """The leases of one notebook, by what was asked for."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._held: dict[Order, Compute] = {}

    def cell(self, line: str, code: str) -> Any:
        """Run a cell: ``%%wos``."""
        order = read_order(line)
        there = self._shell.user_ns
        names = names_read(code, there)
        modules = {name: value.__name__ for name, value in names.items() if isinstance(value, ModuleType)}
        for name in modules:
            del names[name]
        future = self._lease(order).submit(run_cell, code, names, modules)
        try:
            came = future.result()
        except KeyboardInterrupt:
            self.release()  # what still runs there is stopped
            raise
        there.update(came.names)
        there.update({name: __import__(module) for name, module in modules.items() if name not in there})
        for name, why in came.stayed.items():
            print(f"wos: {name} stayed there: {why}")  # noqa: T201 - a magic speaks into its cell
        return came.value if came.has_value else None

    def line(self, line: str) -> None:
        """Say what is held, or give it back: ``%wos``, ``%wos release``."""
        if line.strip() == "release":
            self.release()
        elif line.strip():
            raise BadRequest(
                f"%wos does not know {line.strip()[:40]!r}", hint="there are: %wos, %wos release, and %%wos for a cell"
            )
        elif not self._held:
            print("nothing is held")  # noqa: T201
        for order, lease in self._held.items():
            print(f"{order.amount} {order.kind} on {', '.join(node[:8] for node in lease.nodes)}")  # noqa: T201

    def release(self) -> None:
        """Give everything back."""
        held, self._held = self._held, {}
        for lease in held.values():
            lease.close()

    def _lease(self, order: Order) -> Compute:
        held = self._held.get(order)
        if held is None or held.closed:
            held = self._held[order] = use(order.kind, order.amount, **dict(order.words))  # type: ignore[call-overload]
        return held


def load(shell: Any) -> None:
    """Add the magics to a shell: ``%load_ext worldos``."""
    notebook = Notebook(shell)

    def say(error: WorldError) -> None:
        print(f"wos: {error}" + (f"\n     {error.hint}" if error.hint else ""))  # noqa: T201

    def cell(line: str, code: str) -> Any:
        try:
            return notebook.cell(line, code)
        except WorldError as error:
            say(error)
            return None

    def wos(line: str) -> None:
        try:
            notebook.line(line)
        except WorldError as error:
            say(error)

    shell.register_magic_function(cell, magic_kind="cell", magic_name="wos")
    shell.register_magic_function(wos, magic_kind="line", magic_name="wos")
