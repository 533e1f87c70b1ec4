"""joblib on leased processors; scikit-learn by it is in tests/e2e/test_joblib.py."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from joblib import Parallel, delayed, parallel_config
from tests.sdk.calls import fail, slow, square
from tests.sdk.waiting import until

from worldos import NoCapacity
from worldos.sdk import connection
from worldos.sdk.joblib import NAME, free_cores, register

pytestmark = pytest.mark.slow  # each worker loads numpy and joblib


def test_a_loop_runs_on_leased_workers_in_order() -> None:
    register()
    with parallel_config(NAME, n_jobs=2):
        assert Parallel()(delayed(square)(n) for n in range(100)) == [n * n for n in range(100)]
        workers = set(Parallel()(delayed(os.getpid)() for _ in range(20)))
        assert os.getpid() not in workers
        again = set(Parallel()(delayed(os.getpid)() for _ in range(20)))
        assert again & workers, "the second loop finds the workers of the first"
    until(lambda: not connection.connection().ask("leases")["held"])


def test_all_that_is_free_is_what_no_number_means() -> None:
    until(lambda: free_cores() == free_cores() > 0)
    with parallel_config(NAME):
        assert Parallel(n_jobs=-1)(delayed(square)(n) for n in range(3)) == [0, 1, 4]
    with pytest.raises(ValueError, match="no meaning"), parallel_config(NAME, n_jobs=0):
        Parallel()(delayed(square)(n) for n in range(3))


def test_results_may_be_taken_as_they_come() -> None:
    with parallel_config(NAME, n_jobs=2):
        found = Parallel(return_as="generator_unordered")(delayed(square)(n) for n in range(10))
        assert sorted(found) == [n * n for n in range(10)]


def test_one_job_runs_in_line_as_everywhere_in_joblib() -> None:
    with parallel_config(NAME, n_jobs=1):
        assert Parallel()(delayed(os.getpid)() for _ in range(3)) == [os.getpid()] * 3


def test_an_error_ends_the_loop_and_the_next_one_works() -> None:
    with parallel_config(NAME, n_jobs=2):
        with pytest.raises(ValueError, match="3"):
            Parallel()(delayed(fail if n == 3 else square)(n) for n in range(10))
        assert Parallel()(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_a_loop_stops_at_its_timeout() -> None:
    with parallel_config(NAME, n_jobs=2), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.1)(delayed(slow)(n) for n in range(2))


def test_the_words_of_use_go_along() -> None:
    with parallel_config(NAME, n_jobs=2, where="memory >= 1000TB"), pytest.raises(NoCapacity):
        Parallel()(delayed(square)(n) for n in range(3))
