"""``wos demo``: three nodes edit a folder of photos together; one is killed, one is put to sleep, and nothing is lost."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worldos.cli import output
from worldos.cli.photo_edit import contact_sheet, edit
from worldos.errors import BadRequest

if TYPE_CHECKING:
    from worldos.cli.stage import Actor

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
PHOTOS_MAX = 2000
KILL_AFTER = 0.25  # part of the photos that is done when a node is killed
SLEEP_AFTER = 0.45  # ... and when another is put to sleep
CORES_PER_NODE = 2


class Photo(msgspec.Struct, frozen=True):
    """One photo, before and after. ``digest`` tells whether two edits of it are the same."""

    name: str
    data: bytes
    thumb: bytes
    node: str
    took_s: float

    @property
    def digest(self) -> str:
        """Return the hash of the edited photo."""
        return hashlib.sha256(self.data).hexdigest()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went. ``events`` says what was done to which node, and when."""

    photos: list[Photo]
    seconds: float
    submitted: int
    reruns: int
    events: dict[str, str]
    sheet: bytes


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("demo", rich_help_panel=output.WORK)(demo)


def demo(
    folder: Path | None = typer.Argument(
        None, metavar="[FOLDER]", help="Your photos (default: those that come with the source)."
    ),
    results: Path = typer.Option(Path("wos-demo"), "--out", help="Where the edited photos go."),
    repeat: int = typer.Option(2, min=1, max=50, help="Edit each photo so many times, for a longer run."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Edit photos on three nodes of this machine, while one is killed and one falls asleep."""
    missing = [name for name in ("PIL", "psutil") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadRequest(f"the demo needs {' and '.join(missing)}", hint="pip install 'worldos[demo]'")
    from worldos.cli.stage import Stage  # noqa: PLC0415 - needs psutil

    originals = _read(folder or _own_photos(), repeat)
    with Stage() as stage:
        where = "network namespaces of their own" if stage.namespaces else "one loopback (no right to make namespaces)"
        output.err.print(f"Three nodes, each with a home of its own, in {where}, joined by tickets:")
        stage.join_all()
        output.err.print("  " + ", ".join(f"[bold]{actor.name}[/] {actor.node[:8]}" for actor in stage.actors))
        os.environ["WORLDOS_HOME"] = str(stage.actors[0].home.path)
        together = _edit_all(originals, stage.actors, "on three nodes", trouble=True)
        alone = _edit_all(originals, stage.actors[:1], "on one node  ", trouble=False)
        names = {actor.node: actor.name for actor in stage.actors}
    problems = _compare(originals, together, alone)
    results.mkdir(parents=True, exist_ok=True)
    for photo in together.photos:
        (results / f"{Path(photo.name).stem}.jpg").write_bytes(photo.data)
    (results / "contact-sheet.jpg").write_bytes(together.sheet)
    if as_json:
        output.say_json(_facts(together, alone, names, problems, results))
    else:
        _show(together, alone, names, problems, results)
    if problems:
        raise typer.Exit(1)


def _edit_all(originals: dict[str, bytes], actors: list[Actor], title: str, *, trouble: bool) -> Outcome:
    from worldos import use  # noqa: PLC0415 - loads what a lane needs

    done: list[Photo] = []
    events: dict[str, str] = {}
    cores = min(CORES_PER_NODE, os.cpu_count() or 1) * len(actors)
    near = None if len(actors) > 1 else actors[0].node
    bar = Progress(
        TextColumn(f"  {title}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=output.err,
    )
    with use("CPU", amount=float(cores), near=near) as cpu, bar:
        began = time.perf_counter()
        task = bar.add_task("", total=len(originals))
        futures = {cpu.submit(edit, data): name for name, data in originals.items()}
        for future in as_completed(futures):
            data, thumb, node, took_s = future.result()
            done.append(Photo(futures[future], data, thumb, node, took_s))
            bar.update(task, advance=1)
            if trouble and (
                said := _make_trouble(actors, len(done) / len(originals), time.perf_counter() - began, events)
            ):
                bar.console.print(f"  [bold red]{said}[/]")
        done.sort(key=lambda photo: photo.name)
        distinct = {originals[photo.name]: photo.thumb for photo in reversed(done)}  # each once, however often edited
        sheet = cpu.submit(contact_sheet, [*reversed(distinct.values())]).result()
        seconds = time.perf_counter() - began
        used = cpu.statistics()
    return Outcome(
        photos=done, seconds=seconds, submitted=used.submitted, reruns=used.reruns, events=events, sheet=sheet
    )


def _make_trouble(actors: list[Actor], part: float, at_s: float, events: dict[str, str]) -> str:
    """Kill or put to sleep whose turn it is; return what was done."""
    _, victim, sleeper = actors
    if part >= KILL_AFTER and victim.name not in events:
        victim.kill()
        events[victim.name] = f"killed (SIGKILL) at {at_s:.1f} s"
        return f"{victim.name} {events[victim.name]}"
    if part >= SLEEP_AFTER and sleeper.name not in events:
        sleeper.sleep()
        events[sleeper.name] = f"put to sleep (SIGSTOP) at {at_s:.1f} s"
        return f"{sleeper.name} {events[sleeper.name]}"
    return ""


def _compare(originals: dict[str, bytes], together: Outcome, alone: Outcome) -> list[str]:
    """Check that each photo is there exactly once, and the same as where one node did it all."""
    problems: list[str] = []
    counts = Counter(photo.name for photo in together.photos)
    problems += [f"{name} came {counts[name]} times" for name in originals if counts[name] != 1]
    right = {photo.name: photo.digest for photo in alone.photos}
    problems += [f"{p.name} differs from one node's" for p in together.photos if right.get(p.name) != p.digest]
    if together.sheet != alone.sheet:
        problems.append("the contact sheet differs from one node's")
    return problems


def _facts(
    together: Outcome, alone: Outcome, names: dict[str, str], problems: list[str], results: Path
) -> dict[str, object]:
    by_node = Counter(names.get(photo.node, photo.node) for photo in together.photos)
    return {
        "photos": len(together.photos),
        "problems": problems,
        "by_node": dict(by_node),
        "events": together.events,
        "reruns": together.reruns,
        "seconds": round(together.seconds, 2),
        "seconds_on_one_node": round(alone.seconds, 2),
        "results": str(results),
    }


def _show(together: Outcome, alone: Outcome, names: dict[str, str], problems: list[str], results: Path) -> None:
    rows = []
    for node, name in names.items():
        photos = [photo for photo in together.photos if photo.node == node]
        busy_s = sum(photo.took_s for photo in photos)
        rows.append((name, len(photos), f"{busy_s:.1f} s", together.events.get(name, "well")))
    output.out.print()
    output.table(("NODE", "PHOTOS", "EDITING", "WHAT HAPPENED TO IT"), rows, right=("PHOTOS", "EDITING"))
    output.out.print()
    right = "all right, each exactly once" if not problems else f"[bold red]{len(problems)} problems[/]"
    output.out.print(f"  results   {len(together.photos)} photos and a contact sheet, {right}")
    output.out.print(f"  re-run    {together.reruns} calls were sent again, to another worker")
    cores = os.cpu_count() or 1
    ratio = alone.seconds / together.seconds
    output.out.print(
        f"  time      {together.seconds:.1f} s with the two losses; {alone.seconds:.1f} s on one node of"
        f" {min(CORES_PER_NODE, cores)} cores, undisturbed: {ratio:.2f} x"
    )
    output.out.print(f"            (all three nodes share the {cores} cores of this machine)", style="dim")
    output.out.print(f"  see       {results / 'contact-sheet.jpg'}")
    for problem in problems[:10]:
        output.out.print(f"  [red]{problem}[/]")


def _read(folder: Path, repeat: int) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BadRequest(f"there is no folder {folder}", hint="wos demo FOLDER-WITH-PHOTOS")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)[:PHOTOS_MAX]
    if not files:
        raise BadRequest(f"{folder} holds no photos ({', '.join(sorted(ENDINGS))})", hint="name another folder")
    originals: dict[str, bytes] = {}
    for turn in range(repeat):
        for file in files:
            name = file.name if turn == 0 else f"{file.stem}-{turn + 1}{file.suffix}"
            originals[name] = file.read_bytes()
    return originals


def _own_photos() -> Path:
    return Path(__file__).resolve().parents[3] / "examples" / "photos"
