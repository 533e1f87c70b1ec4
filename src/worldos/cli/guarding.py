"""``wos storage unlock``, ``feature-code``, ``guardians``: who can open the key of all files, beside the devices that have it.

A code or words are never arguments: they would stay in the shell's history and in the list of processes. They are asked for,
or read from standard input where nobody is at a terminal.
"""

from __future__ import annotations

import sys

import typer

from worldos.cli import output
from worldos.cli.names import JSON, STREAM, plain, session, when
from worldos.cli.person import confirmed
from worldos.config import default_home, read_settings
from worldos.errors import BadRequest, NotAllowed

CODE_CHARS_MIN = 12
YES = typer.Option(False, "--yes", "-y", help="Do not ask: take who asks as right.")


def register(storage: typer.Typer) -> None:
    """Add these commands to ``wos storage``."""
    storage.command("unlock")(unlock)
    storage.command("feature-code")(feature_code)
    guardians = typer.Typer(
        help="People whose devices each keep a part of the key: some of them together give it back to you.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (("list", list_), ("set", set_), ("ask", ask), ("answer", answer)):
        guardians.command(name)(command)
    storage.add_typer(guardians, name="guardians")


def secret(what: str, *, twice: bool = False) -> str:
    """Ask a person for a secret without showing it, or read a line where nobody is at a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    try:
        return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)).strip()
    except typer.Abort:
        raise KeyboardInterrupt from None


def unlock(
    words: bool = typer.Option(False, "--words", help="By the 24 recovery words."),
    answers: bool = typer.Option(False, "--answers", help="By what guardians answered, one a line."),
    as_json: bool = JSON,
) -> None:
    """Open the key of your files on a device that has none: by the feature code, unless another way is said."""
    from worldos.files import recovering  # noqa: PLC0415

    home = default_home()
    if answers:
        how = recovering.unlock(home, answers=_lines("What the guardians answered, one a line; an empty line ends it"))
    elif words:
        how = recovering.unlock(home, words=secret("The 24 words"))
    else:
        how = recovering.unlock(home, feature_code=secret("Your feature code"))
    if as_json:
        output.say_json({"by": how})
    else:
        print(f"your files are open on this machine, by {how}; see them: wos ls")


def _lines(question: str) -> list[str]:
    if sys.stdin.isatty():
        sys.stderr.write(f"{question}:\n")
    found = []
    for line in sys.stdin:
        if not line.strip():
            break
        found.append(line.strip())
    return found


def feature_code(as_json: bool = JSON) -> None:
    """Set the code that opens the key of your files, in the place of the one before.

    Choose a sentence that nobody can guess: who has it, and any device of yours, has your files.
    """
    from worldos.files.recovering import set_feature_code  # noqa: PLC0415

    code = secret("The new code", twice=True)
    if len(code) < CODE_CHARS_MIN:
        hint = f"take a sentence of at least {CODE_CHARS_MIN} letters; or rely on the 24 words alone"
        raise BadRequest("this code is too short to keep anybody out", hint=hint)
    with output.waiting("the code is made hard to guess"):
        set_feature_code(default_home(), code)
    if as_json:
        output.say_json({"set": True})
    else:
        print("the code is set; it opens your files on a new device by wos storage unlock")


def list_(as_json: bool = JSON) -> None:
    """Show who keeps a part of the key."""
    from worldos.files.recovering import guardians  # noqa: PLC0415

    found = guardians(default_home())
    if as_json:
        output.say_json(plain(found))
    elif found:
        output.table(
            ("GUARDIAN", "DEVICE", "SINCE"), [(output.text(g.name), g.node[:8], when(g.since_ns)) for g in found]
        )
        print(f"\nany {found[0].need} of these {len(found)} together give the key back")
    else:
        print("nobody keeps a part of your key: wos storage guardians set NAME... --need 2")


def set_(
    names: list[str] = typer.Argument(
        None, metavar="[NAME...]", help="Devices, as wos nodes shows them.", show_default=False
    ),
    need: int = typer.Option(2, min=1, max=255, help="How many of them together give the key back."),
    nobody: bool = typer.Option(False, "--nobody", help="Take it back from all: those before have nothing then."),
    as_json: bool = JSON,
) -> None:
    """Give each of these devices a part of the key, in the place of those before."""
    from worldos.files.recovering import set_guardians  # noqa: PLC0415

    chosen = list(names or [])
    if bool(chosen) == nobody:
        raise BadRequest("who shall keep a part of the key?", hint="wos storage guardians set NAME..., or --nobody")
    if need > len(chosen) and not nobody:
        hint = f"name more of them, or --need {len(chosen)}"
        raise BadRequest(f"{need} are needed, and only {len(chosen)} keep a part", hint=hint)
    set_guardians(default_home(), chosen, need)
    if as_json:
        output.say_json({"guardians": chosen, "need": 0 if nobody else need})
    elif nobody:
        print("nobody keeps a part of your key any more")
    else:
        print(f"any {need} of {', '.join(chosen)} together give the key of your files back")


def ask(as_json: bool = JSON) -> None:
    """Print a text for each guardian, to send them; what they answer goes into wos storage unlock --answers."""
    from worldos.files.recovering import asker_of, plead  # noqa: PLC0415

    home = default_home()
    with session() as files:
        pleas = plead(home, files.session.stores, name=read_settings(home).name)
    if as_json:
        output.say_json(plain(pleas))
        return
    for plea in pleas:
        output.err.print(f"To [bold]{output.text(plea.name)}[/]:")
        print(plea.text)
    output.err.print(
        f"\nTell them these digits by voice, so that they know it is you: [bold]{asker_of(pleas[0].text)}[/]"
    )


def answer(
    text: str = typer.Argument(STREAM, metavar="[TEXT]", help="What you were sent (default: from standard input)."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Help somebody back to their files: print the part of their key that this device keeps, for their device alone."""
    from worldos.files.recovering import asker_of, give  # noqa: PLC0415

    asked = sys.stdin.readline() if text == STREAM else text
    who = asker_of(asked)
    if not yes:
        if not sys.stdin.isatty():
            raise BadRequest("nobody is here to compare who asks", hint=f"it is {who}; add --yes if you are sure")
        if not confirmed(f"Is it {who}, and did you hear these digits from them by voice?"):
            raise NotAllowed("nothing was given")
    given = give(default_home(), asked)
    if as_json:
        output.say_json({"asker": who, "answer": given})
    else:
        print(given)
