"""Jobs as a whole: who waits for whom, deadlines, and what is forgotten."""

from __future__ import annotations

import pytest
from tests.kernel.line.test_line import state
from tests.kernel.line.works import NODE, START_MS, Site, submit

from worldos.kernel.line.view import State
from worldos.kernel.work.limits import ENDED_MS, LEARNED_BYTES_MIN, SPEC_BYTES_MAX
from worldos.kernel.work.state import Work
from worldos.model.work import PARCEL_BYTES_MAX, Assign, Cancel, Forget, JobId, Made, Refused, Retry

DAY_S = 86_400


@pytest.fixture
def site() -> Site:
    return Site()


def ready(site: Site) -> list[str]:
    return [job.id for job in site.work.line.ready()]


def test_a_job_waits_for_those_it_comes_after(site: Site) -> None:
    site.do(submit("job-1"), submit("job-2"), submit("job-3", after=("job-1", "job-2")))
    assert state(site, "job-3") is State.HELD
    site.end(site.run("job-1", 0)[0])
    assert ready(site) == ["job-2"]
    site.end(site.run("job-2", 0)[0])
    assert ready(site) == ["job-3"]


def test_a_circle_cannot_close(site: Site) -> None:
    assert "wait for itself" in site.refusal(submit("job-1", after=("job-1",)))
    assert "no job job-2" in site.refusal(submit("job-1", after=("job-2",)))


def test_what_waits_for_a_failed_job_is_dropped_and_told_why_down_a_long_chain(site: Site) -> None:
    site.do(submit("job-0"))
    for number in range(1, 3000):
        site.do(submit(f"job-{number}", after=(f"job-{number - 1}",)))
    site.end(site.run("job-0", 0)[0], code=1)
    view = site.work.line.view("job-2999")
    assert view is not None
    assert (view.state, view.why) == (State.DROPPED, "job job-2998, which it waits for, was dropped")
    assert state(site, "job-0") is State.FAILED
    site.do(Retry(job="job-0"))
    assert state(site, "job-2999") is State.HELD
    assert ready(site) == ["job-0"]


def test_a_job_after_one_that_failed_already_is_dropped_at_once(site: Site) -> None:
    site.do(submit("job-1"))
    site.end(site.run("job-1", 0)[0], code=1)
    site.do(submit("job-2", after=("job-1",)))
    assert state(site, "job-2") is State.DROPPED
    assert "did not end well" in site.refusal(Retry(job="job-2"))


def test_cancelling_one_drops_what_waits_for_it_and_nothing_else(site: Site) -> None:
    site.do(submit("job-1"), submit("job-2", after=("job-1",)), submit("job-3"))
    site.do(Cancel(job="job-1"))
    assert [state(site, name) for name in ("job-1", "job-2", "job-3")] == [State.DROPPED, State.DROPPED, State.WAITING]


def test_the_urgent_stand_first_then_what_must_begin_soon_then_who_came_first(site: Site) -> None:
    soon = START_MS // 1000 + 100
    site.do(
        submit("job-a"),
        submit("job-b", deadline_s=soon + 50),
        submit("job-c", deadline_s=soon + 60, runtime_s=30),
        submit("job-d", priority=1),
        submit("job-e", priority=-1),
        submit("job-f"),
    )
    assert ready(site) == ["job-d", "job-c", "job-b", "job-a", "job-f", "job-e"]


