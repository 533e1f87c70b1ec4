"""``python -m worldos.agent``: run one agent until it is told to stop.

``--embedded``: for the life of one program: its own temporary home, no links, ends when standard input closes. Says
``ready PATH`` or ``failed SENTENCE`` on standard output, once.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from worldos.errors import WorldError
from worldos.home import Home, default_home
from worldos.lanes import early


def main() -> int:
    """Parse, run, and say how it went in one line."""
    parser = argparse.ArgumentParser(prog="python -m worldos.agent")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--listen", help="host:port; overrides the choice in config.toml")
    options = parser.parse_args()
    home = Home(options.home.absolute()) if options.home else default_home()
    early.begin()
    from worldos.agent.run import run, run_embedded  # noqa: PLC0415 - argument errors come before heavy imports

    try:
        if options.embedded:
            run_embedded(_say)
        else:
            run(home, options.listen, _say)
    except WorldError as error:
        cause = error.__cause__
        because = f": {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else ""
        _say(f"failed {error}{because}" + (f" ({error.hint})" if error.hint else ""))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _say(line: str) -> None:
    try:
        sys.stdout.write(line.replace("\n", " ") + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.close(1)


if __name__ == "__main__":
    sys.exit(main())
