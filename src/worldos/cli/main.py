"""``wos``: puts the commands together, and turns every failure into a sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 3 refused, 4 not reachable, 130 interrupted; ``wos run`` gives
the exit code of the command that it ran.
"""

from __future__ import annotations

import importlib
import os
import sys

import typer

from worldos import __version__
from worldos.cli import output
from worldos.errors import WorldError

app = typer.Typer(
    name="wos",
    help="World OS: all your machines as one computer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A tour of five minutes: README.md. What went wrong: wos log.",
)


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        print(f"wos {__version__}")
        raise typer.Exit


COMMANDS = {
    "lifecycle": ("up", "down", "status", "drain"),
    "devices": ("invite", "join", "devices", "revoke", "leave", "recover"),
    "look": ("nodes", "resources", "resource", "leases", "log", "top"),
    "run": ("run",),
    "replay": ("replay",),
    "demo": ("demo",),
}
"""Which module brings which commands, in the order of ``wos --help``: only the one that is needed is loaded."""


def _parts(arguments: list[str]) -> list[str]:
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    known = [part for part, names in COMMANDS.items() if wanted in names]
    return known if known and "_WOS_COMPLETE" not in os.environ else list(COMMANDS)


def main() -> None:
    """Run the command line; never show a traceback."""
    for part in _parts(sys.argv[1:]):
        importlib.import_module(f"worldos.cli.{part}").register(app)
    try:
        app()
    except WorldError as error:
        output.complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        output.err.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as bug:  # noqa: BLE001 - the edge: a user gets a sentence, the traceback goes into a file
        _own_mistake(bug)
        sys.exit(70)


def _own_mistake(bug: Exception) -> None:
    import tempfile  # noqa: PLC0415 - when all went wrong
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", prefix="wos-bug-", suffix=".txt", delete=False) as file:
        file.write(f"wos {__version__}: {' '.join(sys.argv[1:])}\n" + "".join(traceback.format_exception(bug)))
    output.complain(
        WorldError(f"a mistake of World OS itself: {type(bug).__name__}: {bug}", hint=f"report it with {file.name}")
    )


if __name__ == "__main__":
    main()
