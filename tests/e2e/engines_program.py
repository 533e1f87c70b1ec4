"""A program that uses an engine, as a user writes it: ``engines_program.py WHAT WORDS``; it says on stdout how it went."""

# ruff: noqa: PLC0415 - each part loads its own engine

from __future__ import annotations

import json
import sys
import time

import worldos


def say(what: str, **told: object) -> None:
    print(what, json.dumps(told), flush=True)


def frame():
    import pandas as pd

    size = 30_000
    return pd.DataFrame({"shop": [i % 7 for i in range(size)], "sum": [(i * 7919) % 1000 for i in range(size)]})


def table(grouped) -> dict[str, list[int]]:
    return {str(shop): [int(row["sum"]), int(row["count"])] for shop, row in grouped.iterrows()}


def dask(words: dict) -> None:
    import dask.dataframe as dd

    hold = words.pop("hold", False)

    def nodes() -> dict[str, str]:
        return client.run(lambda: __import__("os").environ["WORLDOS_NODE"], on_error="ignore")

    def grouped():
        return dd.from_pandas(frame(), npartitions=9).groupby("shop")["sum"].agg(["sum", "count"]).compute()

    with worldos.use("Dask", **words) as client:
        say("up", dashboard=client.dashboard_link)
        first = nodes()
        say("nodes", nodes=sorted(set(first.values())))
        say("result", there=table(grouped()), here=table(frame().groupby("shop")["sum"].agg(["sum", "count"])))
        while hold:
            now = nodes()
            if len(now) == len(first) and now.keys() != first.keys():
                say("replaced", nodes=sorted(now.values()), there=table(grouped()))
                first = now
            time.sleep(0.5)
    say("done")


def primes(low: int, high: int) -> list[int]:
    return [n for n in range(max(2, low), high) if all(n % d for d in range(2, int(n**0.5) + 1))]


def ray(words: dict) -> None:
    with worldos.use("Ray", **words) as ray:
        say("up")

        @ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
        def part(low: int, high: int):
            import os

            time.sleep(1)  # or one machine does it all before the others have begun
            return os.environ["WORLDOS_NODE"], primes(low, high)

        @ray.remote(num_cpus=0)
        class Sum:
            def __init__(self) -> None:
                self.total = 0

            def add(self, parts: list[int]) -> int:
                self.total += sum(parts)
                return self.total

        parts = ray.get([part.remote(low, low + 250) for low in range(0, 3000, 250)])
        total = Sum.remote()
        sums = ray.get([total.add.remote(found) for _, found in parts])
        say("nodes", nodes=sorted({node for node, _ in parts}))
        say(
            "result",
            there=[[n for _, found in parts for n in found], sums[-1]],
            here=[primes(0, 3000), sum(primes(0, 3000))],
        )
    say("done")


def postgresql(words: dict) -> None:
    import psycopg

    hold = words.pop("hold", False)
    with worldos.use("PostgreSQL", **words) as url:
        connection = psycopg.connect(url, autocommit=True)

        def visit() -> int:
            connection.execute("insert into visits values (%s)", (int(time.time()),))
            return connection.execute("select count(*) from visits").fetchone()[0]

        connection.execute("create table if not exists visits (at int)")
        say("up", url=url, visits=visit())
        while hold:
            time.sleep(0.5)
            say("visit", visits=visit())
        connection.close()
    say("done")


if __name__ == "__main__":
    {"dask": dask, "ray": ray, "postgresql": postgresql}[sys.argv[1]](json.loads(sys.argv[2]))
