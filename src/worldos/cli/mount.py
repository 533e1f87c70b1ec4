"""``wos mount serve``: all files as a folder that other programs open, by WebDAV on this machine.

Nothing is served without a password, not to this machine either: every user and every web page can reach a port on it. The
password is made once and kept in the home, so that what a file manager remembers stays right.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from worldos.cli import output
from worldos.cli.names import JSON, session
from worldos.config import Home, default_home
from worldos.errors import BadRequest, DiskFull
from worldos.sdk.shown import VARIABLE, shown_grant

if TYPE_CHECKING:
    from worldos.files.webdav import FolderServer

PORT = 7380
PASSWORD_BYTES = 18
PASSWORD_CHARS_MIN = 16


def register(app: typer.Typer) -> None:
    """Add these commands."""
    mount = typer.Typer(
        help="Your files as a folder of this machine: for Finder, Explorer, Nautilus, rclone.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    mount.command("serve")(serve)
    app.add_typer(mount, name="mount", rich_help_panel=output.FILES)


def serve(
    port: int = typer.Option(PORT, min=0, max=65535, help="The port on this machine; 0 takes any that is free."),
    read_only: bool = typer.Option(False, "--read-only", help="Nothing can be changed through it."),
    new_password: bool = typer.Option(
        False, "--new-password", help="Make a new password: the old one opens nothing more."
    ),
    as_json: bool = JSON,
) -> None:
    """Serve your files as a WebDAV folder to this machine alone, until Ctrl-C.

    It asks for a password. What is written there is sealed, spread and kept as by wos put. With wos --grant FILE mount serve it
    serves what the grant opens, and nothing else.
    """
    try:
        from worldos.files.permit import Permit  # noqa: PLC0415 - loads what reads grants
        from worldos.files.webdav import USER, FolderServer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as cause:
        hint = "pip install 'worldos[mount]'"
        raise BadRequest(f"{cause.name} is not installed, which serves the folder", hint=hint) from None
    password = kept_password(default_home(), anew=new_password)
    grant = shown_grant()
    os.environ.pop(VARIABLE, None)  # what serves has its own rights, and gives on what the grant leaves of them
    with session() as files:
        permit = Permit(default_home(), grant) if grant else None
        server = FolderServer(files, password, port=port, read_only=read_only, permit=permit)
        if as_json:
            output.say_json({"url": server.url, "user": USER, "password": password, "read_only": read_only})
        else:
            _show(server, USER, password, read_only=read_only)
        _serve_until_asked(server)


def kept_password(home: Home, *, anew: bool) -> str:
    """Return the password of this home's folder; it is made when there is none, or a new one is wanted."""
    file = home.path / "mount.password"
    try:
        if file.exists() and not anew:
            known = file.read_text("ascii").strip()
            if len(known) >= PASSWORD_CHARS_MIN:
                return known
        made = secrets.token_urlsafe(PASSWORD_BYTES)
        _write_private(file, made + "\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise DiskFull(f"{file} cannot be read or written") from cause
    return made


def _write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    beside = file.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
        out.write(text)
    beside.replace(file)


def _show(server: FolderServer, user: str, password: str, *, read_only: bool) -> None:
    place = server.address
    output.out.print(f"Your files are at [bold]{server.url}[/]{' (read-only)' if read_only else ''}\n")
    output.out.print(f"    user      {user}\n    password  {password}\n", markup=False)
    rows = (
        ("macOS", f"Finder, Go, Connect to Server (Cmd-K): http://{place}/"),
        ("Windows", f"Explorer, This PC, Map network drive: http://{place}/"),
        ("GNOME", f"Files, Other Locations: dav://{user}@{place}/"),
        ("KDE", f"Dolphin: webdav://{user}@{place}/"),
        ("phone", "a WebDAV app, through a tunnel to this machine (ssh, WireGuard)"),
        ("rclone", f"rclone config create mine webdav url=http://{place}/ vendor=other user={user} pass=PASSWORD"),
    )
    for name, said in rows:
        output.out.print(f"    [bold]{name:<9}[/] {output.text(said)}")
    output.out.print("\nIt asks this machine's programs alone, and all of them for the password. Ctrl-C ends it.")


def _serve_until_asked(server: FolderServer) -> None:
    """Serve; Ctrl-C, the end of the session or a polite kill end it when what is being written is whole or dropped."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        threading.Thread(target=server.stop).start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    server.serve()
    if sys.stderr.isatty():
        output.err.print("[dim]ended[/]")
