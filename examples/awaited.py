"""The same from asyncio: worldos.aio has the same words, awaited."""

import asyncio

from worldos import aio


def square(number: int) -> int:
    return number * number


async def main() -> None:
    async with aio.use("CPU", amount=2.0) as cpu:
        one = await cpu.submit(square, 12)
        many = [value async for value in cpu.map(square, range(10))]
    print(one, many)


if __name__ == "__main__":
    asyncio.run(main())
