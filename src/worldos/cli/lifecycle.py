"""``wos up``, ``down``, ``status``, ``drain``: the agent of this machine, from its first start to its end."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import typer

from worldos.agent import home as homes
from worldos.cli import output
from worldos.config import Home, Settings, default_home, parse_listen, read_settings, write_settings
from worldos.errors import BadRequest, DiskFull, NoAgent, Refused, Unreachable, WorldError
from worldos.model.resource import Kind
from worldos.sdk.asking import Asking

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
REACHABLE = "0.0.0.0:7370"
JSON = typer.Option(False, "--json", help="Print JSON.")

UNIT = """[Unit]
Description=World OS: this machine as part of one computer

[Service]
Environment="WORLDOS_HOME={home}"
ExecStart="{python}" -m worldos.agent
Restart=on-failure
RestartSec=2
KillMode=mixed
Delegate=yes

[Install]
WantedBy=default.target
"""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (("up", up), ("down", down), ("status", status), ("drain", drain)):
        app.command(name, rich_help_panel=output.THIS_MACHINE)(command)


def up(
    name: str = typer.Option("", help="What to call this machine (default: its host name)."),
    place: str = typer.Option("", help="Where it stands, for --near: home, office/berlin ..."),
    reachable: bool = typer.Option(False, "--reachable", help="Let your other machines connect to this one."),
    listen: str = typer.Option("", help=f"As --reachable, at this HOST:PORT (default {REACHABLE})."),
    foreground: bool = typer.Option(False, "--foreground", help="Stay in this terminal; end with Ctrl-C."),
    service: bool = typer.Option(False, "--service", help="Start it at every login from now on (systemd user unit)."),
    as_json: bool = JSON,
) -> None:
    """Make this machine part of your computer: start its agent, and show what it found."""
    home = default_home()
    homes.make_folder(home.path)
    settings = chosen_settings(home, name=name, place=place, listen=listen, reachable=reachable)
    words = ""
    if not home.keylog_file.exists():
        from worldos.agent.start import device_name, make_account  # noqa: PLC0415 - once in a life
        from worldos.files.roots import make_first  # noqa: PLC0415

        words = make_account(home, device_name(settings))
        make_first(home)
        _show_words(words, as_json=as_json)
    if foreground:
        from worldos.agent.run import run  # noqa: PLC0415 - the whole agent

        run(home, None, output.err.print)
        return
    if service:
        _install_service(home)
    elif homes.running_pid(home) is None:
        start_agent(home)
    with Asking(home) as agent:
        found = {"status": agent.ask("status"), "resources": agent.ask("resources")}
    if as_json:
        output.say_json({**found, "recovery_words": words or None})
    else:
        _show_up(found)


def down(as_json: bool = JSON) -> None:
    """Stop the agent of this machine; leases on it end, workers are gone when this returns."""
    home = default_home()
    pid = homes.running_pid(home)
    if pid is None:
        raise NoAgent("no agent runs on this machine")
    answer: Any = {}
    try:
        with Asking(home) as agent:
            answer = agent.ask("down")
    except (NoAgent, Unreachable):
        os.kill(pid, signal.SIGTERM)
    wait_until_stopped(home, pid)
    if as_json:
        output.say_json({"stopped": pid, **answer})
    else:
        output.out.print(f"stopped (process {pid}); {answer.get('leases_ended', 0)} leases ended")


def status(as_json: bool = JSON) -> None:
    """Show this node in a few lines."""
    with Asking(default_home()) as agent:
        found = agent.ask("status")
    if as_json:
        output.say_json(found)
        return
    listens = ", ".join(found["listens"]) or "nowhere"
    lines = {
        "node": f"{found['name']}  ({found['node'][:12]}...)",
        "account": f"{found['account'][:12]}...  with {found['devices']} devices",
        "linked": f"{found['nodes_linked']} other nodes" + _kin(found["kin_linked"]),
        "listens": listens,
        "center": found["center"],
        "leases": f"{found['leases_granted']} granted here, {found['leases_held']} held by programs here",
        "limits": found["limits_by"],
        "others": found["kept_apart"],
        "state": "maintenance: grants nothing new (wos drain --off)" if found["drained"] else "in service",
        "up": f"{found['up_s']} s, life number {found['life']}",
        "home": found["home"],
        "journal": found["journal"],
    }
    for label, text in lines.items():
        output.out.print(f"[bold]{label:>8}[/]  {text}")


def _kin(linked: int) -> str:
    return f", and {linked} of other accounts" if linked else ""


def drain(
    off: bool = typer.Option(False, "--off", help="Back into service."),
    as_json: bool = JSON,
) -> None:
    """Take this machine out of service: nothing new starts here, what runs goes on."""
    with Asking(default_home()) as agent:
        agent.ask("drain", drained=not off)
    if as_json:
        output.say_json({"drained": not off})
    else:
        output.out.print("back in service" if off else "in maintenance: nothing new starts here (wos drain --off)")


def start_agent(home: Home) -> None:
    """Start an agent that outlives this command, and wait until it is ready; raise with its own words if it fails."""
    try:
        log = home.log_file.open("ab")
    except OSError as cause:
        raise DiskFull(f"{home.log_file} cannot be written") from cause
    with log, output.waiting("the agent looks at this machine"):
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            [sys.executable, "-m", "worldos.agent", "--home", str(home.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
        assert process.stdout is not None
        try:
            readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
            line = process.stdout.readline().decode("utf-8", "replace").strip() if readable else ""
        except KeyboardInterrupt:
            process.terminate()
            raise
    if line.startswith("ready"):
        return
    if not line:
        process.terminate()
        raise Unreachable("the agent did not start", hint=f"its last words are in {home.log_file}")
    kinds = {kind.exit_code: kind for kind in (BadRequest, Refused, Unreachable)}
    raise kinds.get(process.wait(START_TIMEOUT_S), WorldError)(line.removeprefix("failed "))


def wait_until_stopped(home: Home, pid: int) -> None:
    """Wait until an agent has let go of its home."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while homes.running_pid(home) == pid:
        if time.monotonic() > deadline:
            raise Unreachable(f"process {pid} does not stop", hint=f"kill it: kill -9 {pid}")
        time.sleep(0.02)


