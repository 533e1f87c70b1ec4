"""``wos realm``: realms above your machines: begin one, let others in, join one, and see the tree."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from worldos.cli import output
from worldos.cli.person import confirmed, show_ticket, sure
from worldos.config import default_home
from worldos.errors import BadRequest, WorldError
from worldos.model.realm import Level
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from worldos.tui.branches import Branch

INVITE_TIMEOUT_S = 660.0
JOIN_TIMEOUT_S = 800.0
CHARTER_TIMEOUT_S = 60.0
GUIDE_CELLS = 4
NAME_CELLS_MIN = 12
LEVELS = ", ".join(level.name.lower() for level in Level)
JSON = typer.Option(False, "--json", help="Print JSON.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    realm = typer.Typer(
        help="Realms above your machines: a firm over its sites, a group over firms. Begin, join, leave, see.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (
        ("create", create),
        ("found", found),
        ("invite", invite),
        ("join", join),
        ("leave", leave),
        ("remove", remove),
        ("tree", tree),
        ("show", show),
        ("policy", policy),
        ("watch", watch),
    ):
        realm.command(name)(command)
    app.add_typer(realm, name="realm", rich_help_panel=output.YOUR_MACHINES)


def realms_known(incomplete: str) -> list[str]:
    """Complete the name of a realm; nothing where no agent runs."""
    with suppress(WorldError), Asking(default_home()) as agent:
        rows = agent.ask("realm_tree")
        return [row[key] for key in ("name", "path") for row in rows if row[key].startswith(incomplete)]
    return []


REALM = typer.Argument("", metavar="[REALM]", help="Its name or path.", autocompletion=realms_known, show_default=False)


def create(
    name: str = typer.Argument(metavar="NAME", help="What to call the new realm."),
    level: str = typer.Option(
        "",
        help=f"How much it holds together: {LEVELS} (default: the next above yours).",
        autocompletion=lambda: LEVELS.split(", "),
    ),
    as_json: bool = JSON,
) -> None:
    """Begin a new realm over the topmost one that this machine belongs to."""
    with Asking(default_home()) as agent, output.waiting("the councils agree"):
        made = agent.ask("realm_create", timeout_s=CHARTER_TIMEOUT_S, name=name, level=level)
    if as_json:
        output.say_json(made)
        return
    output.out.print(f"[bold]{output.text(made['path'])}[/] is a realm of level {made['level']} now.")
    output.out.print("Let another realm in: [bold]wos realm invite[/]. See it: [bold]wos realm tree[/]")


def found(yes: bool = YES, as_json: bool = JSON) -> None:
    """Begin the council of your own site on this machine, where it never had one, or lost it for good.

    An account from before there were councils has none, nor one that was brought back by its recovery words; its machines
    stand in for it. Do it on one machine alone.
    """
    if not yes:
        sure("Is the old council, if there was one, lost for good?")
    with Asking(default_home()) as agent, output.waiting("the council begins"):
        begun = agent.ask("realm_found", timeout_s=CHARTER_TIMEOUT_S)
    if as_json:
        output.say_json(begun)
    else:
        output.out.print(f"{output.text(begun['realm'])} has a council from now on (epoch {begun['epoch']})")


def invite(
    realm: str = typer.Argument(
        "",
        metavar="[REALM]",
        help="Under which realm (default: your topmost one).",
        autocompletion=realms_known,
        show_default=False,
    ),
    minutes: int = typer.Option(10, min=1, max=10, help="How long the ticket is good."),
    plain: bool = typer.Option(False, "--plain", help="Print the ticket alone, for scripts."),
    as_json: bool = JSON,
) -> None:
    """Make a ticket by which one realm of somebody else's goes below one of yours: one use, 10 minutes.

    Whoever has the ticket may use it, so hand it over as you would a key.
    """

    def progress(value: dict[str, Any]) -> None:
        if "ticket" in value:
            under = output.text(value["realm"])
            said = f"On a machine of the realm that goes below [bold]{under}[/], within {minutes} minutes:\n"
            show_ticket(value["ticket"], said, "wos realm join", plain=plain or as_json)
        elif "setback" in value:
            output.err.print(output.text(value["setback"]))

    with Asking(default_home()) as agent:
        joined = agent.ask(
            "realm_invite", progress=progress, timeout_s=INVITE_TIMEOUT_S, realm=realm, life_s=minutes * 60
        )
    if as_json:
        output.say_json(joined)
    elif joined["why"]:
        output.out.print(
            f"{output.text(joined['name'])} is admitted, but has not noted it down ({output.text(joined['why'])}):"
            " it may join again with a new ticket"
        )
    elif not plain:
        output.out.print(f"[bold]{output.text(joined['name'])}[/] is below yours now. See it: wos realm tree")


def join(
    ticket: str = typer.Argument(metavar="TICKET", help="What wos realm invite printed on the other side."),
    realm: str = typer.Option(
        "", help="Which of your realms joins (default: your topmost one).", autocompletion=realms_known
    ),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Put a realm of yours below another one. Your machines stay yours: a parent sees what is free, and asks."""
    home = default_home()

    def progress(value: dict[str, Any]) -> None:
        with Asking(home) as other:
            other.ask("confirm", confirm=value["confirm"], yes=yes or _wanted(value))

    with Asking(home) as agent:
        joined = agent.ask("realm_join", progress=progress, timeout_s=JOIN_TIMEOUT_S, ticket=ticket, realm=realm)
    if as_json:
        output.say_json(joined)
    else:
        output.out.print(
            f"{output.text(joined['child'])} is below [bold]{output.text(joined['path'])}[/] now. See it: wos realm tree"
        )


