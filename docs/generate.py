"""Write the pages that come from the program itself, when the site is built: what ``wos --help`` says, for each command.

The list of decisions in the menu is what lies in docs/decisions, so that a new record needs no second entry.
"""

from __future__ import annotations

import json
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


HELP = """
import contextlib, io, json, sys, typer
from worldos.cli import main

def said_by(call, *words):
    out = io.StringIO()
    sys.argv = ["wos", *words, "--help"]
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        call()
    return "\\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()

pages = {"": said_by(main.main)}
for name in typer.main.get_command(main.app).commands:
    pages[name] = said_by(main.app, name)
json.dump(pages, sys.stdout)
"""


def command_page() -> str:
    """Lay out the page of the command line, in the order of ``wos --help``."""
    environment = os.environ | {"COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
    parts = ["# The command `wos`", "", "As `wos --help` says it."]
    for name, said in json.loads(done.stdout).items():
        parts += ["", f"## wos {name}" if name else "", "", f"```text\n{said}\n```"]
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
