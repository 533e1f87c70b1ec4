"""Processors and a place for files together, or neither: a gang."""

from worldos import need, use


def count_words(text: str) -> int:
    return len(text.split())


if __name__ == "__main__":
    with use(need("CPU", 1), need("Storage", "10MB")) as (cpu, disk):
        with disk.open("poem.txt", "w") as file:
            file.write("so much depends upon a red wheel barrow")
        with disk.open("poem.txt") as file:
            words = cpu.submit(count_words, file.read()).result()
        used, leased = disk.usage()
    print(f"{words} words in {used} of {leased} bytes")
