"""The asyncio twin does what the handles do, and never blocks the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.sdk.calls import square, wait_for
from tests.sdk.waiting import until
from worldos import BadRequest, LeaseEnded, NoCapacity, aio
from worldos.sdk import connection
from worldos.sdk.events import Event

BOUND_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def _no_agent_is_left() -> Iterator[None]:
    yield
    connection.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await main()

    asyncio.run(bounded())


def test_calls_are_awaited_and_maps_iterated() -> None:
    async def main() -> None:
        async with aio.use("CPU", 1) as cpu:
            assert await cpu.submit(square, 7) == 49
            assert await asyncio.gather(*(cpu.submit(square, n) for n in range(20))) == [n * n for n in range(20)]
            assert [result async for result in cpu.map(pow, range(10), [2] * 10)] == [n * n for n in range(10)]
            assert (cpu.statistics().delivered, len(cpu.leases), len(cpu.nodes)) == (31, 1, 1)

    run(main)


def test_it_grows_with_its_queue() -> None:
    async def main() -> None:
        async with aio.use("CPU", (1, 2)) as cpu:
            calls = [cpu.submit(time.sleep, 0.02) for _ in range(60)]
            await cpu.wait(lambda: cpu.statistics().amount == 2000, BOUND_S)
            await asyncio.gather(*calls)

    run(main)


def test_a_map_that_is_left_early_cancels_the_rest() -> None:
    async def main() -> None:
        async with aio.use("CPU", 1) as cpu:
            results = cpu.map(square, range(5000))
            assert await anext(results) == 0
            await results.aclose()  # type: ignore[attr-defined]
            assert cpu.statistics().submitted < 5000

    run(main)


def test_the_loop_goes_on_while_a_call_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.use("CPU", 1) as cpu:
            call = cpu.submit(wait_for, str(tmp_path / "go"))
            await asyncio.sleep(0.01)
            assert not call.done()
            (tmp_path / "go").touch()
            assert await call == str(tmp_path / "go")

    run(main)


def test_verbs_and_the_methods_of_a_kind_are_awaited() -> None:
    async def main() -> None:
        async with aio.use("Memory", "1MB") as memory:
            heard: list[Event] = []
            memory.event("lease lost", heard.append)
            await memory.activate()
            await memory.put("a", b"1")
            assert await memory.get("a") == b"1"
            assert await memory.command("usage") == (1, 10**6)
            with pytest.raises(BadRequest):
                await memory.command("dance")
            await memory.rest()

    run(main)


def test_a_gang_is_a_tuple_of_handles() -> None:
    async def main() -> None:
        async with aio.use(aio.need("CPU", 1), aio.need("Memory", "1MB")) as (cpu, memory):
            assert await cpu.submit(square, 3) == 9
            await memory.put("a", b"1")
        with pytest.raises(LeaseEnded):
            await memory.get("a")

    run(main)


def test_without_a_block_one_closes_it_oneself() -> None:
    async def main() -> None:
        cpu = await aio.use("CPU", 1)
        assert await cpu.submit(square, 3) == 9
        await cpu.close()
        gang = await aio.use(aio.need("CPU", 0.5), aio.need("CPU", 0.5))
        await gang.close()

    run(main)


def test_a_refusal_is_raised_and_leaves_nothing() -> None:
    async def main() -> None:
        with pytest.raises(NoCapacity):
            async with aio.use("CPU", 100_000):
                pass

    run(main)
    assert not connection.connection().ask("leases")["held"]


def test_a_use_that_is_cancelled_on_its_way_is_given_back() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(_begin())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, lambda: not _held())

    async def _begin() -> None:
        await aio.use("CPU", 1)

    def _held() -> int:
        return len(connection.connection().ask("leases")["held"])

    run(main)
