"""What an engine's leases are asked for with: read before anything is leased."""

from __future__ import annotations

import pytest

from worldos.engines import leasing as module
from worldos.engines.leasing import Leasing
from worldos.errors import BadRequest, NoCapacity


class Connection:
    """An agent that knows of one node."""

    def ask(self, order: str) -> list[dict[str, object]]:
        assert order == "resources"
        return [{"kind": "CPU", "free": 4000}, {"kind": "Memory", "free": 1 << 30}]


def leasing(**words: object) -> Leasing:
    return Leasing(words, Connection())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cpus", "cores"), [(None, (1, 1)), (4, (4, 4)), ("500m", (1, 1)), ((2, 16), (2, 16)), ((3, 3), (3, 3))]
)
def test_a_size_is_a_number_of_cores_or_a_range(cpus: object, cores: tuple[int, int]) -> None:
    assert leasing(cpus=cpus).cores == cores


@pytest.mark.parametrize("cpus", [(4, 2), (1, 2, 3), (0.5, 2)])
def test_what_is_no_range_is_refused(cpus: object) -> None:
    with pytest.raises(BadRequest):
        leasing(cpus=cpus)


@pytest.mark.parametrize("nodes", [True, "3", 1.5])
def test_nodes_are_a_number(nodes: object) -> None:
    with pytest.raises(BadRequest, match="no number of nodes"):
        leasing(nodes=nodes).all(nodes_max=0, loopback=True)


def test_what_was_just_given_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    answers = [[1000], [1000], [1000, 2000]]
    one = leasing(cpus=2)
    one._free = lambda: answers.pop(0)  # type: ignore[method-assign]
    assert one._sizes(2) == (1000, 1000)
    monkeypatch.setattr(module, "HEARD_S", -1.0)
    answers.append([1000])
    with pytest.raises(NoCapacity):
        one._sizes(2)


def test_an_engine_of_one_node_is_not_spread() -> None:
    with pytest.raises(BadRequest, match="on 1 node at most"):
        leasing(nodes=2).all(nodes_max=1, loopback=True)
