"""``wos``: puts the commands together, and turns every failure into a sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 3 refused, 4 not reachable, 130 interrupted; ``wos run`` gives
the exit code of the command that it ran.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys

import typer

from worldos import __version__
from worldos.cli import output
from worldos.errors import DiskFull, WorldError

app = typer.Typer(
    name="wos",
    help="World OS: all your machines as one computer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A tour of five minutes: README.md. What went wrong: wos log.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"wos {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and end.", is_eager=True, callback=_show_version
    ),
    grant: str = typer.Option(
        "", "--grant", metavar="FILE", help="Do this with a grant's rights alone (wos role grant)."
    ),
) -> None:
    del version
    if grant:
        os.environ["WORLDOS_GRANT"] = grant


COMMANDS = {
    "lifecycle": ("up", "down", "status", "drain"),
    "lend": ("lend",),
    "devices": ("invite", "join", "devices", "revoke", "leave", "recover"),
    "transfer": ("transfer",),
    "post": ("contact", "inbox"),
    "account": ("account",),
    "realm": ("realm",),
    "roles": ("role", "grants", "whoami", "can"),
    "page": ("page",),
    "session": ("session",),
    "guard": ("guard",),
    "run": ("run",),
    "submit": ("submit",),
    "queue": ("queue",),
    "jobs": ("jobs", "cancel", "retry", "result", "logs"),
    "engines": ("engines", "engine"),
    "demo": ("demo",),
    "mcp": ("mcp",),
    "files": ("put", "get", "cat", "mkdir", "mv", "cp", "rm"),
    "listing": ("ls", "du", "history", "undelete"),
    "sharing": ("share", "open", "unshare"),
    "storage": ("scrub", "repair", "storage"),
    "mount": ("mount",),
    "profile": ("profile",),
    "look": ("nodes", "resources", "resource", "leases", "log", "top"),
    "replay": ("replay",),
    "watch": ("watch",),
    "audit": ("audit",),
}
"""Which module brings which commands, in the order of ``wos --help``: only the one that is needed is loaded."""


COMPLETES = "_WOS_COMPLETE"  # is in the environment while the shell asks what could follow


def _parts(arguments: list[str]) -> list[str]:
    words = arguments[2:] if arguments[:1] == ["--grant"] else arguments
    wanted = next((word for word in words if not word.startswith("-")), "")
    return [part for part, names in COMMANDS.items() if wanted in names] or list(COMMANDS)


def _parts_to_complete() -> list[str]:
    """Return what must be loaded for the shell's question. Bash shows names of commands alone: for these nothing is."""
    from worldos.cli.completion import command_of  # noqa: PLC0415 - when the shell asks

    wanted = command_of(os.environ)
    if wanted is None and "COMP_WORDS" in os.environ:
        for names in COMMANDS.values():
            for name in names:
                app.command(name)(_nothing)
        return []
    return _parts([wanted or ""])


def _nothing() -> None:
    """Stand for a command whose name is all that is asked for."""


def main() -> None:
    """Run the command line; never show a traceback."""
    _hold_streams()
    for part in _parts_to_complete() if COMPLETES in os.environ else _parts(sys.argv[1:]):
        importlib.import_module(f"worldos.cli.{part}").register(app)
    try:
        _run()
    except WorldError as error:
        output.complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _close_output()
        sys.exit(141)
    except Exception as bug:  # noqa: BLE001 - the edge: a user gets a sentence, the traceback goes into a file
        _own_mistake(bug)
        sys.exit(70)


def _run() -> None:
    """Run the command, and see to it that its whole answer is out before its exit code says so."""
    try:
        try:
            app(prog_name="wos")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as cause:
        if cause.errno not in {errno.ENOSPC, errno.EIO} or cause.filename is not None:
            raise
        _close_output()
        raise DiskFull("the answer cannot be written", hint="give standard output a place with room") from cause


def _hold_streams() -> None:
    """Make the three standard streams whole: a socket must never get the number of a closed one.

    Names of files and arguments may hold any bytes: what cannot be printed as it is, is printed as its number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _close_output() -> None:
    """Let nothing that still waits to be written fail a second time at the end of the interpreter."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _own_mistake(bug: Exception) -> None:
    import tempfile  # noqa: PLC0415 - when all went wrong
    import traceback  # noqa: PLC0415

    told = f"wos {__version__}: {' '.join(sys.argv[1:])}\n" + "".join(traceback.format_exception(bug))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="wos-bug-", suffix=".txt", delete=False, errors="replace") as file:
            file.write(told)
        hint = f"report it with {file.name}"
    except OSError:
        sys.stderr.write(told)
        hint = "report it with the lines above"
    output.complain(WorldError(f"a mistake of World OS itself: {type(bug).__name__}: {bug}", hint=hint))


if __name__ == "__main__":
    main()