def chosen_settings(home: Home, *, name: str, place: str, listen: str, reachable: bool) -> Settings:
    """Take over what was chosen on the command line, and keep it for the next start."""
    settings = read_settings(home)
    listen = listen or (REACHABLE if reachable else "")
    if listen:
        parse_listen(listen)
    chosen = Settings(
        **{
            **{field: getattr(settings, field) for field in settings.__struct_fields__},
            **({"name": name} if name else {}),
            **({"place": place} if place else {}),
            **({"listen": listen} if listen else {}),
        }
    )
    if chosen != settings:
        write_settings(home, chosen)
        if homes.running_pid(home) is not None:
            raise BadRequest("this is for the next start: an agent runs already", hint="wos down, then wos up")
    return chosen


def _show_words(words: str, *, as_json: bool) -> None:
    if as_json:
        return
    parts = words.split()
    output.err.print("\n[bold]Your 24 recovery words[/], shown this once. Write them on paper: with them all your")
    output.err.print("devices can be lost and nothing is (wos recover). Whoever has them is you.\n")
    for row in range(0, 24, 6):
        output.err.print("   " + "  ".join(f"{i + 1:>2} {parts[i]:<9}" for i in range(row, row + 6)))
    output.err.print()


def _show_up(found: dict[str, Any]) -> None:
    about, resources = found["status"], found["resources"]
    output.out.print(f"[bold]{about['name']}[/] is up. It found:\n")
    here = [r for r in resources if r["node"] == about["node"]]
    rows = [(r["kind"], r["name"], output.amount(r["kind"], r["capacity"]), r.get("state", "available")) for r in here]
    output.table(("KIND", "WHAT", "SIZE", "STATE"), rows, right=("SIZE",))
    others = sorted({r["node_name"] for r in resources if r["node"] != about["node"]})
    if others:
        output.out.print(f"\nOne computer with: {', '.join(others)}")
    if about["reachable"]:
        output.out.print(f"\nListens at {', '.join(about['listens'])}, to your own devices only.")
        output.out.print("Add the next machine: run [bold]wos invite[/] here, then [bold]wos join TICKET[/] there.")
    else:
        output.out.print("\nNo other machine can connect to this one yet.")
        output.out.print("To add the next: [bold]wos down; wos up --reachable[/], then [bold]wos invite[/].")
    cpu = any(r["kind"] == Kind.CPU for r in here)
    if cpu:
        output.out.print("Try it: [bold]wos run -- uname -a[/]")


def unit_text(home: Home) -> str:
    """Return the systemd user unit of a home's agent."""
    home_text, python = (str(path).replace("%", "%%").replace('"', '\\"') for path in (home.path, sys.executable))
    return UNIT.format(home=home_text, python=python)


def _install_service(home: Home) -> None:
    folder = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "systemd" / "user"
    unit = folder / "worldos.service"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unit.write_text(unit_text(home), encoding="utf-8")
    except OSError as cause:
        raise DiskFull(f"{unit} cannot be written") from cause
    output.err.print(f"wrote {unit}")
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise BadRequest("there is no systemd here to start it", hint="start it in another way: wos up --foreground")
    pid = homes.running_pid(home)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        wait_until_stopped(home, pid)
    for command in (["daemon-reload"], ["enable", "--now", "worldos.service"]):
        done = subprocess.run([systemctl, "--user", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            hint = "loginctl enable-linger lets it run without a login"
            raise Unreachable(f"systemctl --user {command[0]} failed: {said[-1] if said else ''}", hint=hint)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not home.socket_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
