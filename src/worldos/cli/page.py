"""``wos page``: your account in a browser of this machine: who can act as you, approvals, sessions."""

from __future__ import annotations

import io
import sys
import webbrowser

import typer

from worldos.cli import output
from worldos.cli.lifecycle import JSON
from worldos.config import default_home
from worldos.errors import BadRequest, NotAllowed, PeerBroke
from worldos.sdk.asking import Asking
from worldos.web.limits import PORT


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("page", rich_help_panel=output.YOUR_MACHINES)(page)


def page(
    port: int = typer.Option(PORT, min=1024, max=65535, help="The port on this machine."),
    origin: str = typer.Option(
        "", help="The https:// name under which a proxy or tunnel of yours brings it elsewhere, to a phone, say."
    ),
    link: bool = typer.Option(False, "--link", help="Print one more login link for the page that runs already."),
    no_browser: bool = typer.Option(False, "--no-browser", help="Print the link alone; open no browser."),
    as_json: bool = JSON,
) -> None:
    """Show your account in a browser, on this machine alone, until Ctrl-C.

    The link lets one browser in, once, within two minutes. The page asks for your passkey before what is hard to undo.
    """
    try:
        from worldos.web import serving  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as cause:
        hint = "pip install 'worldos[page]'"
        raise BadRequest(f"{cause.name} is not installed, which serves the page", hint=hint) from None
    home = default_home()
    at = _origin(origin, port)
    if link:
        _show(serving.link_to(at, serving.known_key(home, port)), at, as_json=as_json)
        return
    with Asking(home) as agent:  # so that nobody looks at an empty page
        agent.ask("status")
    server = None
    if serving.is_free(port):
        server = serving.PageServer(home, at, port)
    elif not serving.runs_already(home, at, port):
        hint = "choose another port: wos page --port 7382"
        raise NotAllowed(f"something else listens at port {port}", hint=hint)
    secret = serving.link_to(at, serving.known_key(home, port))
    _show(secret, at, as_json=as_json)
    if not no_browser and not as_json and not origin:
        webbrowser.open(serving.file_that_opens(home, secret).as_uri())
    if server is None:
        output.err.print("The page runs already, in another terminal.")
        return
    output.err.print("Another browser: wos page --link. Ctrl-C ends it.")
    server.serve()
    if sys.stderr.isatty():
        output.err.print("[dim]ended[/]")


def _origin(origin: str, port: int) -> str:
    """Return the origin of the page: a passkey made there is good there alone."""
    from worldos.trust.passkeys import check_origin  # noqa: PLC0415 - its time is spent here only

    at = origin.rstrip("/") or f"http://localhost:{port}"
    try:
        check_origin(at)
    except PeerBroke as cause:
        raise BadRequest(f"{origin[:100]!r} is no origin of a page", hint="write https://NAME[:PORT]") from cause
    return at


def _show(link: str, origin: str, *, as_json: bool) -> None:
    if as_json:
        output.say_json({"link": link, "origin": origin})
        return
    output.out.print(f"Your page, for this browser, once, within two minutes:\n\n   {output.text(link)}\n")
    if origin.startswith("https:"):
        import segno  # noqa: PLC0415 - for phones only

        drawing = io.StringIO()
        segno.make(link, error="l").terminal(out=drawing, compact=True, border=2)
        print(drawing.getvalue(), flush=True)
