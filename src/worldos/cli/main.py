"""``wos``: puts the commands together, and turns every failure into a sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 3 refused, 4 not reachable, 130 interrupted; ``wos run`` gives
the exit code of the command that it ran.
"""

from __future__ import annotations

import sys

import typer

from worldos import __version__
from worldos.cli import output

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


def main() -> None:
    """Run the command line; never show a traceback."""
    from worldos.cli import demo, devices, lifecycle, look, replay, run  # noqa: PLC0415 - each registers its commands
    from worldos.errors import WorldError  # noqa: PLC0415

    for part in (lifecycle, devices, look, run, replay, demo):
        part.register(app)
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


if __name__ == "__main__":
    main()
