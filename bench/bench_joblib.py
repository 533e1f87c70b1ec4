"""What does a grid search of scikit-learn cost over three machines, beside joblib's own processes on one?

The same search (an SVC on load_digits: 1 797 samples of 64 figures; 12 sets of parameters, three folds each), with as many
workers: joblib's loky on one machine, and `parallel_config("worldos")` with a worker on each of three machines in network
namespaces. In turns, each in a program of its own: *cold* is the first search of a program, with the start of the workers (each
imports scikit-learn), *warm* the second. All three machines are this one, so as many processors stand behind either: what is
seen is what World OS costs, not what more machines bring. Results must be equal, to the last digit.

Back of the envelope: a fit and its scores take 0.15 s and more, and bring 0.9 MB to the worker: 10 ms by a virtual wire with
TLS, so at most some 5 % more when warm. Cold both import scikit-learn in each worker (1.3 s of processor time); ours forks
its workers from one that is ready and leases them (10 ms), loky starts a Python each (0.1 s): within 10 %.

Needs root (namespaces). Run: uv run python bench/bench_joblib.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

WORKERS = 3
GRID = {"C": [0.1, 1.0, 10.0], "gamma": [0.0005, 0.001, 0.002, 0.005]}
ARMS = ("loky", "worldos")


def program(arm: str) -> None:
    """Search twice; print how long it took and what was found."""
    from joblib import parallel_config
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    import worldos  # noqa: F401 - it makes the backend known

    samples, labels = load_digits(return_X_y=True)
    words = {"apart": True} if arm == "worldos" else {}
    took = []
    with parallel_config(arm, n_jobs=WORKERS, **words):
        for _ in range(2):
            began = time.perf_counter()
            found = GridSearchCV(SVC(), GRID, cv=3).fit(samples, labels)
            took.append(time.perf_counter() - began)
    scores = [found.cv_results_[f"split{each}_test_score"].tolist() for each in range(3)]
    print(json.dumps({"took_s": took, "found": [found.best_params_, scores]}), flush=True)


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.e2e.lab import Lab, why_not
    from tests.e2e.realm import Realm

    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    if why_not() or os.geteuid() != 0:
        print("needs root and network namespaces")
        return 1
    took: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    found: list[object] = []
    with tempfile.TemporaryDirectory() as folder, Lab() as lab, Realm(lab, ["desk", "attic", "cellar"]) as realm:
        desk = realm.machines[0]
        for number in range(rounds):
            for arm in ARMS if number % 2 else ARMS[::-1]:
                run = desk.run([sys.executable, __file__, arm], cwd=Path(folder))
                if run.wait(300):
                    print(run.said())
                    return 1
                said = json.loads(run.text().strip().splitlines()[-1])
                took[arm].append(said["took_s"])
                found.append(said["found"])
            last = {arm: took[arm][-1] for arm in ARMS}
            print(
                "  ".join(f"{arm} cold {cold:6.2f} s warm {warm:6.2f} s" for arm, (cold, warm) in last.items()),
                flush=True,
            )
        ran_on = {name for row in desk.tell("profile_show")["functions"] for name in row["on"]}
    assert all(each == found[0] for each in found), "the same search found something else"
    assert len(ran_on) == WORKERS, ran_on
    print(f"\n{len(found)} searches, one result; load {os.getloadavg()[0]:.1f}")
    print(f"{'':8}{'loky s':>10}{'worldos s':>12}{'worldos takes':>16}")
    for position, name in enumerate(("cold", "warm")):
        medians = [statistics.median(each[position] for each in took[arm]) for arm in ARMS]
        pairs = zip(took["loky"], took["worldos"], strict=True)
        ratio = statistics.median(ours[position] / theirs[position] for theirs, ours in pairs)
        print(f"{name:8}{medians[0]:10.2f}{medians[1]:12.2f}{ratio:14.2f} x")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in ARMS:
        program(sys.argv[1])
    else:
        sys.exit(main())
