"""``wos engines`` and ``wos engine up``: the engines there are, and one that runs until Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from worldos.cli import output
from worldos.cli.completion import engines_known
from worldos.config import default_home
from worldos.errors import BadRequest, NotThere, WorldError
from worldos.model.limits import SECOND
from worldos.model.units import show_bytes, show_duration_ns

if TYPE_CHECKING:
    from worldos.engines.engine import Engine
    from worldos.engines.standing import Standing

JSON = typer.Option(False, "--json", help="Print JSON.")
LOOK_S = 2.0

engine_app = typer.Typer(
    help="Start engines (Dask, Ray, PostgreSQL) on leases, and remove what was installed for them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("engines", rich_help_panel=output.WORK)(engines)
    engine_app.command("up")(up)
    engine_app.command("remove")(remove)
    app.add_typer(engine_app, name="engine", rich_help_panel=output.WORK)


def engines(as_json: bool = JSON) -> None:
    """Show which engines there are, and what is installed for them on this machine."""
    from rich.markup import escape  # noqa: PLC0415 - who asks for JSON does without

    from worldos.engines import environment, standing  # noqa: PLC0415 - loads the SDK

    rows = [_about(engine) for engine in _all()]
    made = environment.made(default_home())
    kept = standing.standings(default_home())
    if as_json:
        environments = [{"environment": name, "bytes": size} for name, size in made]
        databases = [msgspec.to_builtins(each) for each in kept]
        output.say_json({"engines": rows, "environments": environments, "databases": databases})
        return
    output.table(
        ("ENGINE", "VERSION", "HERE", "WHAT"),
        [(row["name"], row["version"], escape(row["here"]), escape(row["what"])) for row in rows],
    )
    if made:
        print()
        output.table(
            ("ENVIRONMENT MADE HERE", "SIZE"),
            [(name, show_bytes(size)) for name, size in made],
            right=("SIZE",),
        )
    if kept:
        print()
        output.table(("DATABASE IN USE HERE", "ITS LOG IS KEPT"), [(each.database, _how_far(each)) for each in kept])


def _how_far(kept: Standing) -> str:
    """Say how far behind the archive of a database is."""
    from rich.markup import escape  # noqa: PLC0415

    if not kept.why:
        return "yes"
    since_s = max(0, round(time.time() - kept.whole_at_s))
    return escape(f"to {show_duration_ns(since_s * SECOND)} ago, {show_bytes(kept.waiting_bytes)} wait: {kept.why}")


def up(
    name: str = typer.Argument(
        metavar="ENGINE", help="Dask, Ray, PostgreSQL or another of wos engines.", autocompletion=engines_known
    ),
    words: list[str] = typer.Argument(None, metavar="[WORD=VALUE]...", help="Words of its own: version=15 name=shop."),
    cpus: str = typer.Option("1", "--cpus", help="Cores in all: 4, or 2-16: as its tasks need."),
    gpus: str = typer.Option("", "--gpus", help="Whole or parts of GPUs."),
    memory: str = typer.Option("", "--memory", help="Memory in all: 8GB."),
    nodes: int = typer.Option(0, "--nodes", help="On so many machines; without it on as few as have the cores."),
    where: str = typer.Option("", help="A comparison each node must fulfil: \"arch == 'arm64'\"."),
    near: str = typer.Option("", help="Closer to this is better: 'me', a node, or a place."),
    realm: str = typer.Option("", help="Only in this realm: acme/berlin."),
    as_json: bool = JSON,
) -> None:
    """Start an engine and keep it until Ctrl-C. Example: wos engine up Dask --cpus 4."""
    engine = _named(name)
    said: dict[str, Any] = {**_words(words or []), "cpus": _range(cpus)}
    places = {"gpus": gpus, "memory": memory, "nodes": nodes, "where": where, "near": near, "realm": realm}
    said.update({word: value for word, value in places.items() if value})
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    engaged = engine.use(None, said)
    with engaged:
        told = engine.told(engaged)
        if as_json:
            output.say_json({"engine": engine.name, "nodes": list(engaged.nodes), **told})
        else:
            where_it_is = f"{len(engaged.nodes)} nodes" if len(engaged.nodes) > 1 else "1 node"
            print(f"{engine.name} runs on {where_it_is}, for programs of yours on this machine, until Ctrl-C.")
            for label, value in told.items():
                print(f"  {label:<10} {value}", flush=True)
        left = engaged.nodes
        while not over.wait(LOOK_S):
            before, left = left, engaged.check()
            for node in sorted(set(before) - set(left)):
                output.err.print(f"{engine.name}: node {node[:8]} has left; it goes on with {len(left)}", markup=False)
            for node in sorted(set(left) - set(before)):
                output.err.print(f"{engine.name}: node {node[:8]} has joined; it runs on {len(left)}", markup=False)


def remove(
    environment: str = typer.Argument(metavar="ENVIRONMENT", help="As wos engines shows it."),
) -> None:
    """Remove an environment that was made for an engine; it is made again when it is needed."""
    from worldos.engines import environment as environments  # noqa: PLC0415

    if environment not in [name for name, _ in environments.made(default_home())]:
        raise NotThere(f"there is no environment {environment!r}", hint="see those there are: wos engines")
    shutil.rmtree(default_home().path / "engines" / environment)
    print(f"removed {environment}")


def _all() -> list[Engine]:
    from worldos.drivers.installed import entry_points  # noqa: PLC0415
    from worldos.sdk.engines import GROUP  # noqa: PLC0415

    return [point.load() for point in sorted(entry_points(GROUP))]


def _named(name: str) -> Engine:
    found = _all()
    for engine in found:
        if engine.name.lower() == name.lower():
            return engine
    raise BadRequest(f"there is no engine {name!r}", hint=f"there are: {', '.join(engine.name for engine in found)}")


def _about(engine: Engine) -> dict[str, str]:
    from worldos.engines import environment  # noqa: PLC0415

    about = {"name": engine.name, "what": engine.summary, "version": ""}
    try:
        software = engine.software({})
    except WorldError as error:
        return {**about, "here": f"{error}; {error.hint}"}
    found = environment.find(software, default_home())
    if found is None:
        here = "installed when it is first used" if software.requirements else "not installed"
    else:
        here = "in an environment of its own" if found.own else f"as it is, in {found.bin}"
    return {**about, "version": software.version, "here": here}


def _range(cpus: str) -> str | tuple[str, str]:
    least, dash, most = cpus.partition("-")
    return (least, most) if dash else cpus


def _words(said: list[str]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for each in said:
        key, equals, value = each.partition("=")
        if not equals or not key.isidentifier():
            raise BadRequest(f"{each!r} is no word of an engine", hint="say it as WORD=VALUE: version=15")
        words[key] = _value(value)
    return words


def _value(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if text.isdecimal():
        return int(text)
    return text.split(",") if "," in text else text
