"""What realms ask of their house, every node can answer."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.kernel.house import House


def test_every_question_has_an_answer() -> None:
    village = Village(home=2)
    village.run(1)
    house: House = village.nodes["home0"]
    other = village.nodes["home1"].node
    assert house.is_member(other)
    assert house.is_linked(other)
    assert house.members() == [other]
    assert other in house.alive()
    assert not house.has_business(other)
    assert house.view(1).home == village.nodes["home0"].node
    questions = {name for name in vars(House) if not name.startswith("_")}
    assert all(callable(getattr(village.nodes["home0"], name)) for name in questions)
