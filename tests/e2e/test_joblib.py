"""A scikit-learn grid search by joblib over three machines finds what it finds on one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.e2e.realm import realm_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SEARCH = """
import json, warnings
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import worldos

warnings.simplefilter("error")
samples, labels = (each[:800] for each in load_digits(return_X_y=True))
grid = {"C": [0.1, 1, 10], "gamma": [0.0005, 0.001], "kernel": ["rbf"]}

def search(jobs):
    found = GridSearchCV(SVC(), grid, cv=3, n_jobs=jobs).fit(samples, labels)
    scores = [found.cv_results_[f"split{each}_test_score"].tolist() for each in range(3)]
    predicted = found.predict(samples).tolist()
    return [found.best_params_, found.best_score_, scores, predicted]

alone = search(1)
with parallel_config("worldos", n_jobs=3, apart=True):
    spread = search(None)
print(json.dumps({"alone": alone, "spread": spread}))
"""


def test_a_grid_search_over_three_machines_finds_what_it_finds_on_one(tmp_path: Path) -> None:
    file = tmp_path / "search.py"
    file.write_text(SEARCH)
    with realm_of(["desk", "attic", "cellar"]) as realm:
        desk = realm.machines[0]
        search = desk.run([sys.executable, file])
        assert search.wait(180) == 0, search.said()
        found = json.loads(search.text().splitlines()[-1])
        assert found["spread"] == found["alone"]
        learned = desk.tell("profile_show")["functions"]
        ran_on = {name for row in learned for name in row["on"]}
        assert ran_on == {"desk", "attic", "cellar"}
        fits = [row for row in learned if row["function"].endswith("_fit_and_score")]  # one by one, or so many at once
        assert max(row["memory_bytes"] for row in fits) > 1 << 20, "what a fit takes was measured"
