"""Why a job waits, in a sentence; and what could never be done, said before it waits for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from worldos.kernel import match
from worldos.kernel.line.job import Job
from worldos.kernel.line.line import Line
from worldos.kernel.line.rooms import Room, rooms_of, whole
from worldos.kernel.line.scene import Scene
from worldos.kernel.line.view import JobView, own_why, view_of
from worldos.kernel.question import Question, memory_of
from worldos.model.ids import NodeId
from worldos.model.offer import Offer
from worldos.model.units import show_bytes
from worldos.model.work import JobId, JobSpec

EXPLAINED_MAX: Final = 20  # of many jobs
RUNTIME_S_LEAST: Final = 60  # what a budget must pay for at least, where no runtime is said


def view(line: Line, name: str, scene: Scene) -> JobView | None:
    """Return one job as people see it, with why it waits as the primary sees it."""
    job = line.book.jobs.get(JobId(name))
    return view_of(job, why(line, job, scene)) if job else None


def views(line: Line, most: int, scene: Scene) -> tuple[JobView, ...]:
    """Return the jobs as people see them; why they wait as the primary sees it, for the first EXPLAINED_MAX that do."""
    seen = list(line.views(most))
    waiting = [at for at, each in enumerate(seen) if not each.why and not each.ended_ms and each.counts.waiting]
    rooms = rooms_of(line, scene) if waiting else {}
    for at in waiting[:EXPLAINED_MAX]:
        seen[at] = replace(seen[at], why=why(line, line.book.jobs[seen[at].job], scene, rooms))
    return tuple(seen)


def why(line: Line, job: Job, scene: Scene, rooms: Mapping[NodeId, Room] | None = None) -> str:
    """Say why tasks of a job wait; nothing, if none does."""
    said = own_why(job)
    if said or job.ended or not job.waiting:
        return said
    if job.rest_ms > scene.wall_ms:
        left_s = (job.rest_ms - scene.wall_ms + 999) // 1000
        return f"an attempt was lost ({job.lost_why}); it is tried again in {left_s} s"
    rooms = rooms_of(line, scene) if rooms is None else rooms
    if not rooms:
        return "no node that can run tasks is heard of"
    need, seen = job.spec.need, scene.view
    answer = match.choose(need, [room.now() for room in rooms.values()], seen)
    learned = line.book.learned_bytes(job)
    if isinstance(answer, match.Choice) and learned and all(room.spare_bytes < learned for room in rooms.values()):
        return f"earlier tasks of this command took {show_bytes(learned)} of memory, and no node has as much free"
    if isinstance(answer, match.Choice):
        return "it is begun in a moment, or another is kept room for"
    question = Question(need, seen)
    if any(question.place(whole(room.offer)) is not None for room in rooms.values()):
        return f"all that it could run on is in use: {match.explain(need, answer)}"
    if scene.elsewhere:
        return f"it is looked for beyond our nodes: {match.explain(need, answer)}"
    return match.explain(need, answer)


def never(spec: JobSpec, scene: Scene) -> str:
    """Say why no node that is known could ever run a job, or nothing if one could."""
    question = Question(spec.need, scene.view)
    offers = [whole(offer) for offer in scene.offers.values()]
    able = [offer for offer in offers if question.place(offer) is not None]
    if not able:
        answer = match.choose(spec.need, offers, scene.view)
        return match.explain(spec.need, answer) if isinstance(answer, match.Refusal) else ""
    price = min(_price_hour_uwos(question, offer) for offer in able)
    runtime_s = spec.runtime_s or RUNTIME_S_LEAST
    cost = price * runtime_s // 3600
    if 0 < spec.budget_uwos < cost:
        return f"the cheapest that could run it costs {cost} uWOS for {runtime_s} s, and its budget is {spec.budget_uwos} uWOS"
    return ""


def _price_hour_uwos(question: Question, offer: Offer) -> int:
    kinds = [item for item in offer.resources if item.kind == question.need.kind]
    return min(question.price_hour_uwos(offer, item, memory_of(offer)) for item in kinds)
