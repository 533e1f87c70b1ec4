"""``python -m worldos.planet``: measure the kernel, watch the simulator, and write the report.

measure   the real kernel on this machine -> parameters.json
watch     the simulator -> observed.json (a few minutes)
report    the model -> docs/planet.md and its pictures (about a minute)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worldos.planet import agreement, pages


def main(words: list[str] | None = None) -> int:
    """Do what is asked for."""
    options = argparse.ArgumentParser(
        prog="python -m worldos.planet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("what", choices=["measure", "watch", "report"])
    options.add_argument("--docs", type=Path, default=Path("docs"), help="where planet.md lies (default: docs)")
    asked = options.parse_args(words)
    if asked.what == "measure":
        from worldos.planet import measure, parameters  # noqa: PLC0415 - loads drivers that a report does not need

        parameters.save(measure.measure())
    elif asked.what == "watch":
        agreement.save(agreement.observe())
    else:
        from worldos.planet import report  # noqa: PLC0415 - needs numpy

        pages.write(asked.docs, *report.everything())
    return 0


if __name__ == "__main__":
    sys.exit(main())
