"""What a type checker must see in a user's program; tests/typing/test_typing.py reads the comments."""

from concurrent.futures import Future
from typing import assert_type

from worldos import Gang, aio, need, use
from worldos.sdk.compute import Cpu, Gpu
from worldos.sdk.memory import Memory
from worldos.sdk.network import Network
from worldos.sdk.storage import Storage


def length(text: str) -> int:
    return len(text)


assert_type(
    use("CPU", 2.0, memory="1GB", where="cores >= 2", near="me", objective="cheapest", ttl="5s", retries=0), Cpu
)
assert_type(use("GPU"), Gpu)
assert_type(use("Memory", "2GB"), Memory)
assert_type(use("Storage", "10GB"), Storage)
assert_type(use("Network", "100Mbps", to="pi"), Network)
assert_type(use(need("CPU"), need("Memory", "1GB")), Gang[Cpu, Memory])
assert_type(use(need("CPU"), need("GPU"), need("Storage", "1GB"), retries=1), Gang[Cpu, Gpu, Storage])
assert_type(use(*[need("CPU")] * 5), Gang[*tuple[Cpu, ...]])

with use("CPU") as cpu:
    assert_type(cpu, Cpu)
    assert_type(cpu.submit(length, "a"), Future[int])
    assert_type(list(cpu.map(length, ["a"])), list[int])
    cpu.submit(length, 1)  # E: Argument 2 to "submit" of "Compute" has incompatible type "int"; expected "str"
    cpu.submit(length, "a", retries=1)  # E: Unexpected keyword argument "retries"

with use(need("CPU"), need("Memory", "1GB")) as (cores, memory):
    assert_type(cores, Cpu)
    assert_type(memory.get("a"), bytes | None)

use("CPU", colour="red")  # E: No overload variant of "use" matches argument types
use(need("CPU"), memory="1GB")  # E: No overload variant of "use" matches argument types


async def main() -> None:
    async with aio.use("CPU") as awaited:
        assert_type(await awaited.submit(length, "a"), int)
        async for result in awaited.map(length, ["a"]):
            assert_type(result, int)
