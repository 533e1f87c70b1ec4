"""What commands show to a person and ask of one: tickets to carry over, and a yes or no before something is done."""

from __future__ import annotations

import io
import sys

import typer

from worldos.cli import output
from worldos.errors import BadRequest, NotAllowed


def show_ticket(ticket: str, said: str, command: str, *, plain: bool) -> None:
    """Show a ticket as the command to type and as a picture, or alone, for scripts."""
    if plain:
        print(ticket, flush=True)
        return
    import segno  # noqa: PLC0415 - for people only

    drawing = io.StringIO()
    segno.make(ticket.upper(), error="l").terminal(out=drawing, compact=True, border=2)
    output.out.print(said)
    print(f"   {command} {ticket}\n")
    print(drawing.getvalue(), flush=True)
    output.err.print("waiting for it (Ctrl-C to end) ...")


def confirmed(question: str) -> bool:
    """Ask; Ctrl-C at the question ends the command."""
    try:
        return bool(typer.confirm(question, err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None


def sure(question: str) -> None:
    """Ask before something is done; raise where nobody is here, or the answer is no."""
    if not sys.stdin.isatty():
        raise BadRequest("nobody is here to ask", hint="add --yes")
    if not confirmed(question):
        raise NotAllowed("nothing was done")
