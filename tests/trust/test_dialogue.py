from worldos.errors import NotAllowed, Unreachable
from worldos.trust.dialogue import Failed, Failure, error_of


def test_every_failure_becomes_an_error_with_its_sentence() -> None:
    for why in Failure:
        raised = error_of(Failed(why=why, detail="x", hint="do y"))
        assert str(raised).startswith(str(why))
        assert raised.hint == "do y"
    assert isinstance(error_of(Failed(why=Failure.CUT)), Unreachable)
    assert isinstance(error_of(Failed(why=Failure.TICKET_USED)), NotAllowed)