def leave(
    realm: str = typer.Argument(
        "",
        metavar="[REALM]",
        help="The realm to leave (default: the only one above).",
        autocompletion=realms_known,
        show_default=False,
    ),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Take your realm out from below another one. What was lent there ends when its leases end."""
    if not yes:
        sure(f"Leave {realm or 'the realm above yours'}?")
    with Asking(default_home()) as agent, output.waiting("the council agrees"):
        left = agent.ask("realm_leave", timeout_s=CHARTER_TIMEOUT_S, realm=realm)
    if as_json:
        output.say_json(left)
    else:
        output.out.print(f"{output.text(left['child'])} is not below {output.text(left['left'])} any more")


def remove(
    realm: str = typer.Argument(metavar="REALM", help="Its path or name.", autocompletion=realms_known),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Put a realm out from below one of yours: for its owner's machines there is no way back without a ticket."""
    if not yes:
        sure(f"Put {realm} out?")
    with Asking(default_home()) as agent, output.waiting("the council agrees"):
        done = agent.ask("realm_remove", timeout_s=CHARTER_TIMEOUT_S, realm=realm)
    if as_json:
        output.say_json(done)
    else:
        output.out.print(f"{output.text(done['removed'])} is not below {output.text(done['parent'])} any more")


def tree(as_json: bool = JSON) -> None:
    """Show the realms that this machine knows: who leads them, since when, and what is free in them.

    A realm whose council cannot be reached is an island: it goes on, under a stand-in.
    """
    with Asking(default_home()) as agent:
        rows = agent.ask("realm_tree")
    if as_json:
        output.say_json(rows)
        return
    for line in drawn(rows):
        _console_print(line)


def show(
    path: str = typer.Argument(
        metavar="PATH", help="A realm's path, or its name: earth/acme, acme.", autocompletion=realms_known
    ),
    as_json: bool = JSON,
) -> None:
    """Show one realm: its council, its parents and children, its policy."""
    with Asking(default_home()) as agent:
        found = agent.ask("realm_show", path=path)
    if as_json:
        output.say_json(found)
        return
    for label, text in _about(found):
        output.out.print(f"[bold]{label:>9}[/]  {output.text(text)}")
    if found["children"]:
        output.out.print()
        rows = [
            (c["name"], c["level"], c["primary_name"], c["epoch"], _seconds(c["heard_s"])) for c in found["children"]
        ]
        output.table(("BELOW IT", "LEVEL", "PRIMARY", "EPOCH", "LAST HEARD"), rows, right=("EPOCH", "LAST HEARD"))


def policy(
    key: str = typer.Argument("", metavar="[KEY]", help="lend: to whom your machines lend.", show_default=False),
    value: str = typer.Argument(
        "",
        metavar="[VALUE]",
        help="own: to your own account alone; kin: to the whole tree.",
        autocompletion=lambda: ["own", "kin"],
        show_default=False,
    ),
    realm: str = typer.Option("", help="Of which realm (default: your own site).", autocompletion=realms_known),
    as_json: bool = JSON,
) -> None:
    """Show a realm's policy, or change it: wos realm policy lend kin."""
    if key and not value:
        raise BadRequest(
            f"what should {key[:40]} be?", hint=f"wos realm policy {key[:40]} VALUE; wos realm policy shows it"
        )
    with Asking(default_home()) as agent:
        now = agent.ask("realm_policy", timeout_s=CHARTER_TIMEOUT_S, key=key, value=value, realm=realm)
    if as_json:
        output.say_json(now)
        return
    for name, text in sorted(now["policy"].items()):
        output.out.print(f"[bold]{name:>9}[/]  {output.text(text)}")
    if (key, value) == ("lend", "kin"):
        output.out.print(
            "Programs of other accounts may run here now, each in a sandbox. To whom, how much and when: [bold]wos lend[/]"
        )


def watch() -> None:
    """Watch the tree live: primaries, epochs, islands, and what changes. Ends with q."""
    from worldos.tui.realm_watch import run_realm_watch  # noqa: PLC0415 - textual is large

    run_realm_watch(default_home())


# -- the picture -----------------------------------------------------------------------------------------------------------


def drawn(rows: list[dict[str, Any]]) -> list[Tree | Text]:
    """Draw the tree, with a head; the columns stand below each other at any depth."""
    from rich.text import Text  # noqa: PLC0415 - 100 ms, which --json does without

    from worldos.tui.branches import COLUMNS, NUMBERS, cells, forest, lines  # noqa: PLC0415

    trees = forest(rows)
    width = max([NAME_CELLS_MIN, *(len(guides) + len(_named(row)) for guides, row in lines(trees))])
    columns = [max(len(name), *(len(cells(row)[at]) for row in rows)) for at, name in enumerate(COLUMNS)]
    head = Text(" " * width, "bold")
    for name, size in zip(COLUMNS, columns, strict=True):
        head.append("  " + (name.rjust(size) if name in NUMBERS else name.ljust(size)))
    return [head, *(_draw(branch, width, columns) for branch in trees)]


def _draw(branch: Branch, width: int, columns: list[int]) -> Tree:
    from rich.tree import Tree  # noqa: PLC0415

    tree = Tree(_label(branch.row, width, columns), guide_style="dim")

    def grow(node: Tree, branch: Branch, depth: int) -> None:
        for child in branch.below:
            label = _label(child.row, width - GUIDE_CELLS * depth, columns)
            grow(node.add(label), child, depth + 1)

    grow(tree, branch, 1)
    return tree


def _label(row: dict[str, Any], width: int, columns: list[int]) -> Text:
    from rich.text import Text  # noqa: PLC0415

    from worldos.tui.branches import COLUMNS, LEVEL_STYLE, NUMBERS, cells, state_style  # noqa: PLC0415

    styles = (LEVEL_STYLE.get(row["level"], ""), "", "dim", state_style(row), "", "", "")
    label = Text(no_wrap=True).append(_named(row).ljust(width), "bold" if row["here"] else "")
    for name, text, size, style in zip(COLUMNS, cells(row), columns, styles, strict=True):
        label.append("  " + (text.rjust(size) if name in NUMBERS else text.ljust(size)), style)
    label.rstrip()
    return label


def _named(row: dict[str, Any]) -> str:
    return f"{row['name']} (here)" if row["mine"] else str(row["name"])


def _console_print(line: Any) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=output.PIPE_COLUMNS)
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _about(found: dict[str, Any]) -> list[tuple[str, str]]:
    primary = found["primary_name"] or "not known here: ask on a machine that leads a realm (wos realm tree)"
    if found["provisional"]:
        primary += ", standing in: the council cannot be reached"
    lines = [
        ("realm", f"{found['path']}  ({found['realm'][:12]}...)"),
        ("level", found["level"]),
        ("primary", primary),
        ("epoch", str(found["epoch"] or "")),
        ("council", ", ".join(found["council"])),
        ("above", ", ".join(found["parents"]) or "nothing"),
        ("heard", _seconds(found["heard_s"]) if found["heard_s"] is not None else ""),
        ("policy", ", ".join(f"{key} = {value}" for key, value in sorted(found["policy"].items()))),
    ]
    return [(label, text) for label, text in lines if text]


def _seconds(heard_s: float | None) -> str:
    return "" if heard_s is None else f"{heard_s:.1f} s ago"


# -- questions ---------------------------------------------------------------------------------------------------------------


def _wanted(value: dict[str, Any]) -> bool:
    parent, child = value["parent"], value["child"]
    output.err.print(f"\nThe ticket is of [bold]{output.text(parent['path'])}[/].")
    if not sys.stdin.isatty():
        raise BadRequest("nobody is here to say yes", hint="run it in a terminal, or with --yes if you are sure")
    return confirmed(f"Join {parent['name']} ({parent['level']}) as child {child}?")