def test_a_deadline_drops_what_has_not_begun_and_lets_the_rest_go_on(site: Site) -> None:
    site.do(submit("job-1", 3, deadline_s=START_MS // 1000 + 10))
    (first,) = site.run("job-1", 0)
    site.say(later_ms=9_999)
    assert not site.work.line.book.jobs["job-1"].late  # type: ignore[index]
    site.say(later_ms=1)
    view = site.work.line.view("job-1")
    assert view is not None
    assert (view.late, view.counts.dropped, view.state) == (True, 2, State.RUNNING)
    site.end(first)
    site.do(Retry(job="job-1"))
    assert ready(site) == ["job-1"], "who retries a late job wants it all the same"


def test_a_deadline_in_the_past_is_refused(site: Site) -> None:
    assert "has passed" in site.refusal(submit("job-1", deadline_s=START_MS // 1000))


def test_time_never_runs_back(site: Site) -> None:
    site.do(submit("job-1", deadline_s=START_MS // 1000 + 10))
    site.wall_ms -= 500_000
    site.say()
    assert site.work.wall_ms == START_MS


def test_only_what_has_ended_is_forgotten_and_its_id_is_not_used_again(site: Site) -> None:
    site.do(submit("job-1"))
    assert "has not ended" in site.refusal(Forget(job="job-1"))
    site.end(site.run("job-1", 0)[0])
    site.do(Forget(job="job-1"))
    site.do(Forget(job="job-1"))
    assert site.work.line.view("job-1") is None
    assert "forgotten" in site.refusal(submit("job-1"))
    assert site.work.line.book.spec_bytes == 0


def test_ended_jobs_are_forgotten_after_a_week(site: Site) -> None:
    site.do(submit("job-1"))
    site.end(site.run("job-1", 0)[0])
    site.say(later_ms=ENDED_MS - 1)
    assert state(site, "job-1") is State.DONE
    site.say(later_ms=1)
    assert site.work.line.view("job-1") is None


def test_of_many_ended_jobs_the_oldest_are_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldos.kernel.line.book.ENDED_MAX", 100)
    for number in range(105):
        site.do(submit(f"job-{number}"))
        site.do(Cancel(job=f"job-{number}"))
    site.say(later_ms=1)
    assert len(site.work.line.book.jobs) == 100
    assert site.work.line.view("job-4") is None
    assert site.work.line.view("job-5") is not None


def test_a_full_line_says_so_and_has_room_when_some_are_forgotten(site: Site) -> None:
    parcel = bytes(PARCEL_BYTES_MAX)
    held = SPEC_BYTES_MAX // PARCEL_BYTES_MAX
    for number in range(held):
        answer = site.say(submit(f"job-{number}", parcel=parcel))
        if isinstance(answer, Refused):
            break
    assert isinstance(answer, Refused)
    assert "full" in answer.why
    site.do(Cancel(job="job-0"))
    site.do(Forget(job="job-0"))
    site.do(submit("job-last", parcel=parcel))


def test_a_line_full_of_stories_begins_nothing_until_some_are_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldos.kernel.line.line.STORY_BYTES_MAX", 2000)
    site.do(submit("job-1", 500), submit("job-2"))
    for attempt in site.run("job-1", *range(0, 400, 2)):
        site.end(attempt, code=1)
    book = site.work.line.book
    assert book.story_bytes == sum(job.weigh() for job in book.jobs.values()) > 2000
    assert "tried before" in site.refusal(Assign(job="job-2", indices=(0,), node=NODE))
    site.do(Cancel(job="job-1"))
    job = book.jobs[JobId("job-1")]
    assert book.ended_bytes == job.spec_bytes + job.story_bytes
    site.do(Forget(job="job-1"))
    assert book.story_bytes == book.jobs[JobId("job-2")].weigh()
    site.run("job-2", 0)


def test_how_long_a_command_takes_is_known_when_it_comes_again(site: Site) -> None:
    site.do(submit("job-1", 3))
    book = site.work.line.book
    assert book.jobs["job-1"].mean_us == 0  # type: ignore[index]
    for attempt, wall_us in zip(site.run("job-1", 0, 1), (1000, 3000), strict=True):
        site.end(attempt, wall_us=wall_us)
    site.do(submit("job-2"), submit("job-3", argv=("other",)))
    assert [book.jobs[name].mean_us for name in ("job-1", "job-2", "job-3")] == [2000, 2000, 0]  # type: ignore[index]
    site.end(site.run("job-2", 0)[0], wall_us=9000)
    assert book.jobs["job-2"].mean_us == 9000, "what it sees itself counts more"  # type: ignore[index]


def test_what_was_learned_follows_what_is(site: Site) -> None:
    site.do(submit("job-1", 400))
    attempts = site.run("job-1", *range(400))
    for attempt in attempts[:200]:
        site.end(attempt, wall_us=1_000_000)
    for attempt in attempts[200:]:
        site.end(attempt, wall_us=1_000)
    known = [site.work.line.book.known_us(kind) for kind in site.work.line.book.worked]
    assert len(known) == 1
    assert 1_000 <= known[0] < 100_000


def test_only_so_many_commands_are_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldos.kernel.line.book.WORKED_MAX", 5)
    for number in range(8):
        site.do(submit(f"job-{number}", argv=(f"command-{number}",)))
        site.end(site.run(f"job-{number}", 0)[0], wall_us=7)
    kinds = [site.work.line.book.jobs[name].kind for name in ("job-3", "job-7")]  # type: ignore[index]
    assert [site.work.line.book.known_us(kind) for kind in kinds] == [7, 7]
    assert len(site.work.line.book.worked) == 5


def test_what_is_not_in_a_snapshot_is_made_again(site: Site) -> None:
    site.do(submit("job-1", 5), submit("job-2", after=("job-1",)), submit("job-3", deadline_s=DAY_S))
    site.run("job-1", 0, 1)
    site.do(Cancel(job="job-3"))
    book, again = site.work.line.book, Work.restore(site.work.snapshot()).line.book
    names = (
        "running",
        "tasks",
        "spec_bytes",
        "story_bytes",
        "outcome_bytes",
        "ended_bytes",
        "ended",
        "_keys",
        "_after",
    )
    for name in names:
        assert getattr(book, name) == getattr(again, name), name
    assert list(again.busy) == list(book.busy)


def test_the_memory_of_a_command_is_learned_quickly_up_and_slowly_down_and_only_from_ours(site: Site) -> None:
    def ends(memory_bytes: int, owner: str = "") -> int:
        number = len(site.work.line.book.jobs)
        site.do(submit(f"job-{number}"))
        made = Made(owner, b"d", 0, owner) if owner else None
        site.end(site.run(f"job-{number}", 0)[0], wall_us=1000, memory_bytes=memory_bytes, made=made)
        site.work = Work.restore(site.work.snapshot())
        job = site.work.line.book.jobs[JobId("job-0")]
        return site.work.line.book.learned_bytes(job)

    assert ends(LEARNED_BYTES_MIN - 1) == 0, "too little to be placed by"
    assert ends(800 << 20) == 800 << 20
    assert ends(0) == 800 << 20, "nobody measured it"
    assert ends(1 << 40, "ann") == 800 << 20, "a stranger's word"
    assert ends(400 << 20) == 750 << 20
