"""Write the pages that come from the program itself, when the site is built: what ``wos --help`` says, for each command.

The list of decisions in the menu is what lies in docs/decisions, so that a new record needs no second entry.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from worldos.model.where import KNOWN_FACTS

DOCS = Path(__file__).parent
COLUMNS = "92"


def said_by(*words: str) -> str:
    """Return what ``wos WORDS --help`` prints."""
    environment = os.environ | {"COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "worldos.cli.main", *words, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()


NAMES = """
import contextlib, io, sys, typer
from worldos.cli import main
sys.argv = ["wos", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main.main()
print(*typer.main.get_command(main.app).commands)
"""


def commands() -> list[str]:
    """Name all commands, in the order of ``wos --help``."""
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.split()


def command_page() -> str:
    """Lay out the page of the command line."""
    parts = ["# The command `wos`", "", "As `wos --help` says it.", "", f"```text\n{said_by()}\n```"]
    for command in commands():
        parts += ["", f"## wos {command}", "", f"```text\n{said_by(command)}\n```"]
    return "\n".join(parts) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put each decision record into the menu."""
    decisions = next(part["Decisions"] for part in config.nav or [] if "Decisions" in part)
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    decisions += [f"decisions/{path.name}" for path in records]
    dependencies = sorted((DOCS / "decisions" / "dependencies").glob("*.md"))
    decisions.append({"Dependencies": [f"decisions/dependencies/{path.name}" for path in dependencies]})
    return config


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Fill in the facts that conditions can compare."""
    if page.file.src_uri != "reference/where.md":
        return markdown
    rows = "\n".join(f"| `{fact}` | {meaning} |" for fact, meaning in sorted(KNOWN_FACTS.items()))
    return markdown.replace("<!-- facts -->", rows)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "reference/cli.md", content=command_page()))
    return files
