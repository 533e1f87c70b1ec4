"""Two cores, wherever they are free: the handle is an ordinary executor."""

from worldos import use


def collatz_steps(start: int) -> int:
    steps = 0
    while start != 1:
        start = 3 * start + 1 if start % 2 else start // 2
        steps += 1
    return steps


if __name__ == "__main__":
    with use("CPU", amount=2.0) as cpu:
        steps = list(cpu.map(collatz_steps, range(1, 5001), chunksize=100))
    longest = max(range(5000), key=steps.__getitem__) + 1
    print(f"of 1 to 5000, {longest} takes longest: {max(steps)} steps")
